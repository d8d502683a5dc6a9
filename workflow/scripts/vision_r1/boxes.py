"""Overlap of axis-aligned boxes, all pairs at once.

Boxes are float arrays (n, 4) of corners x1 y1 x2 y2 with x1 < x2 and y1 < y2, both sets in one frame.
"""

import numpy as np

SMALLEST_AREA = 1e-12  # a divisor for boxes without area, far below any real one


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every pair, (n, m) in 0..1, in the boxes' own precision."""
    intersection, union = _intersection_and_union(_paired(boxes, others))
    return intersection / union


def giou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the generalised IoU of every pair, (n, m) in -1..1, in the boxes' own precision.

    It is IoU less the share of the smallest enclosing box that neither covers (Rezatofighi et al., 2019),
    and keeps falling where boxes no longer touch.
    """
    pairs = _paired(boxes, others)
    intersection, union = _intersection_and_union(pairs)
    box, other = pairs
    sides = np.maximum(box[2:], other[2:]) - np.minimum(box[:2], other[:2])
    enclosure = np.maximum(sides[0] * sides[1], SMALLEST_AREA)
    return intersection / union - (enclosure - union) / enclosure


def city_block(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the L1 distance of every pair of corner vectors, (n, m), in units of the frame."""
    box, other = _paired(boxes, others)
    return np.abs(box - other).sum(axis=0)


def _paired(boxes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Coordinates first and contiguous, (4, n, 1) and (4, 1, m), so that numpy runs along whole (n, m) arrays.
    return np.ascontiguousarray(boxes.T)[:, :, None], np.ascontiguousarray(others.T)[:, None]


def _intersection_and_union(pairs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    box, other = pairs
    sides = np.maximum(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0)
    intersection = sides[0] * sides[1]
    union = _areas(box) + _areas(other) - intersection
    return intersection, np.maximum(union, SMALLEST_AREA)


def _areas(corners: np.ndarray) -> np.ndarray:
    sides = corners[2:] - corners[:2]
    return sides[0] * sides[1]
