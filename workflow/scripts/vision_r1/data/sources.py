"""Training sources of three kinds, read into one form.

coco          COCO format, images with boxes; what is asked is drawn (see vision_r1.data.curation)
expressions   RefCOCO, RefCOCO+ and RefCOCOg as MDETR published them: JSON, one phrase and its box an entry
samples       questions that are given: the authors' released set, unpacked by fetch_released_data.py
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from vision_r1.data.coco import CocoDataset, check_size, decode, image_path, read_coco
from vision_r1.files import UserError
from vision_r1.prompts import DEFAULT

KINDS = ("coco", "expressions", "samples")
DETECTION_START = DEFAULT.detection.partition("{categories}")[0]


class Object(msgspec.Struct, frozen=True, gc=False):
    """A label and its box x1 y1 x2 y2, in pixels of the original image."""

    label: str
    bbox: tuple[float, float, float, float]


class Sample(msgspec.Struct, frozen=True):
    """A question with the objects that answer it, and its prompt where that is given; sizes in original pixels."""

    image_id: int
    image: str
    width: int
    height: int
    task: str
    prompt: str | None
    categories: tuple[str, ...]
    objects: tuple[Object, ...]


class SourceImage(NamedTuple):
    """One image of a source: its id in it, its file, and the size that the annotations are for, in pixels."""

    id: int
    path: str
    width: int
    height: int


@dataclass(frozen=True)
class Source:
    """A training source or benchmark, read from `file`: `coco` has its annotations, or `samples` its questions.

    id_space: name of the numbering that its image ids are of; None where they mean nothing outside of it.
    """

    name: str
    file: str
    id_space: str | None
    coco: CocoDataset | None = None
    samples: tuple[Sample, ...] = ()

    def images(self) -> list[SourceImage]:
        """Return each image once."""
        if self.coco:
            return [SourceImage(image.id, image.path, image.width, image.height) for image in self.coco.images]
        images = (SourceImage(item.image_id, item.image, item.width, item.height) for item in self.samples)
        return list({image.path: image for image in images}.values())

    def numbers(self) -> dict[str, int]:
        """Return how many images, boxes and categories, or questions, it has."""
        if self.coco:
            boxes = sum(len(image.objects) for image in self.coco.images)
            return {"images": len(self.coco.images), "boxes": boxes, "categories": len(self.coco.categories)}
        boxes = sum(len(sample.objects) for sample in self.samples)
        return {"images": len(self.images()), "boxes": boxes, "questions": len(self.samples)}


def read_sources(entries: Iterable[Sequence[str]], id_spaces: Iterable[Sequence[str]] = ()) -> list[Source]:
    """Read sources from (kind, name, file, image folder); `id_spaces` are (name, id space). Images need not exist.

    Raises UserError naming the file and the item; for an unknown kind, and for a name that is given twice.
    """
    spaces, sources = dict(id_spaces), {}
    for kind, name, file, images in entries:
        if kind not in KINDS:
            raise UserError(f"source {name}: kind {kind!r} is none of {', '.join(KINDS)}")
        if name in sources:
            raise UserError(f"source {name}: the name is given twice")
        id_space = spaces.get(name)
        if kind == "coco":
            sources[name] = Source(name, file, id_space, coco=read_coco(name, file, images, must_exist=False))
        else:
            read = read_expressions if kind == "expressions" else read_samples
            sources[name] = Source(name, file, id_space, samples=tuple(read(file, images, id_space)))
    return list(sources.values())


class _Expression(msgspec.Struct, gc=False):
    id: int
    width: int
    height: int
    file_name: str
    caption: str


class _Box(msgspec.Struct, gc=False):
    image_id: int
    bbox: tuple[float, float, float, float]


class _Expressions(msgspec.Struct):
    images: list[_Expression]
    annotations: list[_Box]


def read_expressions(file: str | Path, images: str | Path, id_space: str | None) -> Iterable[Sample]:
    """Yield a `rec` sample for each expression that has exactly one box.

    In the id space `coco` an image is the one of that number, whatever its name was in 2014: the digits that
    file_name ends with, and `images`/<12 digits>.jpg.
    """
    content = decode(file, _Expressions, "MDETR's format of referring expressions")
    boxes: dict[int, list[tuple[float, ...]]] = {}
    for item in content.annotations:
        boxes.setdefault(item.image_id, []).append(item.bbox)
    for entry in content.images:
        where = f"image {entry.id}"
        check_size(file, where, entry.width, entry.height)
        phrase, found = " ".join(entry.caption.split()), boxes.get(entry.id, [])
        if not phrase:
            raise UserError(f"{file}: {where}: an empty caption")
        if len(found) != 1:
            continue
        number, path = entry.id, image_path(file, entry, images, must_exist=False)
        if id_space == "coco":
            digits = re.search(r"(\d+)\.\w+$", entry.file_name)
            if not digits:
                raise UserError(f"{file}: {where}: file_name {entry.file_name!r} has no COCO number")
            number, path = int(digits[1]), str(Path(images) / f"{int(digits[1]):012d}.jpg")
        x, y, width, height = found[0]
        item = Object(phrase, (x, y, x + width, y + height))
        yield Sample(number, path, entry.width, entry.height, "rec", None, (phrase,), (item,))


class GivenSample(msgspec.Struct, frozen=True):
    """One line of a samples file; `image` is relative to its image folder."""

    image: str
    width: int
    height: int
    prompt: str
    objects: tuple[Object, ...]


def read_samples(file: str | Path, images: str | Path, id_space: str | None) -> list[Sample]:
    """Return the questions of a samples file (JSONL).

    Their task is read from the prompt: a category list makes it `detection`; else it is `grounding` where the
    phrase is a category of such a list or has several objects, and `rec` otherwise.
    """
    decoder = msgspec.json.Decoder(GivenSample)
    given = []
    for number, line in enumerate(Path(file).read_bytes().splitlines(), start=1):
        try:
            given.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise UserError(f"{file}: line {number}: {error}; fetch the data set again") from None
        check_size(file, f"line {number}", given[-1].width, given[-1].height)
    listed = {name for item in given for name in detection_categories(item.prompt)}
    return [_sample(number, item, str(images), listed) for number, item in enumerate(given, start=1)]


def detection_categories(prompt: str) -> list[str]:
    """Return the categories that a detection prompt lists; none for another prompt."""
    if not prompt.startswith(DETECTION_START):
        return []
    return prompt.removeprefix(DETECTION_START).removesuffix(".").split(", ")


def _sample(number: int, item: GivenSample, images: str, listed: set[str]) -> Sample:
    if item.prompt.startswith(DETECTION_START):
        task, categories = "detection", tuple(detection_categories(item.prompt))
    else:
        categories = tuple(dict.fromkeys(each.label for each in item.objects))
        several = len(item.objects) != 1 or item.objects[0].label in listed
        task = "grounding" if several else "rec"
    path = str(Path(images) / item.image)
    return Sample(number, path, item.width, item.height, task, item.prompt, categories, item.objects)
