"""COCO average precision of boxes, and the matches behind it.

hotcoco matches and computes the 12 numbers. It is compiled, and its results equal pycocotools' to the last bit:
tests/unit/test_coco_matches.py compares every number and every single match.

pycocotools matches greedily, for each image, category and IoU threshold: boxes in the order of their scores, each
taking the free object that it overlaps most. Boxes are ranked across images only after that. So matches are made once
and kept: intervals over resampled images, orders of equal scores and types of errors only rank or weight the same
matches again, at a fraction of the cost of matching.
"""

import contextlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval

from vision_r1.data.coco import CocoDataset, CocoObject

# In the order of COCOeval.stats: AP over IoU .50:.95, at .50 and .75, by area; AR by detections per image, by area.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
LARGEST_AREA = 1e10  # the upper end of pycocotools' widest range of areas
MOST_DETECTIONS = 100  # the detections of an image and category that count, best scores first


@dataclass(frozen=True)
class Detection:
    """One predicted box x y width height in pixels of the original image."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Matches:
    """The matches over all areas, with at most 100 detections per image and category.

    `stats`: METRICS, None where there is no ground truth to find; `objects`: (index into image_ids, object) of every
    annotation, crowd regions included.

    The D detections are sorted by category and then by descending score, with ties in pycocotools' order. category and
    image (D,): indices into category_ids and image_ids, which are sorted; detection (D,): indices into the list that
    was matched; hit and ignored (T, D): whether it found an object, and whether it counts neither for nor against, at
    each IoU threshold; vanished (D,): ignored though on no crowd region, as pycocotools does with an area below 0
    (corners in the wrong order on one axis) or above 1e10; AP leaves such a box out, all other numbers count it as
    false; matched (D,): index into `objects` of the object that was found at the lowest threshold, -1 for none.
    truth, truth_category and truth_image (n,): indices into `objects`, category_ids and image_ids of the objects to
    find, sorted by category, without crowd regions.
    """

    stats: dict[str, float | None]
    per_category: dict[str, float | None]
    image_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    objects: tuple[tuple[int, Any], ...]
    category: np.ndarray
    image: np.ndarray
    detection: np.ndarray
    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    vanished: np.ndarray
    matched: np.ndarray
    truth: np.ndarray
    truth_category: np.ndarray
    truth_image: np.ndarray

    @property
    def false(self) -> np.ndarray:
        """Which boxes are false at each IoU threshold (T, D): those that found no object and are on no crowd region."""
        return ~self.hit & (~self.ignored | self.vanished)

    @property
    def objects_by_category(self) -> np.ndarray:
        """Number of objects to find (categories,)."""
        return np.bincount(self.truth_category, minlength=len(self.category_ids))

    def by_category(self, chosen: np.ndarray) -> np.ndarray:
        """Count the chosen boxes (T, D) of each category at each threshold (categories, T)."""
        return np.stack([np.bincount(self.category[row], minlength=len(self.category_ids)) for row in chosen], axis=1)


def match(dataset: CocoDataset, detections: Sequence[Detection], areas: bool = True) -> Matches:
    """Match detections to a data set's objects; every other number follows from these matches.

    Equal scores rank in the order given; only the first 100 detections of an image and category count.
    Without `areas`, which is faster, `stats` and `per_category` are empty.
    """
    # Ids become places in sorted lists: hotcoco refuses negative ids, and pycocotools ranks equal scores by image id.
    image_ids = sorted(image.id for image in dataset.images)
    category_ids = sorted(dataset.categories)
    images, categories = ({key: place for place, key in enumerate(ids)} for ids in (image_ids, category_ids))
    objects = [(images[image.id], item) for image in dataset.images for item in image.objects]
    truth = COCO.from_arrays(
        [{"id": place, "file_name": "", "width": 0, "height": 0} for place in range(len(image_ids))],
        [{"id": place, "name": str(place)} for place in range(len(category_ids))],
        np.array([place for place, _ in objects], int),
        np.array([categories[item.category_id] for _, item in objects], int),
        box_array([item.bbox for _, item in objects]),
        area=np.array([item.area for _, item in objects], float),
        iscrowd=np.array([item.crowd for _, item in objects], bool),
    )
    found = np.empty((len(detections), 7))  # image, box, score, category
    found[:, 0] = [images[detection.image_id] for detection in detections]
    found[:, 1:5] = box_array([detection.bbox for detection in detections])
    found[:, 5] = [detection.score for detection in detections]
    found[:, 6] = [categories[detection.category_id] for detection in detections]
    results = truth.load_res(found)

    # Objects that pycocotools ignores in the range "all" (crowds, areas out of range) can be matched, but not missed.
    asked_for = np.array([number for number, (_, item) in enumerate(objects) if _to_find(item)], int)
    truth_category = np.array([categories[objects[number][1].category_id] for number in asked_for], int)
    order = np.argsort(truth_category, kind="stable")
    names = [dataset.categories[key] for key in category_ids]
    numbers = _numbers(names, np.unique(truth_category).tolist(), truth, results) if areas else ({}, {})
    return Matches(
        *numbers,
        tuple(image_ids),
        tuple(category_ids),
        tuple(objects),
        **_per_box(truth, results, found),
        truth=asked_for[order],
        truth_category=truth_category[order],
        truth_image=np.array([objects[number][0] for number in asked_for[order]], int),
    )


def box_array(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """Return boxes as (n, 4), even if there are none."""
    return np.array(boxes, np.float64).reshape(-1, 4)


def paired_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU (n,) of n pairs of boxes x y width height (n, 4), by pycocotools' formula."""
    overlap = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:]) - np.maximum(
        boxes[:, :2], others[:, :2]
    )
    intersection = overlap[:, 0] * overlap[:, 1]
    union = boxes[:, 2] * boxes[:, 3] + others[:, 2] * others[:, 3] - intersection
    return np.divide(intersection, union, out=np.zeros(len(boxes)), where=(overlap > 0).all(axis=1))


