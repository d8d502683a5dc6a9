"""Boxes of annotations, cut to their images or dropped, each with a counted reason; all boxes of a source at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from vision_r1.frames import Frame
from vision_r1.prompts import ROUNDINGS


@dataclass(frozen=True)
class Objects:
    """The boxes of n objects: `place` (n,) of their image, ascending, `label` (n,) number, `corners` (n, 4).

    Corners are x1 y1 x2 y2 in pixels of the original image.
    """

    place: np.ndarray
    label: np.ndarray
    corners: np.ndarray

    @cached_property
    def bounds(self) -> list[int]:
        """Where the objects of each image begin, up to the last one that has any, and where they end."""
        return np.searchsorted(self.place, np.arange(self.place.max(initial=-1) + 2)).tolist()

    def of(self, place: int) -> slice:
        """Return where the objects of one image are."""
        return slice(*self.bounds[place : place + 2]) if place + 1 < len(self.bounds) else slice(0)

    def only(self, chosen: np.ndarray) -> "Objects":
        """Return the objects that a mask (n,) or indices choose."""
        return Objects(self.place[chosen], self.label[chosen], self.corners[chosen])


def clean(
    objects: Objects, crowd: np.ndarray, frames: Sequence[Frame], rounding: str = "nearest"
) -> tuple[Objects, Objects, dict[str, int]]:
    """Return the usable objects, the lost ones, and how many there are of each fate.

    `crowd` (n,) marks boxes around groups; `frames` are the images'; `rounding` is that of answers, as in
    vision_r1.prompts. Usable boxes are cut to the image and rounded to a hundredth of a pixel. Fates: kept; clipped
    (usable too); crowd; degenerate (no area); outside (of the image);
    too_small (no area is left once its corners are whole numbers in the model's frame, so no answer could be right);
    duplicate (label and box of an earlier object of the image; not among the lost: the earlier one stays).
    """
    sizes = np.array([(frame.width, frame.height) for frame in frames], np.float64).reshape(-1, 2)[objects.place]
    answer_sizes = np.array([frame.size for frame in frames], np.float64).reshape(-1, 2)[objects.place]
    low, high = objects.corners[:, :2], objects.corners[:, 2:]
    cut = Objects(objects.place, objects.label, np.hstack([low.clip(0), np.minimum(high, sizes)]).round(2))
    answer = ROUNDINGS[rounding](cut.corners / np.tile(sizes, 2) * np.tile(answer_sizes, 2))
    lost_to = {
        "crowd": crowd,
        "degenerate": (low >= high).any(1),
        "outside": ((low >= sizes) | (high <= 0)).any(1),
        "too_small": (answer[:, :2] >= answer[:, 2:]).any(1),
    }
    lost = np.any(list(lost_to.values()), axis=0)
    duplicate = np.zeros_like(lost)
    left = cut.only(~lost)
    duplicate[~lost] = pd.DataFrame(np.column_stack([left.place, left.label, left.corners])).duplicated()
    fates = {**lost_to, "duplicate": duplicate, "clipped": (low < 0).any(1) | (high > sizes).any(1)}
    fate = np.select(list(fates.values()), np.arange(len(fates)), len(fates))
    counts = dict(zip([*fates, "kept"], np.bincount(fate, minlength=len(fates) + 1).tolist(), strict=True))
    tally = {"read": len(fate)} | {name: count for name, count in counts.items() if count}
    return cut.only(~lost & ~duplicate), cut.only(lost), tally


def as_answers(objects: Objects, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return objects as {label, bbox}, the form of the training file."""
    return [
        {"label": labels[label], "bbox": box}
        for label, box in zip(objects.label.tolist(), objects.corners.tolist(), strict=True)
    ]
