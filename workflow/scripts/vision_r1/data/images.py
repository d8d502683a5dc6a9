"""Images: one way to load them, and an index of their sizes and hashes in which each file is read once."""

import hashlib
import io
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from vision_r1.progress import Progress

MAX_PIXELS = 100_000_000  # of an image; a foreign file must not fill the memory
# What a decoder raises for damaged or hostile data.
FAULTS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def load_image(source: str | Path | BinaryIO) -> Image.Image:
    """Return an image in RGB, upright by its EXIF data: as training and evaluation alike see it.

    16 bits a channel are scaled to 8 (Pillow alone would clip them), transparent parts lie on white. Raises one
    of FAULTS for data that is no whole image, or one of more than MAX_PIXELS.
    """
    with Image.open(source) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        scaled = (np.asarray(upright, np.float64) / 257).clip(0, 255).round().astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return upright.convert("RGB")


@dataclass(frozen=True)
class ImageFacts:
    """What the index holds of an image file: its SHA-256 (hex), upright size in pixels and dhash.

    fault: why it can't be used, a word and what is known of it ("missing", "unreadable: ..."), or None.
    """

    sha256: str
    width: int = 0
    height: int = 0
    dhash: str = ""
    fault: str | None = None


def dhash(image: Image.Image) -> str:
    """Return the 256-bit difference hash of an image, 64 hex digits: is a cell brighter, or darker, than its neighbour?

    8 x 8 cells are compared with the next in their row and in their column. Differences of up to 4 grey levels count
    as none, so that neither JPEG nor noise on a plain ground turns bits.
    """
    grey = image.convert("L")
    steps = np.stack(
        [
            np.diff(np.asarray(grey.resize((9, 8), Image.Resampling.LANCZOS), np.int16), axis=1),
            np.diff(np.asarray(grey.resize((8, 9), Image.Resampling.LANCZOS), np.int16), axis=0),
        ]
    )
    return np.packbits([steps > 4, steps < -4]).tobytes().hex()


def examine(content: bytes, sha256: str) -> ImageFacts:
    """Return the facts about a file's content."""
    try:
        image = load_image(io.BytesIO(content))
    except FAULTS as error:
        return ImageFacts(sha256, fault=f"unreadable: {' '.join(str(error).split())[:200]}")
    return ImageFacts(sha256, *image.size, dhash(image))


def index_images(paths: Sequence[str], cache: Path, workers: int) -> Iterator[ImageFacts]:
    """Yield the facts about each file, in the order given, from a pool of `workers` processes.

    `cache` is a SQLite file, made where it is missing, of facts by content: an image that was examined once, under
    any name, is only read and hashed again, not decoded.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(cache)) as database:
        database.execute(_TABLE)
    with ProcessPoolExecutor(workers, initializer=_open_cache, initargs=(cache,)) as pool:
        chunk = max(1, min(256, len(paths) // (4 * workers)))
        progress = Progress(len(paths), "images")
        for done, facts in enumerate(pool.map(_facts, paths, chunksize=chunk), start=1):
            progress.update(done)
            yield facts


_TABLE = "CREATE TABLE IF NOT EXISTS images (sha256 TEXT PRIMARY KEY, width INT, height INT, dhash TEXT, fault TEXT)"
_cache: sqlite3.Connection


def _open_cache(path: Path) -> None:
    global _cache
    _cache = sqlite3.connect(path, timeout=600, isolation_level=None)
    _cache.execute("PRAGMA synchronous = OFF")  # a cache: what a crash loses is made again


def _facts(path: str) -> ImageFacts:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return ImageFacts("", fault="missing" if isinstance(error, FileNotFoundError) else f"unreadable: {error}")
    sha256 = hashlib.sha256(content).hexdigest()
    row = _cache.execute("SELECT * FROM images WHERE sha256 = ?", (sha256,)).fetchone()
    if row:
        return ImageFacts(*row)
    facts = examine(content, sha256)
    _cache.execute("INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?)", tuple(asdict(facts).values()))
    return facts