def _to_find(item: CocoObject) -> bool:
    return not item.crowd and 0 <= item.area <= LARGEST_AREA


def _numbers(
    names: Sequence[str], present: list[int], truth: COCO, results: COCO
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return Matches' stats and per_category; names: the categories' names; present: indices of those with objects."""
    evaluation = COCOeval(truth, results, "bbox")
    evaluation.params.cat_ids = present  # the others are in no mean
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.run()
    # evaluation.eval would copy every curve: 120 MB with 1,203 categories.
    values = evaluation.get_results(per_class=True)
    per_category = {name: _known(values.get(f"AP/{place}", -1)) for place, name in enumerate(names)}
    return dict(zip(METRICS, map(_known, evaluation.stats), strict=True)), per_category


def _per_box(truth: COCO, results: COCO, found: np.ndarray) -> dict[str, np.ndarray]:
    """Return Matches' arrays of detections; found (n, 7): all detections in hotcoco's layout."""
    counted, matched = _matched(truth, results, len(found))
    image, scores, category = found[:, 0].astype(int), found[:, 5], found[:, 6].astype(int)
    # Stable, so that boxes of one image and one score keep their order in the list.
    order = np.lexsort((image, -scores, category))
    order = order[_place_in_group((category * (image.max(initial=0) + 1) + image)[order]) < MOST_DETECTIONS]
    areas = found[order, 3] * found[order, 4]
    matched = matched[:, order]
    return {
        "category": category[order],
        "image": image[order],
        "detection": order,
        "scores": scores[order],
        "hit": matched >= 0,
        "ignored": ~counted[:, order],
        "vanished": (areas < 0) | (areas > LARGEST_AREA),
        "matched": matched[0],
    }


def _matched(truth: COCO, results: COCO, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of `count` detections are right or false at each IoU threshold (T, n), and the indices of the
    objects that they found (T, n), -1 for none. A box on a crowd region is neither right nor false."""
    evaluation = COCOeval(truth, results, "bbox")
    # Only the range "all": the other three would quadruple the work, and only the 12 numbers need them.
    evaluation.params.area_rng = evaluation.params.area_rng[:1]
    evaluation.params.area_rng_lbl = evaluation.params.area_rng_lbl[:1]
    evaluation.evaluate()
    thresholds = evaluation.params.iou_thrs
    counted, matched = np.zeros((len(thresholds), count), bool), np.full((len(thresholds), count), -1, np.int32)
    for place, threshold in enumerate(thresholds):
        # Much faster than evaluation.eval_imgs, which makes fourteen lists for each image and category.
        boxes = evaluation.image_diagnostics(iou_thr=threshold, score_thr=np.inf)
        # hotcoco numbers detections and objects from 1.
        counted[place, _array(boxes["dt_status"]) - 1] = True
        matched[place, _array(boxes["dt_match"]) - 1] = _array(boxes["dt_match"].values()) - 1
    return counted, matched


def _array(numbers: Collection[int]) -> np.ndarray:
    return np.fromiter(numbers, np.int64, len(numbers))


def _place_in_group(group: np.ndarray) -> np.ndarray:
    """Return how many earlier members of the same group each element has (n,); group (n,): the elements' groups."""
    order = np.argsort(group, kind="stable")
    _, first, count = np.unique(group[order], return_index=True, return_counts=True)
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.repeat(first, count)
    return place


def _known(value: float) -> float | None:
    """Return a number for JSON: None for pycocotools' -1, which means that there is no such ground truth."""
    return None if value < 0 else float(value)
