"""The box rewards of other methods, by name: what each pays for, on our rows and our answers.

All judge the boxes that parsing.parse reads, in pixels of the original image, in the order in which they were said, for
each method asks for another format: what is compared is what a reward pays for, not its parser. Where a method rewards
its own template, the part `format` is 1 for an answer that is well formed here. Labels are compared as the method does.
Papers, code and commits: docs/rewards.md, with the rewards that can't be had on our answers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from vision_r1.boxes import city_block, giou, iou
from vision_r1.frames import Frame
from vision_r1.ground_truth import ground_truth
from vision_r1.matching import least_cost
from vision_r1.parsing import parse
from vision_r1.rewards import CRITERIA, Criterion
from vision_r1.score import Score, weighted

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's
RECALLS = np.linspace(0, 1, 101)  # COCO's
MOST_BOXES = 100  # of a category, in COCO's AP
GREEDY_IOU = 0.5  # VLM-R1, weighted_sum
PERCEPTION_IOU = 0.5  # Perception-R1


@dataclass(frozen=True)
class Answer:
    """m predicted boxes beside the n objects of an image: corners (m, 4) and (n, 4), m and n labels as written.

    known: the labels that were asked for, None for any.
    """

    boxes: np.ndarray
    labels: Sequence[str]
    truth: np.ndarray
    truth_labels: Sequence[str]
    known: Collection[str] | None
    well_formed: bool

    @cached_property
    def overlap(self) -> np.ndarray:
        """The IoU of every pair, (m, n)."""
        return iou(self.boxes, self.truth)

    def same_label(self, key: Callable[[str], str] = str) -> np.ndarray:
        """Return which pairs have equal labels, (m, n), letter by letter or by another key."""
        truth = list(map(key, self.truth_labels))
        return np.array([[key(label) == other for other in truth] for label in self.labels], bool)

    @property
    def nothing(self) -> float | None:
        """What silence earns: 1 where there is nothing to say; 0 where only one side is empty; None where none is."""
        return None if self.labels and self.truth_labels else float(not self.labels and not self.truth_labels)


def rex_omni(answer: Answer) -> dict[str, float]:
    """Rex-Omni (arXiv 2510.12798, equations 3 and 4): F1 = 2 S / (m + n), S summed over objects.

    An object takes its best box of any label, and adds their IoU where that box has its label. One box may serve many
    objects, so that fewer boxes than objects can earn more than 1. Of equal IoUs a right label counts, and silence
    about an empty image earns 1 (both ours: the paper doesn't say).
    """
    if answer.nothing is not None:
        return {"f1": answer.nothing}
    best = answer.overlap.max(axis=0)
    fits = (answer.same_label() & (answer.overlap == best)).any(axis=0)
    return {"f1": float(2 * best[fits].sum() / sum(answer.overlap.shape))}


def rex_omni_code(answer: Answer) -> dict[str, float]:
    """Rex-Omni's code, which differs: F1 of two means of best IoUs with the same label, over objects and over boxes.

    Neither is exclusive: a copy costs nothing, and a copy of a box above average raises precision.
    """
    if answer.nothing is not None:
        return {"f1": answer.nothing}
    overlap = answer.overlap * answer.same_label()
    recall, precision = overlap.max(axis=0).mean(), overlap.max(axis=1).mean()
    return {"f1": float(2 * recall * precision / (recall + precision)) if recall else 0.0}


def vlm_r1_od_ap(answer: Answer) -> dict[str, float]:
    """VLM-R1 (arXiv 2504.07615, section 4.2): COCO's AP of the one image, all scores 1, and format.

    AP knows the labels of the image's objects alone, so naming others is free. With equal scores boxes count in the
    order in which they are said: what is said after the last right box of its label is free, too.
    """
    ap = _average_precision(answer) if answer.nothing is None else answer.nothing
    return {"format": float(answer.well_formed), "ap": ap}


def vlm_r1_od_length(answer: Answer) -> dict[str, float]:
    """VLM-R1's odLength: that AP, times n / m where more boxes than objects are said, whatever their labels."""
    parts = vlm_r1_od_ap(answer)
    length = min(1.0, len(answer.truth_labels) / len(answer.labels)) if answer.labels else 1.0
    return parts | {"ap": length * parts["ap"]}


def vlm_r1_weighted_sum(answer: Answer) -> dict[str, float]:
    """VLM-R1's weighted_sum: the pair with the highest IoU of any labels is matched first, down to IoU 0.5.

    iou: summed IoU of the pairs with equal labels, upper or lower case, over n. completeness: 1 less the mean share of
    objects and of boxes without a pair; a pair with a wrong label completes. Of equal IoUs the first box is taken. The
    code's IoU calls an overlap of one pixel or less none; not here.
    """
    if answer.nothing is not None:
        iou_sum, completeness = answer.nothing, answer.nothing
    else:
        overlap, same = answer.overlap.copy(), answer.same_label(str.lower)
        pairs, iou_sum = 0, 0.0
        while overlap.max() >= GREEDY_IOU:
            row, column = np.unravel_index(overlap.argmax(), overlap.shape)
            pairs, iou_sum = pairs + 1, iou_sum + overlap[row, column] * same[row, column]
            overlap[row], overlap[:, column] = -1, -1
        boxes, objects = overlap.shape
        iou_sum, completeness = iou_sum / objects, (pairs / objects + pairs / boxes) / 2
    return {"format": float(answer.well_formed), "iou": float(iou_sum), "completeness": completeness}


def perception_r1(answer: Answer) -> dict[str, float]:
    """Perception-R1's detection reward (arXiv 2504.07954, section 4), from a fork, not proven official.

    Matched by the least of 5 L1 (centres and sizes, pixels) - 2 GIoU, labels aside; pairs above IoU 0.5 are kept. f1:
    of their number; label, iou: means over them alone, so that one good box earns all of both. format: share of the
    boxes with a known label; others are dropped. (Ours: 0 where the text is not well formed; there, anything that
    can't be read earns 0 in all.) Silence earns 0 everywhere. The penalty for missed objects is off, as in its script.
    """
    kept = [number for number, label in enumerate(answer.labels) if answer.known is None or label in answer.known]
    parts = {"format": 0.0, "f1": 0.0, "label": 0.0, "iou": 0.0}
    if not kept:
        return parts
    parts["format"] = len(kept) / len(answer.labels) * answer.well_formed
    if not answer.truth_labels:
        return parts
    boxes = answer.boxes[kept]
    cost = 5 * city_block(_centres_and_sides(boxes), _centres_and_sides(answer.truth)) - 2 * giou(boxes, answer.truth)
    rows, columns = least_cost(cost)
    overlap = answer.overlap[kept]
    close = overlap[rows, columns] > PERCEPTION_IOU
    if not close.any():
        return parts
    pairs = rows[close], columns[close]
    return parts | {
        "f1": float(2 * close.sum() / (len(kept) + len(answer.truth))),
        "label": float(answer.same_label()[kept][pairs].mean()),
        "iou": float(overlap[pairs].mean()),
    }


def _centres_and_sides(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def _average_precision(answer: Answer) -> float:
    """Return COCO's AP of one image, all scores 1: pycocotools' number in a hundredth of its time, which GRPO has."""
    labels, truth_labels = np.array(answer.labels, object), np.array(answer.truth_labels, object)
    values = []
    for label in dict.fromkeys(answer.truth_labels):
        overlap = answer.overlap[np.ix_(labels == label, truth_labels == label)][:MOST_BOXES]
        free = np.ones((len(IOU_THRESHOLDS), overlap.shape[1]), bool)
        hits = np.zeros((len(overlap), len(IOU_THRESHOLDS)), bool)
        for number, own in enumerate(overlap):
            open_to = np.where(free & (own >= IOU_THRESHOLDS[:, None]), own, -1)
            best = open_to.shape[1] - 1 - open_to[:, ::-1].argmax(axis=1)  # of equal ones the last, as pycocotools
            hit = open_to.max(axis=1) > 0
            free[hit, best[hit]] = False
            hits[number] = hit
        found = hits.cumsum(axis=0)
        precision = found / np.arange(1, len(hits) + 1)[:, None]
        precision = np.vstack([np.maximum.accumulate(precision[::-1])[::-1], np.zeros(len(IOU_THRESHOLDS))])
        for threshold, recall in enumerate((found / overlap.shape[1]).T):
            values.append(precision[np.searchsorted(recall, RECALLS), threshold].mean())
    return float(np.mean(values))


class Entry(NamedTuple):
    """What judges an answer, and the published weight of each part that it returns."""

    judge: Callable[[Answer], dict[str, float]]
    weights: Mapping[str, float]


# Parts are 0..1, but for rex_omni's, which is below 2.
ZOO = {
    "rex_omni": Entry(rex_omni, {"f1": 1.0}),
    "rex_omni_code": Entry(rex_omni_code, {"f1": 1.0}),
    "vlm_r1_od_ap": Entry(vlm_r1_od_ap, {"format": 1.0, "ap": 1.0}),
    "vlm_r1_od_length": Entry(vlm_r1_od_length, {"format": 1.0, "ap": 1.0}),
    "vlm_r1_weighted_sum": Entry(vlm_r1_weighted_sum, {"format": 1.0, "iou": 0.7, "completeness": 0.3}),
    "perception_r1": Entry(perception_r1, {"format": 0.25, "f1": 0.75, "label": 1.0, "iou": 1.0}),
}


@dataclass(frozen=True)
class ZooReward:
    """A reward of ZOO, used as a Criterion is. Raises ValueError for another name."""

    criterion: str

    def __post_init__(self) -> None:
        if self.criterion not in ZOO:
            raise ValueError(f"criterion: unknown {self.criterion!r}; choose {', '.join((*CRITERIA, *ZOO))}")

    def score(self, completion: str, row: Mapping[str, Any]) -> Score:
        """Judge one answer by its row, as Criterion.score does."""
        truth, truth_labels = ground_truth(row)
        known = row.get("categories")
        parsed = parse(completion, known)
        boxes = Frame.of(row).to_original(parsed.boxes)
        answer = Answer(boxes, parsed.labels, truth, truth_labels, known, parsed.well_formed)
        return Score.of(ZOO[self.criterion].judge(answer), parsed)

    def part_weights(self, weights: Sequence[float] | None = None) -> dict[str, float]:
        """Return the weight of each part, as published where none are given. Raises ValueError as `weighted` does."""
        return weighted(ZOO[self.criterion].weights, weights)


def criterion_of(settings: Mapping[str, Any]) -> Criterion | ZooReward:
    """Return what sections reward and grpo_stage1 or grpo_stage2 of a configuration say, laid together.

    Raises ValueError as Criterion.of does, and for parts or thresholds beside the name of another method's reward.
    """
    name = settings.get("criterion")
    if name in CRITERIA:
        return Criterion.of(settings)
    reward = ZooReward(name)
    if others := sorted(settings.keys() - {"criterion"}):
        raise ValueError(f"{others[0]}: {name} has no such key, only Vision-R1's criteria ({', '.join(CRITERIA)}) have")
    return reward
