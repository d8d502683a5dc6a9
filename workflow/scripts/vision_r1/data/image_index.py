"""The index of images: of each file its size, hashes and faults, found while it is read once."""

import hashlib
import io
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import PIL
from PIL import Image

from vision_r1.data import images
from vision_r1.data.images import ImageFault, load_small
from vision_r1.files import UserError, read_jsonl
from vision_r1.progress import Progress
from vision_r1.stamps import code_stamp

log = logging.getLogger(__name__)

_REMEDY = "give what index_images.py wrote; if it is that, delete it and run again"


@dataclass(frozen=True)
class ImageFacts:
    """What the index holds of an image file: its SHA-256 (hex), upright size in pixels and dhash.

    orientation: as the EXIF data says it, 1 (upright) to 8; fault: why it can't be used, a word and what is known of
    it ("missing", "unreadable: ..."), or None.
    """

    sha256: str
    width: int = 0
    height: int = 0
    orientation: int = 1
    dhash: str = ""
    fault: str | None = None

    @property
    def turned_in_place(self) -> bool:
        """Whether it is turned upright without a change of size, which a check of sizes can't see."""
        return self.orientation in (2, 3, 4)


@dataclass(frozen=True)
class IndexedImage:
    """One line of the image index: where the image is from, its file, and the facts that index_images found.

    role: train | benchmark; image_id: its id in the data set; id_space: name of the numbering that image_id is of,
    shared by data sets that number the same images alike (COCO's), or None.
    """

    role: str
    dataset: str
    image_id: int
    id_space: str | None
    path: str
    sha256: str
    width: int
    height: int
    orientation: int
    dhash: str
    fault: str | None


def read_index(path: str | Path) -> list[IndexedImage]:
    """Return the image index. Raises UserError, naming the line, unless it is what index_images.py writes."""
    entries = []
    for number, line in enumerate(read_jsonl(path), start=1):
        try:
            entries.append(msgspec.convert(line, IndexedImage))
        except msgspec.ValidationError as error:
            raise UserError(f"{path}: line {number}: not an entry of an image index ({error}); {_REMEDY}") from None
    return entries


def check_all_indexed(path: str | Path, index: Iterable[IndexedImage], needed: Iterable[str]) -> None:
    """Raise UserError for an image that is not in the index: nobody knows whether it is whole, or in a benchmark."""
    known = {image.path for image in index}
    if unknown := [image for image in needed if image not in known]:
        raise UserError(f"{path}: {len(unknown)} images are not in it, the first is {unknown[0]}; delete it, run again")


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
        image, size, orientation = load_small(io.BytesIO(content))
    except ImageFault as fault:
        return ImageFacts(sha256, fault=f"unreadable: {fault}")
    return ImageFacts(sha256, *size, orientation, dhash(image))


def index_images(paths: Sequence[str], cache: Path, workers: int) -> Iterator[ImageFacts]:
    """Yield the facts about each file, in the order given, from a pool of `workers` processes.

    `cache` is a SQLite file, made where it is missing, of facts by content: an image that was examined once, under
    any name, is only read and hashed again, not decoded. Where it can't be written or locked, the log says so, and all
    are decoded. Raises UserError where the cache is damaged.
    """
    with TemporaryDirectory() as folder:
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            _make_table(cache)
        except (OSError, sqlite3.OperationalError) as error:
            log.warning("%s: can't be used, so every image is decoded: %s", cache, error)
            cache = Path(folder) / "cache.sqlite"
            _make_table(cache)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{cache}: not a cache of images ({error}); give another --cache, or delete it if it was one"
            ) from None
        yield from _examined(paths, cache, workers)


def _make_table(cache: Path) -> None:
    with closing(sqlite3.connect(cache)) as database:
        database.execute(f"CREATE TABLE IF NOT EXISTS {_table()} {_COLUMNS}")
        database.execute(f"DELETE FROM {_table()} WHERE FALSE")  # fails where it is there and can't be written


def _examined(paths: Sequence[str], cache: Path, workers: int) -> Iterator[ImageFacts]:
    with ProcessPoolExecutor(workers, initializer=_open_cache, initargs=(cache,)) as pool:
        chunk = max(1, min(256, len(paths) // (4 * workers)))
        progress = Progress(len(paths), "images")
        for done, facts in enumerate(pool.map(_facts, paths, chunksize=chunk), start=1):
            progress.update(done)
            yield facts


# The fields of ImageFacts.
_COLUMNS = "(sha256 TEXT PRIMARY KEY, width INT, height INT, orientation INT, dhash TEXT, fault TEXT)"
_cache: sqlite3.Connection
_facts_table: str


def _table() -> str:
    """Return the name of the table of facts that this code and this Pillow find: others may find other ones."""
    meaning = f"{code_stamp(__file__)} {code_stamp(images.__file__)} {PIL.__version__}"
    return f"facts_{hashlib.sha256(meaning.encode()).hexdigest()[:16]}"


def _open_cache(path: Path) -> None:
    global _cache, _facts_table
    _facts_table = _table()
    _cache = sqlite3.connect(path, timeout=600, isolation_level=None)
    _cache.execute("PRAGMA synchronous = OFF")  # a cache: what a crash loses is made again


def _facts(path: str) -> ImageFacts:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return ImageFacts("", fault="missing" if isinstance(error, FileNotFoundError) else f"unreadable: {error}")
    sha256 = hashlib.sha256(content).hexdigest()
    row = _cache.execute(f"SELECT * FROM {_facts_table} WHERE sha256 = ?", (sha256,)).fetchone()
    if row:
        return ImageFacts(*row)
    facts = examine(content, sha256)
    _cache.execute(f"INSERT OR IGNORE INTO {_facts_table} VALUES (?, ?, ?, ?, ?, ?)", tuple(asdict(facts).values()))
    return facts
