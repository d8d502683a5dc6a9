"""Annotation files in COCO format, read as their writers meant them.

Read: images (id, file_name, width, height), categories (id, name, supercategory) and annotations (id, image_id,
category_id, bbox [x, y, width, height] in pixels; iscrowd and area where given). All else in the file is skipped
unread, polygons above all, so that the 860,001 annotations of COCO train2017 take seconds.

Accepted and counted: whole numbers written as 1.0, numbers as text, names as numbers, flags that are null or text,
annotations without an id or with one that is used twice (nothing depends on it), without a box but with polygons, a
record that is listed twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec

from vision_r1.data.reading import any_number, decode, flag, whole_number
from vision_r1.files import UserError, is_one_line
from vision_r1.frames import MAX_SIDE
from vision_r1.parsing import MAX_COORDINATE

LARGEST_ID = 2**63 - 1  # pycocotools keeps ids in numpy's integers
# Beyond these, areas and sums of pixels are infinite, or no number of numpy's.
Coordinate = Annotated[float, msgspec.Meta(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
Side = Annotated[int, msgspec.Meta(le=MAX_SIDE)]


class ImageEntry(msgspec.Struct, gc=False):
    """An entry of `images`. Federated sets, such as LVIS, say which categories were looked for and not found in it
    (`neg_category_ids`), and of which not all objects are annotated (`not_exhaustive_category_ids`). LVIS has
    `coco_url`, .../train2017/1.jpg, in place of `file_name`.
    """

    id: int
    width: Side | None = None
    height: Side | None = None
    file_name: str | None = None
    coco_url: str | None = None
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] | None = None


class AnnotationEntry(msgspec.Struct, gc=False):
    """An entry of `annotations`."""

    image_id: int
    category_id: int
    bbox: tuple[Coordinate, Coordinate, Coordinate, Coordinate]
    id: int | None = None
    area: float | None = None
    iscrowd: int | bool = 0


class CategoryEntry(msgspec.Struct):
    """An entry of `categories`."""

    id: int
    name: str
    supercategory: str | None = None


class CocoFile(msgspec.Struct):
    """The content of an annotation file."""

    images: list[ImageEntry]
    annotations: list[AnnotationEntry]
    categories: list[CategoryEntry]


def read_file(path: str | Path) -> tuple[CocoFile, Counter]:
    """Return a file's content, and notes: what was not read as it is written -> how often.

    Raises UserError, one line naming file and item, as read_coco says.
    """
    notes: Counter = Counter()
    foreign = "; if it is of another form (labelme, CreateML, Datumaro), export as COCO, VOC, YOLO or CSV"
    content = decode(path, CocoFile, "COCO format", partial(_leniently, path, notes), foreign)
    content.images = _once(path, "images", content.images, notes)
    for image in content.images:
        if image.file_name is None and image.coco_url:
            image.file_name = "/".join(image.coco_url.split("/")[-2:])
            notes["file names of coco_url"] += 1
        if not image.width or not image.height:  # 0 means unknown, too
            image.width = image.height = None
        name = image.file_name or ""
        if not (name.isprintable() or is_one_line(name)):  # the first is fast
            raise UserError(f"{path}: image {image.id}: file_name {name!r} is not one line of text; rename the file")
    content.categories = _once(path, "categories", content.categories, notes)
    numbers = [item.id for item in content.annotations if item.id is not None]
    if len(numbers) < len(content.annotations):
        notes["annotations without an id"] = len(content.annotations) - len(numbers)
    if twice := len(numbers) - len(set(numbers)):
        notes["annotations with an id that was used before"] = twice
    return content, notes


def _loose(kind: type) -> type:
    """Return a structure with the fields of `kind`, each of any type or missing."""
    return msgspec.defstruct(kind.__name__, [(name, Any, msgspec.UNSET) for name in kind.__struct_fields__])


_LooseFile = msgspec.defstruct(
    "CocoFile",
    [
        ("images", list[_loose(ImageEntry)]),
        ("annotations", list[_loose(AnnotationEntry)]),
        ("categories", list[_loose(CategoryEntry)]),
    ],
)
# Read only where a box is missing, since polygons of large files would fill the memory.
_Polygons = msgspec.defstruct(
    "Polygons", [("annotations", list[msgspec.defstruct("Polygon", [("segmentation", Any, None)])])]
)
_WHOLE_NUMBERS = ("id", "image_id", "category_id", "width", "height")
_TEXTS = ("name", "supercategory", "file_name")
_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


def _leniently(path: str | Path, notes: Counter, read: Callable[[type], Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the sections of a file that isn't strictly of COCO format; the types of their values are still checked."""
    loose = read(_LooseFile)
    sections = {name: map(msgspec.structs.asdict, getattr(loose, name)) for name in _LooseFile.__struct_fields__}
    found = {name: [_as_meant(entry, notes) for entry in entries] for name, entries in sections.items()}
    if any(entry.get("bbox") in (None, []) for entry in found["annotations"]):
        _add_boxes(path, found, read(_Polygons).annotations, notes)
    return found


