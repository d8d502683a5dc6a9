"""Image files by the names that an annotation file gives them."""

import unicodedata
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from vision_r1.files import UserError


def image_path(
    source: str | Path, image: Any, folder: str | Path, must_exist: bool, notes: Counter | None = None
) -> str:
    r"""Return an image's path in `folder`.

    Where no such file exists, `images\1.jpg`, as Windows writes it, is read as images/1.jpg, and in a folder .../images
    as 1.jpg; an accent may be a character of its own, as on macOS, or not. All are counted in `notes`. Raises UserError
    naming `source` where it has no name, or, where it must exist, no file.
    """
    if not image.file_name:
        raise UserError(f"{source}: image {image.id}: no file_name")
    path = Path(folder) / _as_meant(image.file_name, Path(folder), Counter() if notes is None else notes)
    if must_exist and not path.is_file():
        raise UserError(f"{path}: no such image; {source} lists it as image {image.id}")
    return str(path)


def _as_meant(name: str, folder: Path, notes: Counter) -> str:
    if not name.isascii() and not (folder / name).is_file():
        for form in ("NFC", "NFD"):  # of Unicode: macOS writes the second
            if (folder / (other := unicodedata.normalize(form, name))).is_file():
                notes["file names with accents written otherwise"] += 1
                return other
    if "/" not in name and "\\" not in name:  # almost all names; saves a look at the disk
        return name
    if "\\" in name and not (folder / name).is_file():
        notes["file names with backslashes"] += 1
        name = name.replace("\\", "/")
    parts = PurePosixPath(name).parts
    for count in range(len(parts) - 1, 0, -1):
        if folder.parts[-count:] == parts[:count]:
            inner = "/".join(parts[count:])
            if not (folder / name).is_file() and (folder / inner).is_file():
                notes["file names that repeat the image folder"] += 1
                return inner
    return name
