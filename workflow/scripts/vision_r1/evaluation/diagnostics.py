"""Numbers beside AP: mean IoU, slices of the images, and how the answers look."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np

from vision_r1.boxes import iou
from vision_r1.data.coco import CocoDataset
from vision_r1.evaluation.bootstrap import weighted_ap
from vision_r1.evaluation.coco_ap import Detection, Matches, box_array, paired_iou
from vision_r1.parsing import WELL_FORMED, Parsed, label_key

DUPLICATE_IOU = 0.9  # a box that overlaps an earlier one of its label this much is a duplicate (ours)
MAX_COMPARED = 1_000  # boxes of an answer that are compared to find duplicates
# Slices: name -> from (included) and to (excluded), of the objects in an image and of width / height.
OBJECT_COUNTS = {"0": (0, 1), "1": (1, 2), "2 to 5": (2, 6), "6 to 10": (6, 11), "above 10": (11, inf)}
ASPECT_RATIOS = {
    "below 1:2": (0, 1 / 2),
    "1:2 to 4:5": (1 / 2, 4 / 5),
    "4:5 to 5:4": (4 / 5, 5 / 4),
    "5:4 to 2:1": (5 / 4, 2),
    "2:1 and above": (2, inf),
}


def mean_iou(matches: Matches, detections: Sequence[Detection]) -> float | None:
    """Return the mean IoU, 0..1, of the boxes that found an object at IoU 0.5 with it; None where there is none."""
    found = matches.matched >= 0
    if not found.any():
        return None
    boxes = box_array([detections[place].bbox for place in matches.detection[found]])
    return float(
        paired_iou(boxes, box_array([matches.objects[place][1].bbox for place in matches.matched[found]])).mean()
    )


def slices(dataset: CocoDataset, matches: Matches) -> dict[str, dict[str, dict[str, Any]]]:
    """Return {by: {slice: numbers}}: `size` of objects (COCO's areas), `objects` in an image, `aspect_ratio` of it."""
    images = {image.id: image for image in dataset.images}
    ordered = [images[image_id] for image_id in matches.image_ids]
    counts = np.array([sum(not item.crowd for item in image.objects) for image in ordered])
    # NaN, which is in no slice, where the annotations have no size.
    ratios = np.array([image.width / image.height if image.height else np.nan for image in ordered])
    areas = np.array([item.area for _, item in matches.objects if not item.crowd])
    edges = pairwise((0, 32**2, 96**2, 1e10))  # an area on an edge is of both sizes, as in pycocotools
    return {
        "size": {
            name: {
                "ground_truth": int(((areas >= low) & (areas <= high)).sum()),
                "AP": matches.stats[f"AP{name[0]}"],
                "AR": matches.stats[f"AR{name[0]}"],
            }
            for name, (low, high) in zip(("small", "medium", "large"), edges, strict=True)
        },
        "objects": _by_images(matches, counts, counts, OBJECT_COUNTS),
        "aspect_ratio": _by_images(matches, counts, ratios, ASPECT_RATIOS),
    }


def _by_images(
    matches: Matches, counts: np.ndarray, values: np.ndarray, parts: Mapping[str, tuple[float, float]]
) -> dict[str, dict[str, Any]]:
    weights = np.array([(low <= values) & (values < high) for low, high in parts.values()], np.int32)
    precision = weighted_ap(matches, weights)
    boxes = np.bincount(matches.image, minlength=len(values))
    return {
        name: {
            "images": int(weights[row].sum()),
            "ground_truth": int(counts @ weights[row]),
            "predictions": int(boxes @ weights[row]),
            **{
                metric: None if np.isnan(precision[metric][row]) else float(precision[metric][row])
                for metric in ("AP", "AP50")
            },
        }
        for row, name in enumerate(parts)
    }


def answer_quality(lines: Sequence[Mapping[str, Any]], parsed: Sequence[Parsed], images: int) -> dict[str, Any]:
    """Return how answers look, without ground truth: rates 0..1, boxes per image, and verdicts by name.

    parse_rate: share of answers that are well formed, nothing lost or recovered; duplicate_rate: share of boxes that
    overlap an earlier box of the same answer and label with an IoU of DUPLICATE_IOU or more.
    """
    boxes = sum(len(each.boxes) for each in parsed)
    verdicts = Counter(str(each.verdict) for each in parsed)
    return {
        "parse_rate": _rate(sum(each.verdict in WELL_FORMED for each in parsed), len(lines)),
        "truncation_rate": _rate(sum(bool(line["truncated"]) for line in lines), len(lines)),
        "duplicate_rate": _rate(sum(map(_duplicates, parsed)), boxes),
        "boxes_per_image": _rate(boxes, images),
        "verdicts": dict(sorted(verdicts.items())),
    }


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _duplicates(parsed: Parsed) -> int:
    if len(parsed.boxes) < 2:
        return 0
    boxes = parsed.boxes[:MAX_COMPARED]
    labels = np.array([label_key(label or "") for label in parsed.labels[:MAX_COMPARED]])
    near = (iou(boxes, boxes) >= DUPLICATE_IOU) & (labels[:, None] == labels)
    return int(np.tril(near, -1).any(axis=1).sum())
