"""Image files by the names that an annotation file gives them."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from vision_r1.files import UserError, is_one_line

HERE = Path(".")  # the image folder of a selection split, whose names are whole paths


def image_paths(
    source: str | Path, images: Sequence[Any], folder: str | Path, must_exist: bool, notes: Counter
) -> list[str]:
    """Return the images' paths in `folder`, each by its `file_name`, as image_path says.

    An image that isn't there is looked for in the folder as in annotations of other forms (ImageFolder): by its name
    alone, with other case or ending. Where any image has the kind of its name's ending, all must; where any is in its
    place, the others are by their whole names, or in the folders of such images. An image stays missing where several
    files, or other images, have its name. What was found is counted in `notes`. Raises UserError naming `source` where
    one has no name, or, where it must exist, no file.
    """
    paths = [image_path(source, image, folder, notes) for image in images]
    # A look at each file takes minutes over a network: their folders are listed in its place.
    is_there = os.path.isfile if must_exist else _listed()
    missing = [number for number, path in enumerate(paths) if not is_there(path)]
    if missing:
        found = _search(images, paths, missing, Path(folder))
        paths = [found.get(number, path) for number, path in enumerate(paths)]
        if found:
            notes["file names with another folder, case or ending than their files"] += len(found)
        if must_exist and (number := next((number for number in missing if number not in found), None)) is not None:
            raise UserError(
                f"{paths[number]}: no such image; {source} lists it as image {images[number].id}; set file_name to its "
                f"name inside {folder}"
            )
    return paths


def image_path(source: str | Path, image: Any, folder: str | Path, notes: Counter | None = None) -> str:
    r"""Return an image's path in `folder`; it need not exist.

    Where no such file exists, `images\1.jpg`, as Windows writes it, is read as images/1.jpg, and in a folder .../images
    as 1.jpg; an accent may be a character of its own, as on macOS, or not. All are counted in `notes`, and so are files
    outside of the folder. Raises UserError naming `source` where it has no name.
    """
    if not image.file_name:
        raise UserError(f"{source}: image {image.id}: no file_name")
    notes = Counter() if notes is None else notes
    path = str(Path(folder) / _as_meant(image.file_name, Path(folder), notes))
    named_elsewhere = image.file_name.startswith("/") or ".." in image.file_name
    if named_elsewhere and Path(folder) != HERE and os.path.isfile(path):
        place = Path(path).parent.resolve()  # a link in the folder is there, wherever it leads
        if Path(folder).resolve() not in (place, *place.parents):
            notes["images outside of the image folder"] += 1
    return path


def _listed() -> Callable[[str], bool]:
    """Return a function that tells whether a file exists, and lists each folder only once."""

    @cache
    def names(folder: str) -> set[str]:
        try:
            return set(os.listdir(folder))
        except OSError:
            return set()

    def is_there(path: str) -> bool:
        folder, _, name = path.rpartition(os.sep)
        return name in names(folder) or os.path.isfile(path)  # the latter where case doesn't count

    return is_there


def _search(images: Sequence[Any], paths: Sequence[str], missing: Sequence[int], folder: Path) -> dict[int, str]:
    """Return the number of a missing image -> its path, for those that just one file can be, and the file just one."""
    from vision_r1.data.image_folder import ImageFolder

    if folder == HERE:
        return {}
    try:
        files = ImageFolder(folder)
    except UserError:  # without images
        return {}
    meant = list(files.find([(image.file_name,) for image in images]))
    gone, found, exact = set(missing), {}, set()
    for number in missing:
        own, named, _ = meant[number]
        if len(own) == 1 and is_one_line(own[0]) and "/." not in f"/{own[0]}":  # not in .thumbnails or .Trash
            found[number] = str(folder / own[0])
            if files.is_exact(str(named)):
                exact.add(number)
    # Masks and thumbnails have images' names, too.
    fitting = {number: path for number, path in found.items() if _is_kind(path, images[number].file_name)}
    if homes := {os.path.dirname(path) for number, path in enumerate(paths) if number not in gone}:
        fitting = {n: path for n, path in fitting.items() if n in exact or os.path.dirname(path) in homes}
    found = fitting if homes or fitting else found
    users = Counter([*map(os.path.normpath, paths), *map(os.path.normpath, found.values())])
    return {number: path for number, path in found.items() if users[os.path.normpath(path)] == 1}


def _is_kind(path: str, name: str) -> bool:
    """Tell whether a file is of the kind that a name's ending says, if it says any."""
    from vision_r1.data.images import image_kind  # scoring reads annotations without Pillow

    return image_kind(name) in (None, image_kind(path))


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
