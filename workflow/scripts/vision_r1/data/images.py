"""Images: one way to load them, alike in training, evaluation and pages."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from vision_r1.files import UserError

MAX_PIXELS = 100_000_000  # of an image; a foreign file must not fill the memory
SMALL = 144  # pixels that each side of an image keeps where only its looks matter; below it hashes begin to differ
# Pillow decodes these itself, or with a library inside its wheel. It knows more: for EPS it starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
_ORIENTATION = 0x0112  # EXIF
# How an image of each EXIF orientation is turned upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@cache
def image_suffixes() -> frozenset[str]:
    """Return the file name endings of FORMATS, in lower case, with their dots."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)


def image_kind(name: str) -> str | None:
    """Return which of FORMATS a file's name ends as: JPEG for .jpg and .JPEG; None for any other ending."""
    kind = Image.registered_extensions().get(os.path.splitext(name)[1].lower())
    return kind if kind in FORMATS else None


class ImageFault(UserError):
    """A file that is no whole image, or none that we read. The text is the same in every run."""


@contextmanager
def open_image(source: str | Path | BinaryIO) -> Iterator[Image.Image]:
    """Yield an image of one of FORMATS, not decoded yet. Any error in the block is the file's: ImageFault."""
    try:
        with Image.open(source, formats=FORMATS) as image:
            yield image
    except MemoryError:  # this machine's fault, not the file's
        raise
    except Exception as error:  # decoders raise whatever they stumble over: TypeError, struct.error, ...
        named = isinstance(source, str | Path)
        raise ImageFault(f"{source}: not a readable image ({_reason(error)})" if named else _reason(error)) from None


def load_image(source: str | Path | BinaryIO) -> Image.Image:
    """Return an image in RGB, upright by its EXIF data: as training and evaluation alike see it.

    16 bits a channel are scaled to 8 (Pillow alone would clip them), transparent parts lie on white. Raises
    ImageFault, naming the file where `source` is a path, for anything that can't be decoded, for more than MAX_PIXELS,
    and for numbers whose white nobody knows: 32-bit integers and floats.
    """
    return _load(source)[0]


def load_small(source: str | Path | BinaryIO) -> tuple[Image.Image, tuple[int, int], int]:
    """Return an image as load_image does, but small, its whole upright (width, height) and EXIF orientation, 1 to 8.

    It is for looks and for a check that a file is whole. A JPEG is decoded at a half, a quarter or an eighth of its
    size, no side below SMALL pixels, which leaves out most of the work but reading all of its data. Other formats
    are decoded whole, and so are images that are small.
    """
    return _load(source, SMALL)


def _load(source: str | Path | BinaryIO, least: int | None = None) -> tuple[Image.Image, tuple[int, int], int]:
    with open_image(source) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}; shrink or tile it")
        size = image.size
        if least:
            image.draft(image.mode, (least, least))
        image.load()
        orientation, colours = _orientation(image), _rgb(image)
    turn = _TURNS.get(orientation)
    return (colours if turn is None else colours.transpose(turn)), _upright(size, orientation), orientation


def upright_size(path: str | Path) -> tuple[int, int]:
    """Return the (width, height) that an image has upright, in pixels, from its header. Raises ImageFault."""
    with open_image(path) as image:
        return _upright(image.size, _orientation(image))


def _upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size[::-1] if orientation >= 5 else size


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns it itself, in `size` and when it loads
        return 1
    # Only this tag is read, and nothing written: photos often have other tags that no writer accepts.
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data that is none; the pixels are whole
        return 1
    return orientation if orientation in _TURNS else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):  # Pillow scales a PPM's numbers to 16 bits
        raise ValueError("32 bits a channel, and no value is known to be white; save it with 8 or 16")
    if image.mode.startswith("I"):
        scaled = (np.asarray(image, np.float64) / 257).clip(0, 255).round().astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    """Return an error's text on one line, without the addresses in memory that change from run to run."""
    if isinstance(error, Image.UnidentifiedImageError):
        return f"none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):  # Pillow's own limit, before ours
        return f"more than {MAX_PIXELS:,} pixels; shrink or tile it"
    text = getattr(error, "strerror", None) or re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "the file", str(error))
    return " ".join(text.split())[:200] or type(error).__name__
