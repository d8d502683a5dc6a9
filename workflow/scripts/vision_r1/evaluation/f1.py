"""F1 of detections, averaged in four ways that are in use. Scores don't matter: every predicted box counts.

micro                 ours: boxes of all images and categories counted together
macro                 precision and recall of each category, then their means, then F1. Nothing is left out: a category
                      without a right box has 0 in both, and one that no image shows has precision 0 if it has boxes
rex_omni_categories   as Rex-Omni reports COCO and LVIS: as macro, but boxes of a category that is not in their image
                      are dropped first, and zeros are left out of each mean. Both raise the number: the model is told
                      what is there, and a category that it never finds costs nothing
rex_omni_images       as Rex-Omni reports Dense200 and VisDrone: precision and recall of each image, then their means,
                      then F1. A box may find an object of another category, if its own category is in the image

Each is {"0.50", "0.95", "mean": {precision, recall, F1}}, 0..1, None where there is no object. "mean" is over the ten
IoU thresholds .50:.95; in the two variants by category its F1 is that of the mean precision and the mean recall, as in
Rex-Omni's code.

Rules from Rex-Omni (arXiv 2510.12798, section 5.1) and its code (github.com/IDEA-Research/Rex-Omni, commit 478e44f:
evaluation/metrics, evaluation/fastevaluate, evaluation/utils). Three things differ from that code. Its variant by
category reads precision off the interpolated curve, at the last of 101 recalls that is reached, which is a little
higher than the precision of all boxes. Where a category has no right box at a threshold, it keeps the precision of the
threshold or category before. It compares labels by their letters alone. In the variants other than rex_omni_images
boxes are matched as by pycocotools, the first 100 of an image and category, and those on crowd regions don't count. A
box with its corners in the wrong order, or of absurd size, is false, also where AP leaves it out (Matches.vanished).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vision_r1.boxes import iou
from vision_r1.data.coco import CocoDataset, CocoImage
from vision_r1.evaluation.coco_ap import Detection, Matches

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # pycocotools'
REPORTED = {"0.50": 0, "0.95": 9}

Numbers = dict[str, dict[str, float | None]]


def f1_scores(dataset: CocoDataset, matches: Matches, detections: Sequence[Detection]) -> dict[str, Numbers]:
    """Return {variant: {threshold: {precision, recall, F1}}}; matches: of these detections, whatever their scores."""
    hits, predicted, objects = _by_category(matches)
    asked_for = _by_category(matches, present_only=True)
    if not objects.sum():
        nothing = dict.fromkeys(("precision", "recall", "F1"))
        return {name: dict.fromkeys((*REPORTED, "mean"), nothing) for name in VARIANTS}
    return {
        "micro": _numbers(_ratio(hits.sum(axis=0), predicted.sum(axis=0)), hits.sum(axis=0) / objects.sum()),
        "macro": _of_categories(hits, predicted, objects),
        "rex_omni_categories": _of_categories(*asked_for, zeros=False),
        "rex_omni_images": _numbers(*_of_images(dataset, detections)),
    }


VARIANTS = ("micro", "macro", "rex_omni_categories", "rex_omni_images")


def _by_category(matches: Matches, present_only: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return right boxes and boxes (categories, thresholds) and objects (categories,), all counted.

    present_only: without boxes of a category that is not annotated in their image.
    """
    kept = matches.hit | matches.false
    if present_only:
        places = {key: place for place, key in enumerate(matches.category_ids)}
        annotated = {image * len(places) + places[item.category_id] for image, item in matches.objects}
        kept &= np.isin(matches.image * len(places) + matches.category, list(annotated))
    return matches.by_category(matches.hit), matches.by_category(kept), matches.objects_by_category


def _of_categories(hits: np.ndarray, predicted: np.ndarray, objects: np.ndarray, zeros: bool = True) -> Numbers:
    """Return the numbers of precision and recall averaged over categories; without `zeros`, over positive ones only."""
    seen, known = (objects > 0) | (predicted > 0).any(axis=1), objects > 0
    precision, recall = _ratio(hits, predicted)[seen], hits[known] / objects[known, None]

    def average(values: np.ndarray) -> float:
        kept = values if zeros else values[values > 0]
        return float(kept.mean()) if len(kept) else 0.0

    # For "mean", each category's mean over thresholds, zeros included, is averaged over categories.
    columns = {name: (precision[:, place], recall[:, place]) for name, place in REPORTED.items()}
    columns["mean"] = precision.mean(axis=1), recall.mean(axis=1)
    return {name: _triple(average(one), average(other)) for name, (one, other) in columns.items()}


def _of_images(dataset: CocoDataset, detections: Sequence[Detection]) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall (thresholds,) averaged over images, categories pooled.

    An image without objects has 1 in both where no box is predicted, else 0.
    """
    predicted: dict[int, list[Detection]] = {image.id: [] for image in dataset.images}
    for detection in detections:
        predicted[detection.image_id].append(detection)
    each = [_of_image(image, predicted[image.id]) for image in dataset.images]
    precision, recall = np.mean(each, axis=0)
    return precision, recall


def _of_image(image: CocoImage, boxes: Sequence[Detection]) -> tuple[np.ndarray, np.ndarray]:
    objects = [item for item in image.objects if not item.crowd]
    if not objects or not boxes:
        same = np.full(len(IOU_THRESHOLDS), float(not objects and not boxes))
        return same, same
    # In the order of categories, as in Rex-Omni's code: who chooses first changes what a greedy matching finds.
    places = {category: place for place, category in enumerate(dict.fromkeys(item.category_id for item in objects))}
    objects.sort(key=lambda item: places[item.category_id])
    present = sorted((box for box in boxes if box.category_id in places), key=lambda box: places[box.category_id])
    candidates = [box.bbox for box in present]
    hits = np.zeros(len(IOU_THRESHOLDS))
    if candidates:
        free = np.ones((len(IOU_THRESHOLDS), len(candidates)), bool)
        for row in iou(_corners([item.bbox for item in objects]), _corners(candidates)):
            # Each object in turn takes the best of the remaining boxes.
            overlap = np.where(free, row, 0)
            best = overlap.argmax(axis=1)
            found = np.flatnonzero(overlap.max(axis=1) >= IOU_THRESHOLDS)
            free[found, best[found]] = False
            hits[found] += 1
    return hits / len(boxes), hits / len(objects)


def _corners(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    corners = np.array(boxes, np.float64)
    corners[:, 2:] += corners[:, :2]
    return corners


def _numbers(precision: np.ndarray, recall: np.ndarray) -> Numbers:
    """Return the reported numbers of precision and recall (thresholds,), each threshold's F1 averaged."""
    each = [_triple(*pair) for pair in zip(precision, recall, strict=True)]
    mean = {key: float(np.mean([own[key] for own in each])) for key in each[0]}
    return {**{name: each[place] for name, place in REPORTED.items()}, "mean": mean}


def _triple(precision: float, recall: float) -> dict[str, Any]:
    both = float(precision + recall)
    return {
        "precision": float(precision),
        "recall": float(recall),
        "F1": 2 * precision * recall / both if both else 0.0,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)
