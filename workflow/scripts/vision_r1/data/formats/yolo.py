"""YOLO: a text file per image, a line per box: class, centre x, centre y, width, height, shares of the upright image.

Lines of Ultralytics' segmentation and oriented boxes (a class and a polygon) give the box around the polygon.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from vision_r1 import safe_yaml
from vision_r1.data.formats.labelled import Corners, Labelled, LabelledImage, read_number
from vision_r1.data.image_folder import ImageFolder
from vision_r1.data.images import image_suffixes
from vision_r1.data.places import beside_images
from vision_r1.files import UserError, files_below, read_text

OVER = 0.01  # how far a share may lie outside of 0..1, since labels are rounded
_SETTING = re.compile(r"(classes|train|valid|names|backup)\s*=", re.IGNORECASE)  # a line of Darknet's obj.data


def read(annotations: Path, images: Path) -> Labelled:
    """Read the labels of an image folder; `annotations` has the names: data.yaml, or one per line (classes.txt).

    The labels of images/a/1.jpg are labels/a/1.txt, as Ultralytics has it, or images/a/1.txt; also where case differs,
    or how accents are written. An image without them has no objects. Raises UserError naming file and line.
    """
    names, keypoints = _names(annotations)
    notes: Counter = Counter()
    folder = ImageFolder(images)
    # .thumbnails, .Trash: no label names them.
    files = [file for file in folder.files if not any(part.startswith(".") for part in Path(file).parts)]
    labels_of = _labels_of(folder.folder, files, notes)
    if without := [file for file in files if labels_of[file] is None]:
        notes[f"images without a label file, taken to have no objects, such as {without[0]}"] = len(without)
    found, used = [], {path.absolute() for path in labels_of.values() if path}
    for file, path in labels_of.items():
        size = folder.size(file, notes)
        if size == (0, 0):
            continue
        lines = enumerate(read_text(path).splitlines() if path else [], start=1)
        boxes = tuple(
            _box(f"{path}: line {number}", line.split(), names, keypoints, size, notes)
            for number, line in lines
            if line.strip()
        )
        found.append(LabelledImage(file, *size, boxes))
    if not used:
        raise UserError(f"{images}: no label files ({', '.join(map(str, _label_files(folder.folder / '*')[::2]))})")
    labels = {path for each in {path.parent for path in used} for path in each.glob("*.txt")}
    if left := sorted(path for path in labels - used if path.name != "classes.txt"):
        notes[f"label files without an image, left out, such as {left[0].name}"] = len(left)
    return Labelled(names, found, notes)


def _labels_of(folder: Path, files: Sequence[str], notes: Counter) -> dict[str, Path | None]:
    """Return the label file of each image, None where it has none, or several may be meant."""
    places = {file: _label_files(folder / file) for file in files}
    found = {file: next((place for place in own if place.is_file()), None) for file, own in places.items()}
    missing = [file for file in files if found[file] is None]
    if not missing:  # else all files are listed
        return found
    used = {path.absolute() for path in found.values() if path}
    below = (path for root in (*beside_images(folder), folder) for path in files_below(root))
    labels = defaultdict(list)
    for path in {path.absolute() for path in below if path.suffix.lower() == ".txt"} - used:
        labels[_form(path)].append(path)
    images = Counter(_form(folder / file) for file in missing)
    for file in missing:
        forms = dict.fromkeys(map(_form, places[file]))
        named = [path for form in forms for path in labels.get(form, ())]
        if len(named) == 1 and images[_form(folder / file)] == 1:
            found[file] = named[0]
            notes["label files whose name has other case or accents than its image's"] += 1
    return found


def _form(path: Path) -> str:
    """Return a path without its ending, in the form by which it is looked for."""
    return unicodedata.normalize("NFC", str(path.absolute().with_suffix(""))).casefold()


def _label_files(image: Path) -> list[Path]:
    """Return where the labels of an image may be."""
    folders = (*beside_images(image.parent), image.parent)
    return [folder / image.with_suffix(ending).name for folder in folders for ending in (".txt", ".TXT")]


def _names(path: Path) -> tuple[list[str], bool]:
    """Return the names of the classes, and whether lines end with keypoints."""
    if path.is_dir():
        raise UserError(f"{path}: a folder; give the file with the names of the classes, data.yaml or classes.txt")
    if path.suffix.lower() not in (".yaml", ".yml"):
        lines = [line.strip() for line in read_text(path).rstrip().splitlines()]
        if "" in lines:
            raise UserError(f"{path}: line {lines.index('') + 1} is empty, and classes are counted by line; name it")
        # CVAT writes lists of images (train.txt) and settings (obj.data) beside the names.
        if odd := [line for line in lines if Path(line).suffix.lower() in image_suffixes() or _SETTING.match(line)]:
            remedy = "give the file of class names, obj.names or classes.txt, or data.yaml"
            raise UserError(f"{path}: {odd[0]!r} is not a class name; {remedy}")
        _check_once(path, "it", lines)
        return lines, False
    content = safe_yaml.read(path, as_written=True)  # else the class 010 would be 8, and no would be False
    names = content.get("names")
    if isinstance(names, dict) and {*map(read_number, names)} == {*range(len(names))}:
        names = [names[key] for key in sorted(names, key=read_number)]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: `names` is neither a list of class names nor a mapping from 0 on")
    names = [name.strip() for name in names]
    _check_once(path, "`names`", names)
    count = content.get("nc", str(len(names)))
    if not isinstance(count, str) or read_number(count) != len(names):
        raise UserError(f"{path}: nc is {count}, but `names` has {len(names)}")
    return names, "kpt_shape" in content


def _check_once(path: Path, what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise UserError(f"{path}: {what} has a name twice: {Counter(names).most_common(1)[0][0]!r}")


def _box(
    where: str, words: list[str], names: list[str], keypoints: bool, size: tuple[int, int], notes: Counter
) -> tuple[str, Corners]:
    number, *shares = map(read_number, words)
    if None in (number, *shares):
        raise UserError(f"{where}: not numbers: {' '.join(words)[:80]!r}")
    if number not in range(len(names)):
        raise UserError(f"{where}: class {words[0]}, but there are {len(names)} names, counted from 0")
    if keypoints:  # after the box; every third number may be a visibility
        shares = shares[:4]
    if not all(-OVER <= value <= 1 + OVER for value in shares):
        remedy = "; a line with keypoints needs kpt_shape in data.yaml" if len(shares) > 4 else ""
        raise UserError(f"{where}: not shares of the image in 0..1: {' '.join(words[1:])[:80]}{remedy}")
    polygon = len(shares) >= 6 and len(shares) % 2 == 0
    if len(shares) == 4:
        x, y, width, height = shares
        low, high = (x - width / 2, y - height / 2), (x + width / 2, y + height / 2)
    elif polygon:
        notes["lines read as polygons; for boxes with keypoints, data.yaml needs kpt_shape"] += 1
        low, high = (min(shares[::2]), min(shares[1::2])), (max(shares[::2]), max(shares[1::2]))
    else:
        raise UserError(f"{where}: {len(words)} numbers; a box is class, x, y, width, height")
    return names[int(number)], tuple(
        round(share * side, 4) for share, side in zip((*low, *high), size * 2, strict=True)
    )
