"""COCO-format data sets: an annotation file and its image folder, checked and read into records.

What is read of the file, and what is accepted in it, is in vision_r1.data.coco_file.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec

from vision_r1.data.categories import asked_for, differing_in_spelling, unused_roots_and_placeholders
from vision_r1.data.coco_file import AnnotationEntry, ImageEntry, in_words, read_file, told
from vision_r1.data.file_names import image_paths
from vision_r1.files import UserError

log = logging.getLogger(__name__)


class CocoObject(msgspec.Struct, frozen=True, gc=False):
    """One annotation: `bbox` x y width height in pixels of the original image, as annotated; `area` in pixels.

    `crowd`: the box is around a group, whose members have none of their own. Without an area above 0 in the file, it is
    the box's.
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

    `path` is its file's, or "" where only the annotations were read. The size is 0 x 0 where the annotations have none,
    and the file is not there to be read. In a federated set only some categories were looked for in an image: those of
    its objects, and `negatives` (ids), of which it has none; else None. Of categories `not_exhaustive` it may have
    more objects than are annotated.
    """

    id: int
    path: str
    width: int
    height: int
    objects: tuple[CocoObject, ...]
    negatives: tuple[int, ...] | None = None
    not_exhaustive: tuple[int, ...] = ()


@dataclass(frozen=True)
class CocoDataset:
    """A data set: `categories` id -> name, and `images`, both in the file's order.

    dropped: entries that are not categories, id -> name; merged: image id -> that of the record of the same file;
    file_names: image id -> its file's name, as it is written; notes: what was not read as it is written -> how often.
    """

    name: str
    source: str
    categories: Mapping[int, str] = field(repr=False)
    images: tuple[CocoImage, ...] = field(repr=False)
    dropped: Mapping[int, str] = field(default_factory=dict, repr=False)
    merged: Mapping[int, int] = field(default_factory=dict, repr=False)
    notes: Mapping[str, int] = field(default_factory=dict, repr=False)
    file_names: Mapping[int, str] = field(default_factory=dict, repr=False)

    @property
    def federated(self) -> bool:
        """Whether not every category was looked for in every image, as in LVIS."""
        return any(image.negatives is not None for image in self.images)


def read_coco(
    name: str,
    annotations: str | Path,
    images: str | Path | None = None,
    *,
    must_exist: bool = True,
    merge_names: bool = False,
) -> CocoDataset:
    """Read a data set; `images` is the folder that `file_name` is relative to, None where pixels aren't needed.

    merge_names: categories of one name are one category, since a question can't tell them apart (V3Det needs it).
    What was not read as it is written is counted, in `notes` and in the log. Raises UserError, one line naming
    file and item: a missing or cut file, a missing or odd field (NaN among them), no categories, an id used for two
    things, a category name used twice unless `merge_names`, an unknown image or category id, and, where
    `must_exist`, a missing image file.
    """
    content, notes = read_file(annotations)
    dropped = unused_roots_and_placeholders(content.categories, {item.category_id for item in content.annotations})
    if dropped:
        notes[f"entries that are not categories ({in_words(dropped.values())})"] = len(dropped)
    kept = [entry for entry in content.categories if entry.id not in dropped]
    categories = asked_for(annotations, kept, merge_names)
    if alike := differing_in_spelling([entry.name for entry in kept]):
        notes[f"names alike but for case or spaces, one in training, not in scoring ({in_words(alike)})"] = len(alike)
    objects: dict[int, list[CocoObject]] = {image.id: [] for image in content.images}
    for number, item in enumerate(content.annotations):
        if item.image_id not in objects:
            raise _unknown(annotations, number, item, "images")
        if item.category_id not in categories:
            raise _unknown(annotations, number, item, "categories")
        area = item.bbox[2] * item.bbox[3] if item.area is None else item.area
        if area <= 0 < min(item.bbox[2:]):  # scored, it would count for nothing, or as small
            area = item.bbox[2] * item.bbox[3]
            notes["areas of 0 or less, taken from the box"] += 1
        label = categories[item.category_id]
        objects[item.image_id].append(CocoObject(item.category_id, label, item.bbox, area, bool(item.iscrowd)))
    merged = _merge_files(annotations, content.images, objects, notes)
    records, named = [], {}
    single = [image for image in content.images if image.id not in merged]
    paths = [""] * len(single) if images is None else image_paths(annotations, single, images, must_exist, notes)
    for image, path in zip(single, paths, strict=True):
        if path and (other := named.setdefault(os.path.normpath(path), image)) is not image:
            raise UserError(
                f"{annotations}: images {other.id} ({other.file_name}) and {image.id} ({image.file_name}) are both the "
                f"file {path}; give them one file_name"
            )
        width, height = _size(annotations, image, path, must_exist, notes)
        looked_for = image.neg_category_ids
        records.append(
            CocoImage(
                image.id,
                path,
                width,
                height,
                tuple(objects[image.id]),
                None if looked_for is None else tuple(number for number in looked_for if number in categories),
                tuple(image.not_exhaustive_category_ids or ()),
            )
        )
    if notes:
        log.warning("%s: read as meant: %s", annotations, told(notes))
    file_names = {image.id: image.file_name for image in single if image.file_name}
    return CocoDataset(name, str(annotations), categories, tuple(records), dropped, merged, notes, file_names)


def _unknown(source: str | Path, number: int, item: AnnotationEntry, section: str) -> UserError:
    which = f"number {number}" if item.id is None else item.id
    key = {"images": "image_id", "categories": "category_id"}[section]
    return UserError(f"{source}: annotation {which}: {key} {getattr(item, key)} is not in `{section}`")


def _merge_files(
    source: str | Path, images: Sequence[ImageEntry], objects: dict[int, list[CocoObject]], notes: Counter
) -> dict[int, int]:
    """Where one file has several ids, give all its objects to the first; return the other ids, id -> that first one.

    Scored apart, each record would make the others' objects false. Raises UserError where the sizes differ.
    """
    names = [os.path.normpath((image.file_name or str(image.id)).replace("\\", "/")) for image in images]
    if len(set(names)) == len(names):
        return {}
    first: dict[str, ImageEntry] = {}
    merged = {}
    for name, image in zip(names, images, strict=True):
        other = first.setdefault(name, image)
        if other is image:
            continue
        if (image.width, image.height) != (other.width, other.height):
            raise UserError(f"{source}: images {other.id} and {image.id} are both {name}, but of different sizes")
        merged[image.id] = other.id
        known = {(item.category_id, item.bbox) for item in objects[other.id]}
        objects[other.id] += [item for item in objects[image.id] if (item.category_id, item.bbox) not in known]
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            lists = [found for each in (other, image) if (found := getattr(each, key)) is not None]
            setattr(other, key, list(dict.fromkeys(chain.from_iterable(lists))) if lists else None)
        notes["image ids merged with another of the same file"] += 1
    return merged


def _size(source: str | Path, image: ImageEntry, path: str, must_exist: bool, notes: Counter) -> tuple[int, int]:
    """Return an image's size, read from its file where the entry has none; 0 x 0 where that isn't there to be read."""
    if image.width is not None and image.height is not None:
        check_size(source, f"image {image.id}", image.width, image.height)
        return image.width, image.height
    notes["images without width and height"] += 1
    if not path or not (must_exist or Path(path).is_file()):
        return 0, 0
    from vision_r1.data.images import ImageFault, upright_size

    try:
        return upright_size(path)
    except ImageFault:
        if must_exist:
            raise
        return 0, 0  # the index names its fault


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

    Each is decoded, in `workers` threads, so that a damaged one shows now, not hours later. Where sizes differ, every
    box would be wrong.
    """
    from vision_r1.data.images import ImageFault, load_small

    found: dict[str, tuple[int, int]] = {}

    def fault(path: str) -> str | None:
        try:
            found[path] = width, height = load_small(path)[1]
        except ImageFault as error:
            return str(error)
        if (width, height) == sizes[path]:
            return None
        annotated = "{} x {}".format(*sizes[path])
        return f"{path}: {width} x {height} pixels, but its annotations are for {annotated}; fix the annotation file"

    with ThreadPoolExecutor(workers) as pool:
        faults = [text for text in pool.map(fault, sizes) if text]
    if exchanged := exchanged_sizes([(size, sizes[path]) for path, size in found.items()]):
        raise UserError(f"{Path(next(iter(found))).parent}: {exchanged}")
    if faults:
        others = f" ({len(faults) - 1} more of {len(sizes)} images can't be used)" if len(faults) > 1 else ""
        raise UserError(faults[0] + others)


def exchanged_sizes(pairs: Iterable[tuple[tuple[int, int], tuple[int, int]]]) -> str | None:
    """Return a fault where all annotations exchange width and height; pairs: (width, height) found, and annotated.

    Square images tell nothing. Labelling tools that ignore the EXIF data write such files: their boxes are for the
    image as it lies in the file.
    """
    telling = [(found, annotated) for found, annotated in pairs if found[0] != found[1]]
    if not telling or any(found != annotated[::-1] for found, annotated in telling):
        return None
    return (
        f"width and height are exchanged in all {len(telling)} images; were they labelled without their EXIF turn? "
        "Turn the images upright and label them again, or fix sizes and boxes in the annotation file"
    )


def check_size(source: str | Path, where: str, width: int, height: int) -> None:
    """Raise UserError for a size that no image has."""
    if min(width, height) < 1:
        raise UserError(f"{source}: {where}: a size of {width} x {height} pixels")
