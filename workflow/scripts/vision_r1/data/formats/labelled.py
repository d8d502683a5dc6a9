"""Labelled images as read from any format, and the COCO file made from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vision_r1.data.categories import check_name
from vision_r1.data.oddities import HINTS, in_words, oddities, too_many
from vision_r1.files import UserError, is_one_line
from vision_r1.frames import MAX_SIDE
from vision_r1.parsing import MAX_COORDINATE
from vision_r1.text import visible

OWN_HINTS = {**HINTS, "corners": "are width and height those of the image, and xmax and ymax corners?"}
Corners = tuple[float, float, float, float]  # x1 y1 x2 y2 in pixels of the upright image


@dataclass(frozen=True)
class LabelledImage:
    """One image: its file in the image folder, its size in pixels (0 x 0 where it is unknown), and its boxes."""

    file: str
    width: int
    height: int
    boxes: tuple[tuple[str, Corners], ...]


@dataclass(frozen=True)
class Labelled:
    """What a reader found: all category names in order, the images, and how often something was left out or assumed."""

    names: Sequence[str]
    images: Sequence[LabelledImage]
    notes: Counter = field(default_factory=Counter)


def read_number(text: str | None) -> float | None:
    """Return the number that a text is, or None: also for `1_0`, which Python alone reads as ten, and beyond what
    corners of a box can be.
    """
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) <= MAX_COORDINATE / 2 and "_" not in text else None


def read_size(width: str | None, height: str | None) -> tuple[int, int]:
    """Return an image's size in pixels; 0 x 0 where the texts don't give a possible one."""
    sides = tuple(int(read_number(side) or 0) for side in (width, height))
    return sides if all(1 <= side <= MAX_SIDE for side in sides) else (0, 0)


def warnings(content: Mapping[str, Any]) -> list[str]:
    """Return sentences about what was left out, assumed or can't be right, from what as_coco returned."""
    info = content["info"]
    return [
        *(f"{what}: {count}" for what, count in info["notes"].items()),
        *in_words(info["odd"], info["boxes"], OWN_HINTS),
    ]


def as_coco(source: Any, labelled: Labelled) -> dict[str, Any]:
    """Return a COCO file's content; ids count from 1. Its `info` is a summary with the boxes of each category.

    Raises UserError naming `source` where there are no images or no boxes, a name can't be asked for, or most boxes
    can't be right.
    """
    images = list(enumerate(labelled.images, start=1))
    boxes = [(number, *box) for number, image in images for box in image.boxes]
    if not boxes:
        raise UserError(f"{source}: {len(labelled.images):,} images and no box in them; is it the right place?")
    for number, name in enumerate(labelled.names):
        check_name(source, number, name)
    for _, image in images:
        if not is_one_line(image.file):
            raise UserError(f"{source}: the image {image.file!r} has no UTF-8 name of one line; rename the file")
    odd = oddities(
        np.array([corners for *_, corners in boxes], np.float64),
        np.array([(image.width, image.height) for _, image in images for _ in image.boxes], np.float64),
    )
    sentences = in_words(odd, len(boxes), OWN_HINTS)
    if too_many(odd, len(boxes)):
        raise UserError(f"{source}: {'; '.join(sentences)}. Fix the file")
    categories = {name: number for number, name in enumerate(labelled.names, start=1)}
    used = Counter(label for _, label, _ in boxes)
    return {
        "info": {
            "description": f"converted from {source}",
            "images": len(labelled.images),
            "images_without_boxes": sum(not image.boxes for image in labelled.images),
            "boxes": len(boxes),
            "boxes_of_category": {name: used[name] for name in labelled.names},
            "odd": odd,
            "notes": {visible(note): count for note, count in labelled.notes.items()},
        },
        "images": [_image(number, image) for number, image in images],
        "annotations": [
            {"id": number, "image_id": image, "category_id": categories[label], **_box(corners)}
            for number, (image, label, corners) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def _image(number: int, image: LabelledImage) -> dict[str, Any]:
    size = {"width": image.width, "height": image.height} if image.width and image.height else {}
    return {"id": number, "file_name": image.file, **size}


def _box(corners: Corners) -> dict[str, Any]:
    # Rounded, so that decimals stay as short as they were written: 0.1 + 0.2 is 0.3.
    x1, y1, width, height = (
        round(value, 6) for value in (*corners[:2], corners[2] - corners[0], corners[3] - corners[1])
    )
    return {"bbox": [x1, y1, width, height], "area": round(width * height, 6), "iscrowd": 0}
