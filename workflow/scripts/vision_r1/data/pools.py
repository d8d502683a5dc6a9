"""One source after cleaning: its usable images, their frames and objects, and what can be asked about them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from vision_r1.data.clean import Objects, clean
from vision_r1.data.coco import CocoImage
from vision_r1.data.samples import Sample
from vision_r1.data.sources import Source
from vision_r1.families import Family
from vision_r1.frames import Frame
from vision_r1.parsing import label_key


@dataclass(frozen=True)
class Pool:
    """What one source can be asked about.

    places: its usable images, or its usable given samples, with their `frames`; image: the number of each place's file,
    over all sources, or of each question where the source is a whole set of them; `labels` are the categories, or all
    that the given samples name; `objects` are usable, `lost` were dropped: their place is one in `places`. shown: of
    shown_by_several.
    """

    source: Source
    places: Sequence[CocoImage | Sample]
    frames: list[Frame]
    image: np.ndarray
    labels: list[str]
    objects: Objects
    lost: Objects
    shown: Mapping[int, set[str]] = field(default_factory=dict)

    def path(self, place: int) -> str:
        """Return the image file of a place."""
        item = self.places[place]
        return item.path if isinstance(item, CocoImage) else item.image

    def questions(self, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what a task could ask: place (n,), number of the label (n,), objects in the answer (n,).

        The label is -1 where there is none to ask for alone. Where an image shows several labels, `detection` has a
        question for each of them, of which one is taken: so that each label can be given its share.
        """
        total = np.bincount(self.objects.place, minlength=len(self.places))
        if self.source.coco is None:
            unbroken = ~np.isin(np.arange(len(self.places)), self.lost.place)
            asked = [place for place, sample in enumerate(self.places) if sample.task == task and unbroken[place]]
            return np.array(asked, np.int64), np.full(len(asked), -1), total[asked]
        everywhere = np.arange(len(self.places))
        if task == "negative":
            return everywhere, np.full(len(everywhere), -1), np.zeros(len(everywhere), np.int64)
        pairs, counts = np.unique(_pairs(self.objects, len(self.labels)), return_counts=True)
        place, label = np.divmod(pairs, len(self.labels))
        if task == "detection":
            empty = np.setdiff1d(everywhere[total == 0], self.lost.place)
            place, label = np.append(place, empty), np.append(label, np.full(len(empty), -1))
            return place, label, total[place]
        if task == "grounding":
            # "Every person" has no complete answer where a crowd of them was dropped.
            whole = ~np.isin(pairs, _pairs(self.lost, len(self.labels)))
            return place[whole], label[whole], counts[whole]
        return np.zeros((3, 0), np.int64)

    def absent_labels(self, place: int) -> list[str]:
        """Return the labels of which the image has nothing, not even a dropped box; all were looked for there."""
        seen = {*self.objects.label[self.objects.of(place)], *self.lost.label[self.lost.of(place)]}
        looked_for, elsewhere = self._negatives(place), self.shown.get(int(self.image[place]), ())
        return [
            label
            for number, label in enumerate(self.labels)
            if number not in seen
            and (looked_for is None or label in looked_for)
            and not (elsewhere and label_key(label) in elsewhere)
        ]

    def answerable_labels(self, place: int) -> list[str]:
        """Return the labels that a question for everything may ask for: in a federated set those looked for there."""
        if self._negatives(place) is None:
            return self.labels
        known = {*self.absent_labels(place), *(self.labels[own] for own in self.objects.label[self.objects.of(place)])}
        return [label for label in self.labels if label in known]

    def _negatives(self, place: int) -> set[str] | None:
        """Return the labels that were looked for in an image of a federated set and not found; else None."""
        item = self.places[place]
        if self.source.coco is None or item.negatives is None:
            return None
        return {self.source.coco.categories[number] for number in item.negatives}


def shown_by_several(pools: Sequence[Pool]) -> dict[int, set[str]]:
    """Return the labels, as label_key, that any source shows in an image file of several sources, by its number."""
    numbers, sources = np.unique(np.concatenate([np.unique(pool.image) for pool in pools]), return_counts=True)
    common = numbers[sources > 1]
    shown: dict[int, set[str]] = {number: set() for number in common.tolist()}
    for pool in pools:
        for objects in (pool.objects, pool.lost):
            kept = np.isin(pool.image[objects.place], common)
            for place, label in zip(objects.place[kept], objects.label[kept], strict=True):
                shown[int(pool.image[place])].add(label_key(pool.labels[label]))
    return shown


def _pairs(objects: Objects, labels: int) -> np.ndarray:
    return objects.place * labels + objects.label


def usable_frames(
    source: Source, family: Family, min_pixels: int, max_pixels: int, refused: Mapping[str, str]
) -> tuple[dict[str, Frame], Counter]:
    """Return the frames of the images that can be used, by path, and how many images were read and lost, by reason.

    `refused`: path -> reason. One more reason: extreme_shape, sides that differ so much that the processor refuses.
    """

    @cache
    def input_size(width: int, height: int) -> tuple[int, int] | None:
        try:
            return family.input_size(width, height, min_pixels, max_pixels)
        except ValueError:
            return None

    frames: dict[str, Frame] = {}
    counts: Counter = Counter()
    for image in source.images():
        counts["read"] += 1
        reason = refused.get(image.path)
        size = None if reason else input_size(image.width, image.height)
        if size is None:
            counts[reason or "extreme_shape"] += 1
        else:
            frames[image.path] = Frame(family.frame, image.width, image.height, *size)
    return frames, counts


def make_pool(
    source: Source, frames: Mapping[str, Frame], numbers: dict[Any, int], rounding: str
) -> tuple[Pool, dict[str, int]]:
    """Return a source's pool, and how many of its objects were read, kept and lost, by reason.

    `numbers` holds the number of each image path, over all sources, and is added to; of a whole set of questions, the
    number of each place.
    """
    if source.coco:
        places = [image for image in source.coco.images if image.path in frames]
        labels = list(dict.fromkeys(source.coco.categories.values()))
        boxes = _flat_boxes(item.bbox for image in places for item in image.objects)
        boxes[:, 2:] += boxes[:, :2]
        # Of a category that is not exhaustive there may be more objects, as in a crowd.
        crowd = [item.crowd or item.category_id in image.not_exhaustive for image in places for item in image.objects]
        kept = [frames[image.path] for image in places]
    else:
        places = [sample for sample in source.samples if sample.image in frames]
        labels = list(dict.fromkeys(item.label for sample in places for item in sample.objects))
        boxes = _flat_boxes(item.bbox for sample in places for item in sample.objects)
        crowd = [False] * len(boxes)
        kept = [frames[sample.image] for sample in places]
    number = {label: place for place, label in enumerate(labels)}
    objects = Objects(
        np.repeat(np.arange(len(places)), [len(item.objects) for item in places]),
        np.array([number[item.label] for place in places for item in place.objects], np.int64),
        boxes,
    )
    usable, lost, fates = clean(objects, np.array(crowd, bool), kept, rounding)
    if source.whole:
        keys = [(source.name, place) for place in range(len(places))]
    else:
        keys = [item.path if source.coco else item.image for item in places]
    image = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    return Pool(source, places, kept, image, labels, usable, lost), fates


def _flat_boxes(boxes: Iterable[Sequence[float]]) -> np.ndarray:
    return np.fromiter(chain.from_iterable(boxes), np.float64).reshape(-1, 4)
