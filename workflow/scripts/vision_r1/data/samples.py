"""Questions that are given with their answers, and their file: one JSON object per line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from vision_r1.data.coco import check_size
from vision_r1.files import UserError

QUESTIONS = ("detection", "grounding", "rec")


class Object(msgspec.Struct, frozen=True, gc=False):
    """A label and its box x1 y1 x2 y2, in pixels of the original image."""

    label: str
    bbox: tuple[float, float, float, float]


class Sample(msgspec.Struct, frozen=True, gc=False):
    """A question about one image, with the objects that answer it; sizes in pixels of the original image.

    asked: how the question is put, one of QUESTIONS; `categories` are the names or the one phrase that it asks for.
    coco_id: the image's number in COCO, where its own `image_id` is another one.
    """

    image_id: int
    image: str
    width: int
    height: int
    asked: str
    categories: tuple[str, ...]
    objects: tuple[Object, ...]
    coco_id: int | None = None

    @property
    def task(self) -> str:
        """The task that it serves: `negative` where nothing answers it."""
        return self.asked if self.objects else "negative"


class GivenSample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a samples file; `image` is relative to its image folder. The question's words are the model's own."""

    image: str
    width: int
    height: int
    asked: str
    categories: tuple[str, ...]
    objects: tuple[Object, ...]


def read_samples(file: str | Path, images: str | Path) -> Iterable[Sample]:
    """Yield the questions of a samples file (JSONL).

    Raises UserError naming a line of another form.
    """
    decoder = msgspec.json.Decoder(GivenSample)
    for number, line in enumerate(Path(file).read_bytes().splitlines(), start=1):
        where = f"line {number}"
        try:
            item = decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise _odd(file, where, error) from None
        if item.asked not in QUESTIONS or not item.categories:
            raise _odd(file, where, f"asked {item.asked!r} for {list(item.categories)}")
        check_size(file, where, item.width, item.height)
        path = str(Path(images) / item.image)
        yield Sample(number, path, item.width, item.height, item.asked, item.categories, item.objects)


def _odd(file: str | Path, where: str, fault: Any) -> UserError:
    return UserError(f"{file}: {where}: {fault}; fetch the data set again")