def _add_boxes(
    path: str | Path, sections: dict[str, list[dict[str, Any]]], polygons: Sequence[Any], notes: Counter
) -> None:
    """Give annotations without a box the one around their polygons. Raises UserError for one that has none."""
    for entry, own in zip(sections["annotations"], polygons, strict=True):
        if entry.get("bbox") not in (None, []):
            continue
        entry["bbox"] = _around(own.segmentation)
        if not entry["bbox"]:
            image = entry.get("image_id")
            names = (each.get("file_name") for each in sections["images"] if each.get("id") == image)
            raise UserError(
                f"{path}: annotation {entry.get('id')!r} of image {image!r} ({next(names, None)!r}) has neither a bbox "
                "nor polygons; give it a box x y width height, or remove it"
            )
        notes["boxes taken from polygons"] += 1


def _around(polygons: Any) -> list[float]:
    """Return the box x y width height around lists of x1 y1 x2 y2 ...; an empty one for anything else."""
    lists = polygons if isinstance(polygons, list) else []
    if not lists or not all(isinstance(each, list) and each and len(each) % 2 == 0 for each in lists):
        return []
    if any(type(value) not in (int, float) for each in lists for value in each):
        return []
    xs, ys = ([value for each in lists for value in each[start::2]] for start in (0, 1))
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _as_meant(entry: dict[str, Any], notes: Counter) -> dict[str, Any]:
    found = {key: value for key, value in entry.items() if value is not msgspec.UNSET}
    for key in found.keys() & _WHOLE_NUMBERS:
        found[key] = whole_number(found[key], notes)
    for key in found.keys() & _LISTS:
        if isinstance(found[key], list):
            found[key] = [whole_number(value, notes) for value in found[key]]
    if isinstance(found.get("bbox"), list):
        found["bbox"] = [any_number(value, notes) for value in found["bbox"]]
    if "area" in found:
        found["area"] = any_number(found["area"], notes)
    for key in found.keys() & _TEXTS:
        if type(found[key]) in (int, float):
            notes["texts written as numbers"] += 1
            found[key] = str(found[key])
    if "iscrowd" in found:
        found["iscrowd"] = flag(found["iscrowd"], notes)
    return found


def _once(source: str | Path, section: str, entries: list[Any], notes: Counter) -> list[Any]:
    """Return entries without exact repeats. Raises UserError for an id used twice or out of range."""
    by_id: dict[int, Any] = {}
    for number, entry in enumerate(entries):
        if not -LARGEST_ID <= entry.id <= LARGEST_ID:
            raise UserError(f"{source}: {section}: item {number}: id {entry.id} is beyond 2^63; renumber them")
        if by_id.setdefault(entry.id, entry) is not entry:
            if entry != by_id[entry.id]:
                raise UserError(f"{source}: {section}: item {number}: id {entry.id} is used twice")
            notes[f"{section} listed twice"] += 1
    return list(by_id.values())


def told(notes: Counter) -> str:
    """Return notes as one line."""
    return "; ".join(f"{what}: {count:,}" for what, count in notes.items())


def in_words(names: Iterable[str], most: int = 5) -> str:
    """Return some names in quotation marks, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
