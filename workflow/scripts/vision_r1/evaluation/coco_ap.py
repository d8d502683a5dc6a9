"""COCO average precision of boxes, by pycocotools.

Ground truth is never touched, only numbered anew from 1: pycocotools takes an annotation with id 0 for "no
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


@dataclass(frozen=True)
class Detection:
    """One predicted box x y width height in pixels of the original image."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


def average_precision(dataset: CocoDataset, detections: Sequence[Detection]) -> dict[str, Any]:
    """Return METRICS and `per_category` {name: AP}, all 0..1, None where there is no ground truth to find.

    Of equal scores the earlier detection counts first; only the first 100 of an image and category count.
    """
    truth = [
        {
            "image_id": image.id,
            "category_id": item.category_id,
            "bbox": list(item.bbox),
            "area": item.area,
            "iscrowd": int(item.crowd),
        }
        for image in dataset.images
        for item in image.objects
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
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(dataset, truth), _coco(dataset, found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # Axes: IoU threshold, recall threshold, category in the order of ids, area (the first: all), detections an image.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_category = {
        dataset.categories[category]: _known(np.mean(precision[:, :, place]))
        for place, category in enumerate(evaluation.params.catIds)
    }
    return {**dict(zip(METRICS, map(_known, evaluation.stats), strict=True)), "per_category": per_category}


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
