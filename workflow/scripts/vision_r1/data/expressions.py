"""Referring expressions in three published formats, read into samples: a phrase, and the objects it refers to.

RefCOCO, RefCOCO+ and RefCOCOg as MDETR published them; region phrases of Visual Genome; gRefCOCO, whose expressions
refer to several objects, or to none. Everything else in the files is skipped unread.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from vision_r1.data.coco import check_size
from vision_r1.data.file_names import image_path
from vision_r1.data.reading import decode
from vision_r1.data.samples import Object, Sample
from vision_r1.files import UserError

# Each task asks about an image once. So this many of the 50 phrases of a Visual Genome image are enough; they are
# spread evenly over its list. All 5.4 million phrases would fill the memory.
REGIONS_AN_IMAGE = 5
Box = tuple[float, float, float, float]  # x y width height


class _Expression(msgspec.Struct, gc=False):
    id: int
    width: int
    height: int
    file_name: str
    caption: str


class _Box(msgspec.Struct, gc=False):
    image_id: int
    bbox: Box


class _Expressions(msgspec.Struct):
    images: list[_Expression]
    annotations: list[_Box]


def read_expressions(file: str | Path, images: str | Path, id_space: str | None) -> Iterable[Sample]:
    """Yield a `rec` sample for each expression of an MDETR file that has exactly one box."""
    content = decode(file, _Expressions, "MDETR's format of referring expressions")
    boxes: dict[int, list[Box]] = {}
    for item in content.annotations:
        boxes.setdefault(item.image_id, []).append(item.bbox)
    for entry in content.images:
        where = f"image {entry.id}"
        check_size(file, where, entry.width, entry.height)
        phrase, found = " ".join(entry.caption.split()), boxes.get(entry.id, [])
        if not phrase:
            raise UserError(f"{file}: {where}: an empty caption")
        if len(found) == 1:
            number, path = _place(file, entry, images, id_space)
            objects = _objects(phrase, found)
            yield Sample(number, path, entry.width, entry.height, "rec", (phrase,), objects)


class _Region(msgspec.Struct, gc=False):
    phrase: str
    x: float
    y: float
    width: float
    height: float


class _Regions(msgspec.Struct, gc=False):
    id: int
    regions: list[_Region]


class _RegionImage(msgspec.Struct, gc=False):
    image_id: int
    width: int
    height: int
    url: str
    coco_id: int | None = None


def read_regions(file: str | Path, image_data: str | Path, images: str | Path) -> Iterable[Sample]:
    """Yield `rec` samples of Visual Genome's region phrases, at most REGIONS_AN_IMAGE per image.

    The images lie in two folders, VG_100K and VG_100K_2, as their `url` in `image_data` says: those of the folder
    `images` are read. A phrase that an image has twice refers to no single object, and is left out.
    """
    folder = Path(images).name
    facts = {}
    for image in decode(image_data, list[_RegionImage], "Visual Genome's image_data"):
        check_size(image_data, f"image {image.image_id}", image.width, image.height)
        facts[image.image_id] = image
    for entry in decode(file, list[_Regions], "Visual Genome's region_descriptions"):
        image = facts.get(entry.id)
        if image is None:
            raise UserError(f"{file}: image {entry.id} is not in {image_data}; take both files of one version")
        parent, name = image.url.split("/")[-2:] if "/" in image.url else ("", "")
        if parent != folder or not name:
            continue
        phrases = [" ".join(region.phrase.split()) for region in entry.regions]
        uses = Counter(phrase.casefold() for phrase in phrases)
        once = [place for place, phrase in enumerate(phrases) if phrase and uses[phrase.casefold()] == 1]
        for place in _spread(once, REGIONS_AN_IMAGE):
            region, phrase = entry.regions[place], phrases[place]
            objects = _objects(phrase, [(region.x, region.y, region.width, region.height)])
            path = str(Path(images) / name)
            size = image.width, image.height
            yield Sample(entry.id, path, *size, "rec", (phrase,), objects, image.coco_id)


class _Sentence(msgspec.Struct, gc=False):
    sent: str


class _Reference(msgspec.Struct, gc=False):
    ref_id: int
    image_id: int
    split: str
    sentences: list[_Sentence]
    ann_id: int | list[int]


class _Image(msgspec.Struct, gc=False):
    id: int
    width: int
    height: int
    file_name: str


class _Instance(msgspec.Struct, gc=False):
    id: int
    image_id: int
    bbox: Box


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Instance]


def read_references(
    file: str | Path, instances: str | Path, images: str | Path, id_space: str | None, split: str
) -> Iterable[Sample]:
    """Yield a sample for each expression of a gRefCOCO split that refers to several objects, or to none.

    Those with one object are left out: they are RefCOCO's. `ann_id` is a number or a list, -1 for nothing; boxes are in
    `instances`.
    """
    content = decode(instances, _Instances, "gRefCOCO's instances")
    images_by_id = {image.id: image for image in content.images}
    boxes = {item.id: item for item in content.annotations}
    for entry in decode(file, list[_Reference], "gRefCOCO's grefs"):
        where = f"ref {entry.ref_id}"
        targets = [entry.ann_id] if isinstance(entry.ann_id, int) else entry.ann_id
        targets = [target for target in dict.fromkeys(targets) if target != -1]
        if entry.split != split or len(targets) == 1:
            continue
        image = images_by_id.get(entry.image_id)
        if image is None:
            raise UserError(f"{file}: {where}: image_id {entry.image_id} is not in {instances}")
        check_size(instances, f"image {image.id}", image.width, image.height)
        for target in targets:
            if target not in boxes or boxes[target].image_id != image.id:
                raise UserError(f"{file}: {where}: ann_id {target} is not a box of image {image.id} in {instances}")
        number, path = _place(instances, image, images, id_space)
        for phrase in dict.fromkeys(" ".join(sentence.sent.split()) for sentence in entry.sentences):
            if not phrase:
                raise UserError(f"{file}: {where}: an empty sentence")
            objects = _objects(phrase, [boxes[target].bbox for target in targets])
            yield Sample(number, path, image.width, image.height, "rec", (phrase,), objects)


def _place(
    source: str | Path, image: _Expression | _Image, folder: str | Path, id_space: str | None
) -> tuple[int, str]:
    """Return an image's id and path.

    In the id space `coco`, the digits at the end of file_name are the image's number, and its file is
    `folder`/<12 digits>.jpg, whatever it was called in 2014.
    """
    if id_space != "coco":
        return image.id, image_path(source, image, folder)
    digits = re.search(r"(\d+)\.\w+$", image.file_name)
    if not digits:
        raise UserError(f"{source}: image {image.id}: file_name {image.file_name!r} has no COCO number")
    number = int(digits[1])
    return number, str(Path(folder) / f"{number:012d}.jpg")


def _objects(phrase: str, boxes: Iterable[Box]) -> tuple[Object, ...]:
    return tuple(Object(phrase, (x, y, x + width, y + height)) for x, y, width, height in boxes)


def _spread(items: list[int], count: int) -> list[int]:
    """Return at most `count` items, evenly spread over the list."""
    return items if len(items) <= count else [items[place * len(items) // count] for place in range(count)]
