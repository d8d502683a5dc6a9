"""AP over random orders of boxes with equal scores.

pycocotools ranks boxes by score, and boxes of one score by their image's id, which says nothing about them. Where all
boxes have one score, that order alone moves AP by a point on some hundred images. So the images are shuffled ORDERS
times: `expected` is the mean AP over these orders, `low` and `high` are the lowest and the highest.

Boxes of one image keep the order of the answer: pycocotools matches them in it, and it is the model's own choice. So
what an image's boxes find does not depend on the other images, and is found once (vision_r1.evaluation.coco_ap.match).
The n-th object that is found has recall n / objects in every order; an order decides only how many boxes stand before
it, its rank. Precision n / rank, the best of it at any higher recall and the sum over recalls are then array operations
over all orders at once. They give pycocotools' AP of each order exactly; only the orders are a sample. There is no
closed form that we know of: the best precision at any higher recall is the maximum of a random walk.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from vision_r1.evaluation.bootstrap import AP_METRICS, CHUNK, RECALLS
from vision_r1.evaluation.coco_ap import CategoryMatches, Matches

ORDERS = 1000
SEED = 1


def orders(dataset: str, images: int, count: int = ORDERS) -> np.ndarray:
    """Return (count, images) places of the images in random orders; they depend on the data set's name and size."""
    rng = np.random.default_rng([SEED, zlib.crc32(dataset.encode())])
    return rng.permuted(np.tile(np.arange(images, dtype=np.int32), (count, 1)), axis=1)


def ap_by_order(matches: Matches, places: np.ndarray) -> dict[str, np.ndarray]:
    """Return {AP, AP50, AP75}, each (n,), 0..1, of n orders; places (n, images): each image's place in each order.

    As in pycocotools the mean is over categories that have objects; NaN where there is none.
    """
    each = [_category_ap(category, places) for category in matches.categories if len(category.truth)]
    mean = np.mean(each, axis=0) if each else np.full((len(places), 10), np.nan)
    return {metric: mean[:, thresholds].mean(axis=1) for metric, thresholds in AP_METRICS.items()}


def spread(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return {orders: n, metric: {expected, low, high}} of each metric's values (n,), None where they are NaN."""
    numbers = {
        metric: None
        if np.isnan(own).any()
        else {"expected": float(own.mean()), "low": float(own.min()), "high": float(own.max())}
        for metric, own in values.items()
    }
    return {"orders": len(next(iter(values.values()))), **numbers}


def _category_ap(category: CategoryMatches, places: np.ndarray) -> np.ndarray:
    """Return one category's AP (n, IoU thresholds) in each order."""
    values = np.zeros((len(places), len(category.hit)))
    if not len(category.scores):
        return values
    # Boxes of one image with one score stand side by side in every order: they are a block.
    new_score, new_image = (np.diff(each, prepend=-1) != 0 for each in (category.scores, category.image))
    first = np.flatnonzero(new_score | new_image)
    level = new_score.cumsum()[first]
    if len(np.unique(level)) == len(first):  # no two images have a box of the same score
        places = places[:1]
    rows = max(1, CHUNK // len(category.scores))
    for start in range(0, len(places), rows):
        part = places[start : start + rows]
        order = np.argsort(level * part.shape[1] + part[:, category.image[first]], axis=1)
        part_values = [_threshold_ap(category, threshold, first, order) for threshold in range(len(category.hit))]
        values[start : start + rows if len(places) > 1 else None] = np.stack(part_values, axis=1)
    return values


def _threshold_ap(category: CategoryMatches, threshold: int, first: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return AP (n,) at one IoU threshold; first (blocks,): each one's first box; order (n, blocks): blocks by rank."""
    hit, counted = category.hit[threshold], ~category.ignored[threshold]
    hits = np.flatnonzero(hit)
    if not len(hits):
        return np.zeros(len(order))
    block = np.searchsorted(first, hits, side="right") - 1
    found, rank = (_counts(each, hits, block, first, order) for each in (hit, counted))
    precision = np.empty(found.shape)
    np.put_along_axis(precision, found - 1, found / rank, axis=1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recalls = np.arange(1, len(hits) + 1) / len(category.truth)
    return best @ np.diff(np.searchsorted(RECALLS, recalls, side="right"), prepend=0) / len(RECALLS)


def _counts(what: np.ndarray, hits: np.ndarray, block: np.ndarray, first: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return (n, hits): how many of `what` (boxes,) stand up to and with each hit in each order."""
    up_to = what.cumsum()
    own = up_to[hits] - (up_to - what)[first][block]
    amount = np.add.reduceat(what.astype(np.int32), first)[order]
    before = np.empty_like(amount)
    np.put_along_axis(before, order, amount.cumsum(axis=1, dtype=np.int32) - amount, axis=1)
    return before[:, block] + own.astype(np.int32)
