"""AP over random orders of boxes with equal scores.

pycocotools ranks boxes by score, and boxes of one score by their image's id, which says nothing about them. Where all
boxes have one score, that order alone moves AP by a point on a few hundred images. So the images are shuffled ORDERS
times: `expected` is the mean AP over these orders, `low` and `high` are the lowest and the highest.

Boxes of one image keep the order of the answer: pycocotools matches them in that order, and it is the model's own
choice. So what an image's boxes find does not depend on other images, and is matched once
(vision_r1.evaluation.coco_ap.match). The n-th object that is found has recall n / objects in every order; the order of
images decides only its rank, the number of boxes up to it. Precision n / rank, its maximum over higher recalls and the
sum over recalls are then array operations over all orders at once. They give pycocotools' AP of each order exactly;
only the orders are a sample. We know of no closed form: the best precision at any higher recall is the maximum of a
random walk.
"""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vision_r1.evaluation.bootstrap import AP_METRICS, category_ap
from vision_r1.evaluation.coco_ap import Matches
from vision_r1.evaluation.curves import CHUNK, Reached, area, batches, first_boxes, in_threads, running

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
    asked = matches.objects_by_category > 0
    same_score = (np.diff(matches.category) == 0) & (np.diff(matches.scores) == 0) & (np.diff(matches.image) != 0)
    tied = np.zeros(len(asked), bool)
    tied[matches.category[1:][same_score]] = True
    once = category_ap(matches, np.ones((1, places.shape[1]), np.uint8))[:, 0].T
    total = once[asked & ~tied].sum(axis=0) + _sum_of_ap(matches, asked & tied, places)
    mean = total / asked.sum() if asked.any() else np.full(total.shape, np.nan)
    return {metric: mean[:, thresholds].mean(axis=1) for metric, thresholds in AP_METRICS.items()}


def over_orders(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return {orders: n, metric: {expected, low, high}} of each metric's values (n,), None where they are NaN."""
    numbers = {
        metric: None
        if np.isnan(own).any()
        else {"expected": float(own.mean()), "low": float(own.min()), "high": float(own.max())}
        for metric, own in values.items()
    }
    return {"orders": len(next(iter(values.values()))), **numbers}


def _sum_of_ap(matches: Matches, chosen: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the sum of the AP of the chosen (categories,) in each order (n, IoU thresholds)."""
    kept = chosen[matches.category]
    own = replace(
        matches,
        category=matches.category[kept],
        image=matches.image[kept],
        scores=matches.scores[kept],
        hit=matches.hit[:, kept],
        ignored=matches.ignored[:, kept],
    )
    total = np.zeros((len(places), len(matches.hit)))
    # Boxes of one image with one score stand side by side in every order: they are a block.
    new_score = (np.diff(own.category, prepend=-1) != 0) | (np.diff(own.scores, prepend=np.nan) != 0)
    new_block = new_score | (np.diff(own.image, prepend=-1) != 0)
    first, block = np.flatnonzero(new_block), new_block.cumsum() - 1
    level, image = new_score.cumsum()[first], own.image[first]

    counted = ~own.ignored if own.ignored.any() else np.ones((1, len(own.image)), bool)
    up_to = running(counted)
    in_block = up_to[:, 1:] - up_to[:, first][:, block]
    amount = np.diff(up_to[:, np.append(first, len(block))], axis=1)
    curves, starts = batches(own), first_boxes(own)
    recalls = [Reached(own.objects_by_category)(batch.category, batch.number) for batch in curves]

    def add(rows: slice) -> None:
        order = np.argsort(level * places.shape[1] + places[rows].take(image, axis=1), axis=1)
        place = np.empty(order.shape, np.int32)  # of each block in each order
        np.put_along_axis(place, order, np.arange(len(first), dtype=np.int32)[None], axis=1)
        ahead = running(amount.take(order, axis=1))  # boxes that stand before each place (amounts, orders, places + 1)
        row = np.arange(len(order))[:, None, None]
        for batch, reached in zip(curves, recalls, strict=True):
            threshold = batch.threshold[:, None] % len(amount)
            before = in_block[threshold, batch.hits] - up_to[threshold, starts[batch.category, None]]
            line = (threshold * len(order) + row) * ahead.shape[2]
            rank = ahead.reshape(-1).take(line + place.take(block[batch.hits], axis=1)) + before
            rank[:, ~batch.real] = np.iinfo(np.int32).max
            rank.sort(axis=2)
            total[rows] += area(batch.number / rank, reached) @ (batch.threshold[:, None] == np.arange(total.shape[1]))

    in_threads(add, len(places), CHUNK // max(amount.size, sum(batch.hits.size for batch in curves), 1))
    return total
