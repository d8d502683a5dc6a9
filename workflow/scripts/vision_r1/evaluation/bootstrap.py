"""Average precision over weighted images: bootstrap intervals and slices without matching anew.

A resample draws as many images as there are, with replacement; an image drawn twice weighs 2. Precision and
recall are sums of weights over the matches that pycocotools made once. Weights of one give pycocotools' AP.
Intervals cover the choice of test images, not the randomness of training.
"""

import zlib
from collections.abc import Mapping

import numpy as np

from vision_r1.evaluation.coco_ap import CategoryMatches, Matches

LEVEL = 0.95
SEED = 0
CHUNK = 2_000_000  # detections x resamples at once: some 100 MB
RECALLS = np.linspace(0.0, 1.00, 101)  # pycocotools' recall thresholds
# Each metric is a mean over these of the ten IoU thresholds .50:.95.
AP_METRICS = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}


def resamples(dataset: str, images: int, count: int) -> np.ndarray:
    """Return (count, images) weights; they depend on the data set's name and size only, so any two
    checkpoints are scored on the same resamples."""
    rng = np.random.default_rng([SEED, zlib.crc32(dataset.encode())])
    return rng.multinomial(images, np.full(images, 1 / images), size=count).astype(np.int32)


def weighted_ap(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return {AP, AP50, AP75} of every row of `weights` (n, images), each (n,), 0..1.

    As in pycocotools the mean is over categories with an object of positive weight; NaN where there is none.
    """
    precision = np.stack([category_ap(category, weights) for category in matches.categories], axis=1)
    found = ~np.isnan(precision[..., 0])
    number = found.sum(axis=1)
    values = {}
    for metric, thresholds in AP_METRICS.items():
        total = np.where(found, precision[..., thresholds].mean(axis=2), 0).sum(axis=1)
        values[metric] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return values


def category_ap(category: CategoryMatches, weights: np.ndarray) -> np.ndarray:
    """Return one category's AP (n, IoU thresholds) for weights (n, images); NaN where no object has weight."""
    places, count = np.unique(category.truth_image, return_counts=True)
    objects = weights[:, places] @ count.astype(weights.dtype)
    rows = max(1, CHUNK // max(1, len(category.image)))
    parts = [
        _category_ap(category, weights[start : start + rows], objects[start : start + rows, None])
        for start in range(0, len(weights), rows)
    ]
    return np.where(objects[:, None] > 0, np.concatenate(parts), np.nan)


def _category_ap(category: CategoryMatches, weights: np.ndarray, objects: np.ndarray) -> np.ndarray:
    values = np.zeros((len(weights), len(category.hit)))
    weights = weights[:, category.image]
    common = None if category.ignored.any() else weights.cumsum(axis=1)
    for threshold, hit in enumerate(category.hit):
        # Only where an object is found does recall rise, and the precision to its right can be the best.
        hits = np.flatnonzero(hit)
        if not len(hits):
            continue
        counted = (weights * ~category.ignored[threshold]).cumsum(axis=1) if common is None else common
        found = weights[:, hits].cumsum(axis=1)
        precision = found / np.maximum(counted[:, hits], 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALLS, found / np.maximum(objects, 1), side="right")
        values[:, threshold] = (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return values


def interval(values: np.ndarray) -> list[float] | None:
    """Return the percentile interval [low, high] of resampled values (n,), NaN left out; None if nothing is left."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    tail = 100 * (1 - LEVEL) / 2
    return np.percentile(known, [tail, 100 - tail]).tolist()


def bias(values: np.ndarray, value: float | None) -> float | None:
    """Return how far the resamples' mean lies above the value of all images, None where there is no value.

    AP takes the best precision to the right of each recall, so the noise of resampling lifts it a little where
    the curve is flat. In a mean over data sets the noise shrinks and this does not.
    """
    known = values[~np.isnan(values)]
    return None if value is None or not len(known) else float(known.mean() - value)


def interval_around(value: float | None, values: np.ndarray) -> list[float] | None:
    """Return the interval of AP around the value of all images: the percentiles less the bias, within 0..1."""
    percentiles, lifted = interval(values), bias(values, value)
    if percentiles is None or lifted is None:
        return None
    return [min(1.0, max(0.0, each - lifted)) for each in percentiles]


def mean_over(samples: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mean over data sets of each resample (n,): every data set is resampled within itself."""
    return np.mean(list(samples.values()), axis=0)
