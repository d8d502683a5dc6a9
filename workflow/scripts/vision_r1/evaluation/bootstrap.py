"""Average precision over weighted images: intervals and slices without matching again.

A resample is a random half of the images, drawn without replacement (Politis, Romano and Wolf, Subsampling, 1999: the
bootstrap of m out of n). Precision and recall are sums of weights over the matches that pycocotools made once. Weights
of one give pycocotools' AP.

Why halves. AP of few images is too high: at each recall it takes the best precision to the right, and the best of noisy
numbers is too good. This bias falls with the square root of the number of images, so halves show how large it is, and
they vary as much about their mean as all images do about the AP of ever more images. Neither holds for the usual
bootstrap, whose resamples hold the same images twice. benchmarks/results/coverage.txt has the coverage of both.
Intervals cover the choice of test images, not the randomness of training.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from vision_r1.evaluation.coco_ap import Matches
from vision_r1.evaluation.curves import CHUNK, Batch, Reached, area, batches, first_boxes, in_threads, running

LEVEL = 0.95
SEED = 0
# Metric -> those of the ten IoU thresholds .50:.95 that it is the mean over.
AP_METRICS = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}


def resamples(dataset: str, images: int, count: int) -> np.ndarray:
    """Return (count, images) weights 0 and 1; each row chooses half of the images, rounded down and up in turn.

    They depend on the data set's name and size only, so any two checkpoints are scored on the same resamples.
    """
    rng = np.random.default_rng([SEED, zlib.crc32(dataset.encode())])
    weights = np.zeros((count, images), np.uint8)
    weights[0::2, : images // 2] = 1
    weights[1::2, : images - images // 2] = 1
    return rng.permuted(weights, axis=1)


def weighted_ap(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return {AP, AP50, AP75} of every row of `weights` (n, images), each (n,), 0..1.

    As in pycocotools the mean is over categories with an object of positive weight; NaN where there is none.
    """
    return {metric: _mean(own) for metric, own in _by_category(matches, weights).items()}


def resampled_ap(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return weighted_ap of the resamples `weights`, shifted and widened so that intervals can be read off them.

    A rare category is absent from some resamples, which gives common ones more weight than in the AP of all images. So
    the resamples are shifted: their mean becomes the mean over categories of each category's mean where it is present.
    They are widened as Student's t is against the normal distribution, and by the ordinary bootstrap's correction for
    few images (Hesterberg's expanded percentiles, 2015). Halves don't need the latter: it is a margin, of 1 % at 50
    images. With a single image all are NaN.
    """
    images = weights.shape[1]
    if images < 2:
        return {metric: np.full(len(weights), np.nan) for metric in AP_METRICS}
    tail = (1 + LEVEL) / 2
    spread = (images / (images - 1)) ** 0.5 * stdtrit(images - 1, tail) / ndtri(tail)
    resampled = {}
    for metric, own in _by_category(matches, weights).items():
        values = _mean(own)
        resampled[metric] = _mean(_mean(own.T)[None]) + spread * (values - _mean(values[None]))
    return resampled


def _by_category(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return {AP, AP50, AP75} of every row of `weights` and category that has objects, each (n, categories)."""
    precision, asked = category_ap(matches, weights), matches.objects_by_category > 0
    return {metric: precision[thresholds].mean(axis=0)[:, asked] for metric, thresholds in AP_METRICS.items()}


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row, NaN left out; NaN where nothing is left."""
    known = ~np.isnan(values)
    number = known.sum(axis=1)
    return np.where(number > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(number, 1), np.nan)


def category_ap(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """Return AP (IoU thresholds, n, categories) for weights (n, images); NaN where no object has weight."""
    count, categories = len(weights), len(matches.category_ids)
    curves, starts = batches(matches), first_boxes(matches)
    ignored_image, ignored_before = _ignored(matches, curves, starts)
    truth = np.searchsorted(matches.truth_category, np.arange(categories + 1))
    objects = np.empty((count, categories), np.int64)
    each = CHUNK // max(len(matches.image), len(matches.truth), sum(batch.hits.size for batch in curves), 1)

    def count_objects(rows: slice) -> None:
        objects[rows] = np.diff(running(weights[rows].take(matches.truth_image, axis=1)).take(truth, axis=1), axis=1)

    in_threads(count_objects, count, each)
    reached = Reached(objects)
    values = np.zeros((len(matches.hit), count, categories))

    def score(rows: slice) -> None:
        own = weights[rows]
        counted = running(own.take(matches.image, axis=1))
        ignored = running(own.take(ignored_image, axis=1))
        for batch, before in zip(curves, ignored_before, strict=True):
            found = (own.take(matches.image[batch.hits], axis=1) * batch.real).cumsum(axis=2, dtype=np.int32)
            boxes = counted.take(batch.hits + 1, axis=1) - counted.take(starts[batch.category], axis=1)[..., None]
            if before is not None:
                boxes -= ignored.take(before[:, 1:], axis=1) - ignored.take(before[:, :1], axis=1)
            precision = found / np.maximum(boxes, 1)
            recalls = reached((rows, batch.category), found)
            values[batch.threshold, rows, batch.category] = area(precision, recalls).T

    in_threads(score, count, each)
    values[:, objects == 0] = np.nan
    return values


def _ignored(
    matches: Matches, curves: Sequence[Batch], starts: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Return the images (k,) of all ignored boxes, threshold by threshold, and for each batch how many of them stand
    before its curves' categories and up to each hit (S, 1 + L); None where ignored boxes make no difference."""
    thresholds, places = np.nonzero(matches.ignored)
    boxes = len(matches.image) + 1
    ranks = thresholds * boxes + places
    before: list[np.ndarray | None] = []
    for batch in curves:
        upto = np.concatenate([starts[batch.category, None], batch.hits], axis=1)
        numbers = np.searchsorted(ranks, batch.threshold[:, None] * boxes + upto)
        before.append(numbers if (numbers[:, -1] > numbers[:, 0]).any() else None)
    return matches.image[places], before


def bias(values: np.ndarray, value: float | None) -> float | None:
    """Return how far the value of all images lies above that of ever more images, estimated from resamples (n,).

    A half's error is the square root of 2 times that of all images, so their difference is 0.41 of it. None where
    there is no value, or none in any resample.
    """
    known = values[~np.isnan(values)]
    return None if value is None or not len(known) else float((known.mean() - value) / (2**0.5 - 1))


def recentred(value: float | None, values: np.ndarray) -> np.ndarray:
    """Return the resampled values, NaN left out, moved so that their mean is the value of all images less its bias."""
    excess = bias(values, value)
    if excess is None:
        return np.zeros(0)
    known = values[~np.isnan(values)]
    return known - known.mean() + value - excess


def interval(value: float | None, values: np.ndarray, lowest: float = 0.0) -> list[float] | None:
    """Return the interval [low, high] of AP, or, with `lowest` -1, of a difference; None where nothing is known.

    value: of all images; values: (n,), of the resamples. It is an interval of AP over ever more images like these, so
    it may lie below the value where these are few.
    """
    around = recentred(value, values)
    if not len(around):
        return None
    tail = 100 * (1 - LEVEL) / 2
    return np.percentile(around, [tail, 100 - tail]).clip(lowest, 1).tolist()


def mean_over(samples: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mean over data sets of each resample (n,): every data set is resampled within itself."""
    return np.mean(list(samples.values()), axis=0)
