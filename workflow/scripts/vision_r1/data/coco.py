"""COCO-format data sets: an annotation file and its image folder, checked and read into records.

Read: images (id, file_name, width, height), categories (id, name) and annotations (image_id, category_id,
bbox [x, y, width, height] in pixels; iscrowd and area where given). All else in the file is ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from vision_r1.files import UserError, read_json


@dataclass(frozen=True)
class CocoObject:
    """One annotation: `bbox` x y width height in pixels of the original image, as annotated; `area` in pixels.

    `crowd`: the box is around a group that was not taken apart. Where the file gives no area, it is the box's.
    """

    category_id: int
    label: str
    bbox: tuple[float, float, float, float]
    area: float
    crowd: bool

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """The box as x1 y1 x2 y2."""
        x, y, width, height = self.bbox
        return x, y, x + width, y + height


@dataclass(frozen=True)
class CocoImage:
    """One image: its size in pixels, and its objects in the file's order.

    `path` is its file's, or "" where only the annotations were read.
    """

    id: int
    path: str
    width: int
    height: int
    objects: tuple[CocoObject, ...]


@dataclass(frozen=True)
class CocoDataset:
    """A data set: `categories` id -> name, and `images`, both in the file's order."""

    name: str
    source: str
    categories: Mapping[int, str] = field(repr=False)
    images: tuple[CocoImage, ...] = field(repr=False)


def read_coco(name: str, annotations: str | Path, images: str | Path | None = None) -> CocoDataset:
    """Read a data set; `images` is the folder that `file_name` is relative to, None where pixels aren't needed.

    Raises UserError, one line naming file and item: a missing or cut file, a missing or odd field, no
    categories, an id or a category name used twice, an unknown image or category id, a missing image file.
    """
    reader = _Reader(str(annotations))
    content = read_json(annotations)
    if not isinstance(content, Mapping):
        raise UserError(f"{annotations}: not in COCO format: its top level is no object with images and annotations")
    categories = reader.categories(content)
    entries = reader.by_id(content, "images")
    objects: dict[int, list[CocoObject]] = {image_id: [] for image_id in entries}
    for number, entry in reader.by_id(content, "annotations").items():
        where = f"annotation {number}"
        image_id = reader.integer(entry, "image_id", where)
        if image_id not in objects:
            raise UserError(f"{annotations}: {where}: image_id {image_id} is not in `images`")
        objects[image_id].append(reader.object(entry, categories, where))
    folder = None if images is None else Path(images)
    records = tuple(reader.image(entry, folder, objects[image_id]) for image_id, entry in entries.items())
    return CocoDataset(name, str(annotations), categories, records)


def read_all(entries: Iterable[Sequence[str]]) -> list[CocoDataset]:
    """Read data sets from (name, annotations) or (name, annotations, images).

    Raises UserError as read_coco does, and for a name that is given twice.
    """
    datasets: dict[str, CocoDataset] = {}
    for name, *places in entries:
        if name in datasets:
            raise UserError(f"--dataset {name}: the name is given twice")
        datasets[name] = read_coco(name, *places)
    return list(datasets.values())


def check_images(sizes: Mapping[str, tuple[int, int]]) -> None:
    """Raise UserError for a file that is no image, or not of the (width, height) that its annotations say.

    Reads headers only. Boxes would be wrong all over where the sizes differ.
    """
    from PIL import Image

    for path, size in sizes.items():
        try:
            with Image.open(path) as image:
                # A quarter turn in the EXIF data is undone when the image is loaded.
                turned = image.getexif().get(_ORIENTATION, 1) >= 5
                width, height = reversed(image.size) if turned else image.size
        except OSError as error:
            raise UserError(f"{path}: not a readable image ({error})") from None
        if (width, height) != size:
            raise UserError(
                f"{path}: {width} x {height} pixels, but its annotations are for {size[0]} x {size[1]}; "
                "mend the annotation file"
            )


_ORIENTATION = 0x0112  # EXIF


@dataclass(frozen=True)
class _Reader:
    """Reads the fields of one annotation file; each error names the file and the item."""

    source: str

    def by_id(self, content: Mapping[str, Any], section: str) -> dict[int, Mapping[str, Any]]:
        """Return a section's entries by id."""
        entries = content.get(section)
        if not isinstance(entries, list):
            raise UserError(f"{self.source}: not in COCO format: it has no list `{section}`")
        found: dict[int, Mapping[str, Any]] = {}
        for number, entry in enumerate(entries):
            where = f"{section}: item {number}"
            if not isinstance(entry, Mapping):
                raise UserError(f"{self.source}: {where}: not an object")
            key = self.integer(entry, "id", where)
            if key in found:
                raise UserError(f"{self.source}: {where}: id {key} is used twice")
            found[key] = entry
        return found

    def categories(self, content: Mapping[str, Any]) -> dict[int, str]:
        entries = self.by_id(content, "categories")
        names = {key: self.text(entry, "name", f"category {key}") for key, entry in entries.items()}
        if not names:
            raise UserError(f"{self.source}: `categories` is empty; there is nothing to ask for")
        seen: dict[str, int] = {}
        for key, name in names.items():
            other = seen.setdefault(name.strip().casefold(), key)
            if other != key:
                raise UserError(f"{self.source}: categories {other} and {key} are both named {name!r}; merge them")
        return names

    def object(self, entry: Mapping[str, Any], categories: Mapping[int, str], where: str) -> CocoObject:
        category = self.integer(entry, "category_id", where)
        if category not in categories:
            raise UserError(f"{self.source}: {where}: category_id {category} is not in `categories`")
        box = entry.get("bbox")
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise UserError(f"{self.source}: {where}: bbox {box!r} is not [x, y, width, height] in pixels")
        bbox = tuple(map(float, box))
        area = entry.get("area", bbox[2] * bbox[3])
        if not _is_number(area):
            raise UserError(f"{self.source}: {where}: area {area!r} is not a number")
        crowd = bool(entry.get("iscrowd", 0))
        return CocoObject(category, categories[category], bbox, float(area), crowd)

    def image(self, entry: Mapping[str, Any], folder: Path | None, objects: list[CocoObject]) -> CocoImage:
        where = f"image {entry['id']}"
        width, height = (self.integer(entry, side, where) for side in ("width", "height"))
        if min(width, height) < 1:
            raise UserError(f"{self.source}: {where}: a size of {width} x {height} pixels")
        path = ""
        if folder is not None:
            path = str(folder / self.text(entry, "file_name", where))
            if not Path(path).is_file():
                raise UserError(f"{path}: no such image; {self.source} lists it as {where}")
        return CocoImage(entry["id"], path, width, height, tuple(objects))

    def integer(self, entry: Mapping[str, Any], key: str, where: str) -> int:
        value = entry.get(key)
        if type(value) is not int:
            raise UserError(f"{self.source}: {where}: {key} {value!r} is not a whole number")
        return value

    def text(self, entry: Mapping[str, Any], key: str, where: str) -> str:
        value = entry.get(key)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{self.source}: {where}: {key} {value!r} is not a name")
        return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)
