"""Areas under the precision-recall curves of all categories and IoU thresholds at once.

Recall rises only where an object is found, and precision can only be highest there, too. So a curve is the list of its
hits. Curves are sorted by length and padded to a few lengths, so that a few array operations compute all curves of
similar length at once, for many resamples or orders of the boxes (rows).
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision_r1.evaluation.coco_ap import Matches

RECALLS = np.linspace(0.0, 1.00, 101)  # pycocotools' recall thresholds
DRAWN = {"0.50": 0, "0.75": 5}  # indices of the IoU thresholds whose curves are plotted
CHUNK = 1_000_000  # at most this many numbers in one array
GROWTH = 1.3  # curves of one batch differ in length by at most this factor


@dataclass(frozen=True)
class Batch:
    """S curves of at most L hits.

    category and threshold (S,): what each curve belongs to; hits (S, L): indices of the hits among the boxes, best box
    first, with the last one repeated as padding; real (S, L): which entries are not padding.
    """

    category: np.ndarray
    threshold: np.ndarray
    hits: np.ndarray
    real: np.ndarray

    @property
    def number(self) -> np.ndarray:
        """The number (S, L), from 1, of each hit; padding repeats the last hit's number."""
        return self.real.cumsum(axis=1)


def batches(matches: Matches) -> list[Batch]:
    """Return all curves that have at least one hit, in batches of similar length."""
    thresholds = len(matches.hit)
    threshold, hits = np.nonzero(matches.hit)
    curve = matches.category[hits] * thresholds + threshold
    order = np.argsort(curve, kind="stable")
    curves, first, length = np.unique(curve[order], return_index=True, return_counts=True)
    size = np.ceil(np.log(length) / np.log(GROWTH))
    found = []
    for each in np.unique(size):
        own = np.flatnonzero(size == each)
        place = np.arange(length[own].max())
        last = length[own, None] - 1
        found.append(
            Batch(
                curves[own] // thresholds,
                curves[own] % thresholds,
                hits[order[first[own, None] + np.minimum(place, last)]],
                place <= last,
            )
        )
    return found


def first_boxes(matches: Matches) -> np.ndarray:
    """Return where each category's boxes begin (categories + 1,); the last entry is the number of boxes."""
    return np.searchsorted(matches.category, np.arange(len(matches.category_ids) + 1))


def running(values: np.ndarray) -> np.ndarray:
    """Return running sums of values (..., n) along the last axis, beginning with 0: (..., n + 1)."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), np.int32)
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    return sums


class Reached:
    """A table of how many of RECALLS are reached when a given number of all objects has been found."""

    def __init__(self, objects: np.ndarray) -> None:
        occurs = np.zeros(objects.max(initial=0) + 1, bool)  # np.unique would sort all of them
        occurs[objects] = True
        numbers = np.flatnonzero(occurs)
        first = np.zeros(len(occurs), np.int64)
        first[numbers] = np.cumsum(numbers + 1) - numbers - 1
        self._first = first[objects]
        tables = [np.searchsorted(RECALLS, np.arange(n + 1) / max(n, 1), side="right") for n in numbers.tolist()]
        self._table = np.concatenate(tables).astype(np.int16) if tables else np.zeros(0, np.int16)

    def __call__(self, place: Any, found: np.ndarray) -> np.ndarray:
        """Return the number of recalls reached (..., L); place: index into `objects`; found (..., L): objects found."""
        return self._table.take(self._first[place][..., None] + found)


def area(precision: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Return AP (...) from the precision at each hit (..., L) and the number of recalls that it reaches."""
    return np.multiply(*steps(precision, reached)).sum(axis=-1) / len(RECALLS)


def steps(precision: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best precision from each hit onwards (..., L), and at how many recalls it holds (..., L)."""
    best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return best, np.diff(reached, axis=-1, prepend=np.int16(0))


def mean_curves(matches: Matches) -> dict[str, list[float]]:
    """Return {IoU threshold of DRAWN: mean precision at each of RECALLS}, over the categories that have objects.

    Empty if no category has any.
    """
    objects = matches.objects_by_category
    if not objects.any():
        return {}
    starts, boxes = first_boxes(matches), running(~matches.ignored)
    reached, total = Reached(objects), np.zeros((len(matches.hit), len(RECALLS)))
    for batch in batches(matches):
        counted = boxes[batch.threshold[:, None], batch.hits + 1] - boxes[batch.threshold, starts[batch.category], None]
        best, recalls = steps(batch.number / counted, reached(batch.category, batch.number))
        # Each curve's values, recall after recall; where they end, precision is 0.
        lengths = recalls.sum(axis=1)
        place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        np.add.at(total, (np.repeat(batch.threshold, lengths), place), np.repeat(best, recalls.ravel()))
    mean = (total / np.count_nonzero(objects)).round(4)
    return {name: mean[place].tolist() for name, place in DRAWN.items()}


def in_threads(function: Callable[[slice], None], rows: int, each: int) -> None:
    """Run a function of array operations in threads, on slices of `each` rows; Snakemake limits the threads."""
    slices = [slice(start, start + max(1, each)) for start in range(0, rows, max(1, each))]
    if len(slices) < 2:
        for part in slices:
            function(part)
        return
    # Of a list such as 4,2, the first is for what is not nested.
    threads = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0] or os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(function, slices):
            pass
