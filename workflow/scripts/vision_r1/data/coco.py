"""COCO-format data sets: an annotation file and its image folder, checked and read into records.

Read: images (id, file_name, width, height), categories (id, name) and annotations (id, image_id, category_id,
bbox [x, y, width, height] in pixels; iscrowd and area where given). All else in the file is skipped unread,
polygons above all, so that the 860,001 annotations of COCO train2017 take seconds.
"""

import json
import mmap
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from vision_r1.files import UserError
from vision_r1.parsing import label_key

T = TypeVar("T")


class CocoObject(msgspec.Struct, frozen=True, gc=False):
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


class CocoImage(msgspec.Struct, frozen=True):
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


class _Image(msgspec.Struct, gc=False):
    id: int
    width: int
    height: int
    file_name: str | None = None


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read_coco(
    name: str,
    annotations: str | Path,
    images: str | Path | None = None,
    *,
    must_exist: bool = True,
    merge_names: bool = False,
) -> CocoDataset:
    """Read a data set; `images` is the folder that `file_name` is relative to, None where pixels aren't needed.

    merge_names: categories of one name are one category, as a question can't tell them apart; V3Det has 13,204 of them.
    Raises UserError, one line naming file and item: a missing or cut file, a missing or odd field (NaN among
    them), no categories, an id used twice, a category name used twice unless `merge_names`, an unknown image or
    category id, and, where `must_exist`, a missing image file.
    """
    content = decode(annotations, _File, "COCO format")
    for section in ("images", "annotations", "categories"):
        _check_ids(annotations, section, getattr(content, section))
    categories = _categories(annotations, content.categories, merge_names)
    objects: dict[int, list[CocoObject]] = {image.id: [] for image in content.images}
    for item in content.annotations:
        if item.image_id not in objects:
            raise UserError(f"{annotations}: annotation {item.id}: image_id {item.image_id} is not in `images`")
        if item.category_id not in categories:
            raise UserError(
                f"{annotations}: annotation {item.id}: category_id {item.category_id} is not in `categories`"
            )
        area = item.bbox[2] * item.bbox[3] if item.area is None else item.area
        label = categories[item.category_id]
        objects[item.image_id].append(CocoObject(item.category_id, label, item.bbox, area, bool(item.iscrowd)))
    records = []
    for image in content.images:
        path = "" if images is None else image_path(annotations, image, images, must_exist)
        check_size(annotations, f"image {image.id}", image.width, image.height)
        records.append(CocoImage(image.id, path, image.width, image.height, tuple(objects[image.id])))
    return CocoDataset(name, str(annotations), categories, tuple(records))


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


def check_images(sizes: Mapping[str, tuple[int, int]], workers: int = 1) -> None:
    """Raise UserError where files are no whole images, or not of the (width, height) that their annotations say.

    Each is decoded, in `workers` threads, so that none can stop what comes after. Boxes would be wrong all over where
    the sizes differ.
    """
    from vision_r1.data.images import ImageFault, load_image

    def fault(path: str) -> str | None:
        try:
            width, height = load_image(path).size
        except ImageFault as error:
            return str(error)
        if (width, height) == sizes[path]:
            return None
        annotated = "{} x {}".format(*sizes[path])
        return f"{path}: {width} x {height} pixels, but its annotations are for {annotated}; fix the annotation file"

    with ThreadPoolExecutor(workers) as pool:
        faults = [found for found in pool.map(fault, sizes) if found]
    if faults:
        others = f" ({len(faults) - 1} more of {len(sizes)} images can't be used)" if len(faults) > 1 else ""
        raise UserError(faults[0] + others)


def decode(path: str | Path, kind: type[T], form: str) -> T:
    """Read a JSON file as a msgspec structure. Raises UserError naming the file and the item, or where it is cut."""
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return msgspec.json.decode(content, type=kind)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                # NaN, as Python writes it, is no JSON: read as nothing, it is refused below with its place.
                return msgspec.convert(json.loads(content[:], parse_constant=lambda word: None), kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: not in {form}: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); is the file cut off?") from None


def image_path(source: str | Path, image: Any, folder: str | Path, must_exist: bool) -> str:
    """Return an image's path in `folder`. Raises UserError naming `source` where it has no name or no file."""
    if not image.file_name:
        raise UserError(f"{source}: image {image.id}: no file_name")
    path = Path(folder) / image.file_name
    if must_exist and not path.is_file():
        raise UserError(f"{path}: no such image; {source} lists it as image {image.id}")
    return str(path)


def check_size(source: str | Path, where: str, width: int, height: int) -> None:
    """Raise UserError for a size that no image has."""
    if min(width, height) < 1:
        raise UserError(f"{source}: {where}: a size of {width} x {height} pixels")


def _check_ids(source: str | Path, section: str, entries: Sequence[Any]) -> None:
    if len({entry.id for entry in entries}) == len(entries):
        return
    seen: set[int] = set()
    for number, entry in enumerate(entries):
        if entry.id in seen:
            raise UserError(f"{source}: {section}: item {number}: id {entry.id} is used twice")
        seen.add(entry.id)


def _categories(source: str | Path, entries: Sequence[_Category], merge_names: bool) -> dict[int, str]:
    if not entries:
        raise UserError(f"{source}: `categories` is empty; there is nothing to ask for")
    key = label_key if merge_names else str
    seen: dict[str, _Category] = {}
    for entry in entries:
        if not entry.name.strip() or entry.name.splitlines() != [entry.name]:
            raise UserError(f"{source}: category {entry.id}: name {entry.name!r} is empty or not of one line; mend it")
        # ODinW's boggleBoards has "o" and "o ", "Q" and "q": unmerged names are the same where every character is.
        other = seen.setdefault(key(entry.name), entry)
        if other is not entry and not merge_names:
            raise UserError(f"{source}: categories {other.id} and {entry.id} are both named {entry.name!r}; merge them")
    return {entry.id: seen[key(entry.name)].name for entry in entries}
