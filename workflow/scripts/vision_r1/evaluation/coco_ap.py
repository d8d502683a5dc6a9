"""COCO average precision of boxes, by pycocotools, and the matches behind it.

Ground truth is never touched, only renumbered from 1: pycocotools takes an annotation with id 0 for "no
match", and many exported data sets count from 0.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_r1.data.coco import CocoDataset

# In the order of COCOeval.stats: AP over IoU .50:.95, at .50 and .75, by area; AR by detections an image, by area.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
LARGEST_AREA = 1e10  # of pycocotools' widest range of areas
CURVES = ("0.50", "0.75")  # IoU thresholds of the precision-recall curves


@dataclass(frozen=True)
class Detection:
    """One predicted box x y width height in pixels of the original image."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class CategoryMatches:
    """One category's D detections, the best score first, ties in pycocotools' order, and its n objects.

    image (D,) and truth_image (n,): places in Matches.image_ids; detection (D,): places in the list that was
    matched; hit and ignored (T, D): found an object, or counts neither for nor against, at each IoU threshold;
    vanished (D,): ignored though on no crowd region, as pycocotools does with an area below 0 (corners in the wrong
    order on one axis) or above 1e10; AP leaves such a box out, all other numbers count it as false;
    matched (D,): place of the object in `objects` that was found at the lowest threshold, -1 for none;
    truth (n,): places in `objects`. Crowd regions are no objects to find.
    """

    category_id: int
    scores: np.ndarray
    image: np.ndarray
    detection: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    vanished: np.ndarray
    matched: np.ndarray
    truth: np.ndarray
    truth_image: np.ndarray

    @property
    def false(self) -> np.ndarray:
        """Which boxes are false at each IoU threshold (T, D): no object was found, and it is on no crowd region."""
        return ~self.hit & (~self.ignored | self.vanished)


@dataclass(frozen=True)
class Matches:
    """What pycocotools matched, over all areas, at most 100 detections an image and category.

    `stats`: METRICS, None where there is no ground truth to find; `precision`: precision at 101 recalls from 0 to 1,
    mean over the categories that have objects, at the IoU thresholds "0.50" and "0.75"; `objects`: (place in
    image_ids, object) of everything annotated, crowd regions among it.
    """

    stats: dict[str, float | None]
    per_category: dict[str, float | None]
    precision: dict[str, list[float]]
    image_ids: tuple[int, ...]
    objects: tuple[tuple[int, Any], ...]
    categories: tuple[CategoryMatches, ...]


def average_precision(dataset: CocoDataset, detections: Sequence[Detection]) -> dict[str, Any]:
    """Return METRICS and `per_category` {name: AP}, all 0..1, None where there is no ground truth to find.

    Of equal scores the earlier detection counts first; only the first 100 of an image and category count.
    """
    matches = match(dataset, detections)
    return {**matches.stats, "per_category": matches.per_category}


def match(dataset: CocoDataset, detections: Sequence[Detection], areas: bool = True) -> Matches:
    """Match detections to a data set's objects once; every other number follows from the matches.

    Without `areas`, four times as fast, `stats`, `per_category` and `precision` are empty.
    """
    objects = [(image.id, item) for image in dataset.images for item in image.objects]
    truth = [
        {
            "image_id": image_id,
            "category_id": item.category_id,
            "bbox": list(item.bbox),
            "area": item.area,
            "iscrowd": int(item.crowd),
        }
        for image_id, item in objects
    ]
    found = [
        {
            "image_id": detection.image_id,
            "category_id": detection.category_id,
            "bbox": list(detection.bbox),
            "area": detection.bbox[2] * detection.bbox[3],
            "iscrowd": 0,
            "score": detection.score,
        }
        for detection in detections
    ]
    stats, per_category, curves = {}, {}, {}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(dataset, truth), _coco(dataset, found), "bbox")
        if not areas:
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.evaluate()
        if areas:
            evaluation.accumulate()
            evaluation.summarize()
    if areas:
        stats = dict(zip(METRICS, map(_known, evaluation.stats), strict=True))
        # Axes: IoU threshold, recall threshold, category by id, area (the first: all), detections an image.
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        per_category = {
            dataset.categories[category]: _known(np.mean(precision[:, :, place]))
            for place, category in enumerate(evaluation.params.catIds)
        }
        known = precision[:, :, (precision > -1).all(axis=(0, 1))]
        if known.shape[2]:
            curves = {
                f"{threshold:.2f}": known[place].mean(axis=1).round(4).tolist()
                for place, threshold in enumerate(evaluation.params.iouThrs)
                if f"{threshold:.2f}" in CURVES
            }
    places = {image_id: place for place, image_id in enumerate(evaluation.params.imgIds)}
    vanishing = _vanishing(detections)
    return Matches(
        stats,
        per_category,
        curves,
        tuple(map(int, places)),
        tuple((places[image_id], item) for image_id, item in objects),
        tuple(_category_matches(evaluation, place, vanishing) for place in range(len(evaluation.params.catIds))),
    )


def _vanishing(detections: Sequence[Detection]) -> np.ndarray:
    """Return which detections (n,) pycocotools never counts as false."""
    boxes = np.array([detection.bbox for detection in detections], np.float64).reshape(-1, 4)
    areas = boxes[:, 2] * boxes[:, 3]
    return (areas < 0) | (areas > LARGEST_AREA)


def _category_matches(evaluation: COCOeval, category: int, vanishing: np.ndarray) -> CategoryMatches:
    """Gather one category's matches over all areas, which stand first in its block of `evalImgs`."""
    params = evaluation.params
    images, thresholds = len(params.imgIds), len(params.iouThrs)
    start = category * len(params.areaRng) * images
    scores, image, detection, hit, ignored, matched, truth, truth_image = ([] for _ in range(8))
    for place, found in enumerate(evaluation.evalImgs[start : start + images]):
        if found is None:
            continue
        scores += found["dtScores"]
        image += [place] * len(found["dtIds"])
        detection += found["dtIds"]
        hit.append((found["dtMatches"] > 0) & ~found["dtIgnore"].astype(bool))
        ignored.append(found["dtIgnore"].astype(bool))
        matched.append(found["dtMatches"][0])
        objects = [number for number, ignore in zip(found["gtIds"], found["gtIgnore"], strict=True) if not ignore]
        truth += objects
        truth_image += [place] * len(objects)
    order = np.argsort(-np.array(scores, np.float64), kind="mergesort")
    nothing = np.zeros((thresholds, 0), bool)
    hit = np.concatenate([nothing, *hit], axis=1)[:, order]
    matched = np.concatenate([np.zeros(0), *matched])[order].astype(int) - 1
    own = np.array(detection, int)[order] - 1
    return CategoryMatches(
        int(params.catIds[category]),
        np.array(scores, np.float64)[order],
        np.array(image, int)[order],
        own,
        hit,
        np.concatenate([nothing, *ignored], axis=1)[:, order],
        vanishing[own],
        np.where(hit[0], matched, -1),
        np.array(truth, int) - 1,
        np.array(truth_image, int),
    )


def _known(value: float) -> float | None:
    """Return a number as JSON has it; pycocotools says -1 for "no ground truth of that kind"."""
    return None if value < 0 else float(value)


def _coco(dataset: CocoDataset, entries: list[dict[str, Any]]) -> COCO:
    """Build pycocotools' index; its own loadRes fails on an empty list."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image.id} for image in dataset.images],
        "categories": [{"id": key, "name": name} for key, name in dataset.categories.items()],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
    }
    coco.createIndex()
    return coco
