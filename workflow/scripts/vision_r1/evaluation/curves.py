"""Areas under the precision-recall curves of all categories and IoU thresholds at once.

Recall rises only where an object is found, and only there can precision be the best to the right. So a curve is the
list of its hits. Curves are sorted by length and padded to a few lengths: then some array operations do all curves of
about one length, for many resamples or orders of the boxes (rows) together.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision_r1.evaluation.coco_ap import Matches

RECALLS = np.linspace(0.0, 1.00, 101)  # pycocotools' recall thresholds
CHUNK = 1_000_000  # numbers in one array at once
GROWTH = 1.3  # curves of one batch differ in length by at most this factor


@dataclass(frozen=True)
class Batch:
    """S curves of at most L hits.

    category and threshold (S,): whose curves they are; hits (S, L): places of their hits among the boxes, best box
    first, the last one repeated as padding; real (S, L): which are no padding.
    """

    category: np.ndarray
    threshold: np.ndarray
    hits: np.ndarray
    real: np.ndarray

    @property
    def number(self) -> np.ndarray:
        """The number of the hit that each place stands for (S, L), from 1; padding has that of the last hit."""
        return self.real.cumsum(axis=1)


def batches(matches: Matches) -> list[Batch]:
    """Return all curves that have a hit."""
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
    """Return the sums of the first 0, 1, ... columns of values (..., n) as (..., n + 1)."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), np.int32)
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    return sums


class Reached:
    """How many of RECALLS are reached when some of a number of objects are found, from a table."""

    def __init__(self, objects: np.ndarray) -> None:
        numbers, inverse = np.unique(objects, return_inverse=True)
        self._first = (np.cumsum(numbers + 1) - numbers - 1)[inverse].reshape(objects.shape)
        tables = [np.searchsorted(RECALLS, np.arange(n + 1) / max(n, 1), side="right") for n in numbers.tolist()]
        self._table = np.concatenate(tables).astype(np.int16) if tables else np.zeros(0, np.int16)

    def __call__(self, place: Any, found: np.ndarray) -> np.ndarray:
        """Return the numbers of recalls; place: index of `objects`, found (..., L): for each of its entries."""
        return self._table.take(self._first[place][..., None] + found)


def area(precision: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Return AP (...) of precision at each hit (..., L) and the number of recalls reached with it."""
    best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return (best * np.diff(reached, axis=-1, prepend=np.int16(0))).sum(axis=-1) / len(RECALLS)


def in_threads(function: Callable[[slice], None], rows: int, each: int) -> None:
    """Call a function of array operations for slices of so many rows each; Snakemake limits the threads."""
    slices = [slice(start, start + max(1, each)) for start in range(0, rows, max(1, each))]
    if len(slices) < 2:
        for part in slices:
            function(part)
        return
    with ThreadPoolExecutor(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)) as pool:
        for _ in pool.map(function, slices):
            pass
