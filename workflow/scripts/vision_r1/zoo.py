"""The box rewards of other methods, by name, computed on our rows and our answers.

All of them judge the boxes that parsing.parse reads, in pixels of the original image and in the order of the answer.
Each method asks for a format of its own, so rewards are compared here, not parsers. Where a method rewards its own
template, the part `format` is 1 for an answer that is well formed here. Labels are compared as each method does it.
Papers, code and commits are in docs/rewards.md, with the rewards that can't be computed on our answers.
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
MOST_BOXES = 100  # boxes of a category that COCO's AP counts
GREEDY_IOU = 0.5  # VLM-R1, weighted_sum
PERCEPTION_IOU = 0.5  # Perception-R1


@dataclass(frozen=True)
class Answer:
    """m predicted boxes and the n objects of an image: corners (m, 4) and (n, 4), m and n labels as written.

    known: the labels that were asked for; None if any label is allowed.
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
        """Return which pairs have equal labels, (m, n): as strings, or after `key` is applied to both."""
        truth = list(map(key, self.truth_labels))
        return np.array([[key(label) == other for other in truth] for label in self.labels], bool)

    @property
    def nothing(self) -> float | None:
        """The reward if a side is empty: 1 if both are (rightly silent), 0 if only one is, None if neither is."""
        return None if self.labels and self.truth_labels else float(not self.labels and not self.truth_labels)


def rex_omni(answer: Answer) -> dict[str, float]:
    """Rex-Omni (arXiv 2510.12798, equations 3 and 4): F1 = 2 S / (m + n), S summed over objects.

    Each object takes the box that overlaps it most, whatever its label, and adds their IoU to S if the label is right.
    One box may serve many objects, so fewer boxes than objects can earn more than 1. Two choices are ours, since the
    paper doesn't specify them: among boxes of equal IoU one with the right label is taken, and an empty answer about an
    empty image earns 1.
    """
    if answer.nothing is not None:
        return {"f1": answer.nothing}
    best = answer.overlap.max(axis=0)
    fits = (answer.same_label() & (answer.overlap == best)).any(axis=0)
    return {"f1": float(2 * best[fits].sum() / sum(answer.overlap.shape))}


def rex_omni_code(answer: Answer) -> dict[str, float]:
    """Rex-Omni's code, unlike its paper: F1 of two means of the best IoU with the same label, over objects and boxes.

    Matches are not one to one: a copy costs nothing, and a copy of a box above average raises precision.
    """
    if answer.nothing is not None:
        return {"f1": answer.nothing}
    overlap = answer.overlap * answer.same_label()
    recall, precision = overlap.max(axis=0).mean(), overlap.max(axis=1).mean()
    return {"f1": float(2 * recall * precision / (recall + precision)) if recall else 0.0}


def vlm_r1_od_ap(answer: Answer) -> dict[str, float]:
    """VLM-R1 (arXiv 2504.07615, section 4.2): COCO's AP of the one image, all scores 1, and format.

    AP looks only at the labels of the image's objects, so boxes with other labels are free. With equal scores, boxes
    count in the order of the answer, so boxes after the last right box of their label are free, too.
    """
    ap = _average_precision(answer) if answer.nothing is None else answer.nothing
    return {"format": float(answer.well_formed), "ap": ap}


def vlm_r1_od_length(answer: Answer) -> dict[str, float]:
    """VLM-R1's odLength: that AP, times n / m if there are more boxes than objects, whatever their labels."""
    parts = vlm_r1_od_ap(answer)
    length = min(1.0, len(answer.truth_labels) / len(answer.labels)) if answer.labels else 1.0
    return parts | {"ap": length * parts["ap"]}


def vlm_r1_weighted_sum(answer: Answer) -> dict[str, float]:
    """VLM-R1's weighted_sum: pairs are matched greedily by IoU, whatever their labels, down to IoU 0.5.

    iou: summed IoU of the pairs with equal labels, ignoring case, divided by n. completeness: 1 minus the mean of two
    shares, objects and boxes without a pair; a pair with a wrong label counts as a pair. Of equal IoUs the first box is
    taken. The original code treats an overlap of one pixel or less as none; this one doesn't.
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
    """Perception-R1's detection reward (arXiv 2504.07954, section 4), from a fork that isn't proven to be official.

    The matching minimises 5 L1 (centres and sizes, pixels) - 2 GIoU, whatever the labels; pairs above IoU 0.5 are kept.
    f1: from the number of kept pairs. label, iou: means over the kept pairs only, so one good box earns both in full.
    format: share of the boxes that have a known label; the others are dropped. It is 0 if the text is not well formed
    (ours; in the fork, an answer that can't be read earns 0 altogether). An empty answer always earns 0. The penalty
    for missed objects is off, as in the fork's script.
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
    """Return COCO's AP of one image, all scores 1: pycocotools' number, in a hundredth of the time, for use in GRPO."""
    labels, truth_labels = np.array(answer.labels, object), np.array(answer.truth_labels, object)
    values = []
    for label in dict.fromkeys(answer.truth_labels):
        overlap = answer.overlap[np.ix_(labels == label, truth_labels == label)][:MOST_BOXES]
        free = np.ones((len(IOU_THRESHOLDS), overlap.shape[1]), bool)
        hits = np.zeros((len(overlap), len(IOU_THRESHOLDS)), bool)
        for number, own in enumerate(overlap):
            open_to = np.where(free & (own >= IOU_THRESHOLDS[:, None]), own, -1)
            best = open_to.shape[1] - 1 - open_to[:, ::-1].argmax(axis=1)  # the last of equal ones, as in pycocotools
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
    """A function that judges an answer, and the published weight of each part that it returns."""

    judge: Callable[[Answer], dict[str, float]]
    weights: Mapping[str, float]


# Parts are in 0..1, except rex_omni's f1, which can approach 2.
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
    """A reward of ZOO, with the interface of a Criterion. Raises ValueError for an unknown name."""

    criterion: str

    def __post_init__(self) -> None:
        if self.criterion not in ZOO:
            raise ValueError(f"criterion: unknown {self.criterion!r}; choose {', '.join((*CRITERIA, *ZOO))}")

    def score(self, completion: str, row: Mapping[str, Any]) -> Score:
        """Score one answer against its row, as Criterion.score does."""
        truth, truth_labels = ground_truth(row)
        known = row.get("categories")
        parsed = parse(completion, known)
        boxes = Frame.of(row).to_original(parsed.boxes)
        answer = Answer(boxes, parsed.labels, truth, truth_labels, known, parsed.well_formed)
        return Score.of(ZOO[self.criterion].judge(answer), parsed)

    def part_weights(self, weights: Sequence[float] | None = None) -> dict[str, float]:
        """Return the weight of each part, by default the published one. Raises ValueError as `weighted` does."""
        return weighted(ZOO[self.criterion].weights, weights)


def criterion_of(settings: Mapping[str, Any]) -> Criterion | ZooReward:
    """Return the reward for the merged sections reward and grpo_stage1 or grpo_stage2 of a configuration.

    Raises ValueError as Criterion.of does, and if parts or thresholds are set for another method's reward.
    """
    name = settings.get("criterion")
    if name in CRITERIA:
        return Criterion.of(settings)
    reward = ZooReward(name)
    if others := sorted(settings.keys() - {"criterion"}):
        raise ValueError(f"{others[0]}: not a key of {name}, only of Vision-R1's criteria ({', '.join(CRITERIA)})")
    return reward
