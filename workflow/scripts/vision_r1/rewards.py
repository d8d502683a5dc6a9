"""The vision-guided reward of Vision-R1: dual format, recall and precision of an answer's boxes.

Two criteria, and any mixture of their parts for ablations: `official`, the released code number for
number, and `strict`, ours, which sees what average precision sees. In somebody else's TRL script, with
this folder's parent on the path:

    from datasets import load_dataset
    from trl import GRPOConfig, GRPOTrainer
    from vision_r1.rewards import Criterion, reward_functions

    # Columns prompt, image, frame ("pixel" for Qwen2.5-VL, "rel1000" for Qwen3-VL), width, height,
    # input_width, input_height, categories and objects, a list of {"label": ..., "bbox": [x1, y1, x2, y2]}.
    GRPOTrainer(
        model="Qwen/Qwen2.5-VL-3B-Instruct",
        reward_funcs=reward_functions(Criterion.named("strict", "stage1")),
        args=GRPOConfig(num_generations=4),
        train_dataset=load_dataset("json", data_files="train.jsonl", split="train"),
    ).train()
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vision_r1 import official, parsing
from vision_r1.boxes import giou, iou
from vision_r1.frames import Frame
from vision_r1.matching import match_box_prioritised, match_most_value
from vision_r1.parsing import MAX_COORDINATE, Parsed, Verdict, label_key

# Progressive rule refinement (paper, section 3.3). `raw` is the released script, which switches it off.
STAGES = {
    "raw": {"recall_threshold": 0.5, "precision_low": 0.0, "precision_high": 1.0, "differentiate": False},
    "stage1": {"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75, "differentiate": True},
    "stage2": {"recall_threshold": 0.75, "precision_low": 0.75, "precision_high": 0.9, "differentiate": True},
}
CRITERIA = {
    "official": {
        "parser": "official",
        "assignment": "cost",
        "label_aware": False,
        "quality": "giou",
        "denominator": "matched",
    },
    "strict": {
        "parser": "strict",
        "assignment": "value",
        "label_aware": True,
        "quality": "iou",
        "denominator": "predictions",
    },
}
PARSERS = {"official": official.parse, "strict": parsing.parse}
QUALITIES = {"giou": giou, "iou": iou}
CHOICES = {
    "parser": tuple(PARSERS),
    "assignment": ("cost", "value"),
    "quality": tuple(QUALITIES),
    "denominator": ("matched", "predictions"),
}
REWARDS = ("dual_format", "recall", "precision")


@dataclass(frozen=True)
class Score:
    """The three rewards of one answer, each 0..1, and what was seen on the way."""

    dual_format: float
    recall: float
    precision: float
    verdict: Verdict
    num_predictions: int
    num_duplicates: int  # predictions that repeat an earlier one, label and all four coordinates


@dataclass(frozen=True)
class Criterion:
    """How an answer is judged. Raises ValueError on an unknown choice or thresholds out of order.

    parser: `official`, the released code's rules, or `strict`, `parsing.parse` (what evaluation reads).
    assignment: `cost`, box-prioritised matching as published, or `value`, the greatest summed precision.
    label_aware: only pairs of equal labels match (else the label is a small part of the cost).
    quality: what a match is worth, its `giou` (released code) or its `iou` (what AP asks).
    denominator: precision averages over the pairs `matched` (released code; blind to spam) or over all `predictions`.
    recall_threshold: a match is recalled where its quality is above it (differs from the released code, which
        counts a quality of exactly the threshold as that part of a match).
    precision_low, precision_high: a match's quality is 0 below the one and 1 above the other.
    differentiate: recall below 0.5 becomes 0 and above 0.75 becomes 1 (paper, section 3.3).
    """

    parser: str
    assignment: str
    label_aware: bool
    quality: str
    denominator: str
    recall_threshold: float
    precision_low: float
    precision_high: float
    differentiate: bool

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: {getattr(self, name)!r} is none of {', '.join(choices)}")
        if not 0 <= self.precision_low <= self.precision_high <= 1:
            raise ValueError(
                f"precision_low, precision_high: not 0 <= {self.precision_low} <= {self.precision_high} <= 1"
            )
        if not 0 <= self.recall_threshold <= 1:
            raise ValueError(f"recall_threshold: {self.recall_threshold} is not in 0..1")

    @classmethod
    def named(cls, name: str, stage: str = "raw") -> "Criterion":
        """Return one of CRITERIA at one of STAGES. Raises KeyError on other names."""
        return cls(**CRITERIA[name], **STAGES[stage])

    def score(self, completion: str, row: Mapping[str, Any]) -> Score:
        """Judge one answer by its row: frame, width, height, input_width, input_height, and objects or solution.

        The row's categories, if it has any, are the labels that count as known. Raises KeyError naming a
        missing field and ValueError naming a wrong one; any completion is fine.
        """
        truth, truth_labels = ground_truth(row)
        parsed = PARSERS[self.parser](completion, row.get("categories"))
        recall, precision = self._judge(parsed, Frame.of(row), truth, truth_labels)
        dual_format = parsed.well_formed
        if self.parser == "official" and not truth_labels:
            dual_format = not dual_format  # odd, and the released code's: on an empty image bad format is rewarded
        said = set(zip(parsed.labels, map(tuple, parsed.boxes.tolist()), strict=True))
        return Score(
            float(dual_format), recall, precision, parsed.verdict, len(parsed.labels), len(parsed.labels) - len(said)
        )

    def _judge(
        self, parsed: Parsed, frame: Frame, truth: np.ndarray, truth_labels: Sequence[str]
    ) -> tuple[float, float]:
        """Return recall and precision.

        An image without objects asks for silence: any prediction there earns neither (ours; the released
        code stops with an error). Recall would otherwise be free, 0 of 0, for every answer, and one box too
        many would cost only half of the reward.
        """
        if not parsed.labels or not truth_labels:
            silent = float(not parsed.labels and not truth_labels)
            return silent, silent
        precision = np.float32 if self.assignment == "cost" else np.float64  # single as in the released code
        boxes, truth = frame.to_original(parsed.boxes.astype(precision)), truth.astype(precision)
        same_label = self._same_label(parsed.labels, truth_labels)
        quality = QUALITIES[self.quality](boxes, truth)
        if self.assignment == "cost":
            closeness = quality if self.quality == "giou" else giou(boxes, truth)
            pairs = match_box_prioritised(boxes, truth, closeness, same_label, self.label_aware)
        else:
            value = self._refined(quality)
            if self.label_aware:
                value = value * same_label
            pairs = match_most_value(value, quality > self.recall_threshold)
        matched = quality[pairs]
        recall = float((matched > self.recall_threshold).sum() / len(truth_labels))
        if self.differentiate:
            recall = 0.0 if recall < 0.5 else 1.0 if recall > 0.75 else recall
        count = len(matched) if self.denominator == "matched" else len(parsed.labels)
        return recall, float(self._refined(matched).sum() / max(count, 1))

    def _refined(self, quality: np.ndarray) -> np.ndarray:
        """Return qualities of any shape with those below precision_low at 0 and above precision_high at 1."""
        return np.where(quality < self.precision_low, 0, np.where(quality > self.precision_high, 1, quality))

    def _same_label(self, labels: Sequence[str | None], truth_labels: Sequence[str]) -> np.ndarray:
        """Return (n, m) booleans."""
        if self.parser == "official":  # released code: stripped and lowered here, only lowered there
            keys = [None if label is None else label.strip().lower() for label in labels]
            truth_keys = [label.lower() for label in truth_labels]
        else:
            keys, truth_keys = list(map(label_key, labels)), list(map(label_key, truth_labels))
        number = {key: index for index, key in enumerate(truth_keys)}
        ids = np.array([number.get(key, -1) for key in keys])
        return ids[:, None] == np.array([number[key] for key in truth_keys])


def ground_truth(row: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Return a row's boxes (n, 4) in pixels of the original image, and its n labels.

    They stand in `objects`, a list of {"label", "bbox"} or the dict of lists {"label": [...], "bbox": [...]}
    that some table formats turn it into, or in `solution`, a list of [label, [x1, y1, x2, y2]] or its JSON
    text. Raises ValueError or KeyError naming the field.
    """
    name = "solution" if "solution" in row and "objects" not in row else "objects"
    objects = row[name]
    try:
        if isinstance(objects, str):
            objects = json.loads(objects)
        if isinstance(objects, Mapping):
            labels, boxes = objects["label"], objects["bbox"]
        elif name == "objects":
            labels, boxes = [item["label"] for item in objects], [item["bbox"] for item in objects]
        else:
            labels, boxes = [label for label, _ in objects], [box for _, box in objects]
        boxes = np.array(boxes, np.float64).reshape(len(labels), 4)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not a list of labels with four coordinates each ({error!r})") from None
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{name}: a label is not text")
    if not (np.abs(boxes) < MAX_COORDINATE).all():
        raise ValueError(f"{name}: a coordinate is not finite")
    return boxes, labels


ROW_FIELDS = ("frame", "width", "height", "input_width", "input_height", "categories", "objects", "solution")


@dataclass
class Scorer:
    """Scores a batch once, however many reward functions ask for it in turn."""

    criterion: Criterion
    _batch: tuple = field(default=(), repr=False)
    _scores: list[Score] = field(default_factory=list, repr=False)

    def __call__(
        self,
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None,
        log_extra: Callable[[str, list], None] | None,
        columns: Mapping[str, Any],
    ) -> list[Score]:
        names = columns.get("source_id")
        texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
        columns = {name: columns[name] for name in ROW_FIELDS if name in columns}
        # The very same list, not an equal one: the next batch may be equal and has metrics of its own.
        if not (self._batch and self._batch[0] is completions and self._batch[1:] == (texts, columns)):
            rows = [{name: values[index] for name, values in columns.items()} for index in range(len(texts))]
            self._scores = [self.criterion.score(text, row) for text, row in zip(texts, rows, strict=True)]
            self._batch = (completions, texts, columns)
            if log_metric is not None:
                self._log(log_metric)
            if log_extra is not None:
                log_extra("verdict", [str(score.verdict) for score in self._scores])
                if names is not None:
                    log_extra("source_id", list(names))
        return self._scores

    def _log(self, log_metric: Callable[[str, float], None]) -> None:
        verdicts = Counter(score.verdict for score in self._scores)
        for verdict in Verdict:  # every one in every batch: TRL averages over the batches that log it
            log_metric(f"verdicts/{verdict}", verdicts[verdict] / len(self._scores))
        for name in ("num_predictions", "num_duplicates"):
            log_metric(name, sum(getattr(score, name) for score in self._scores) / len(self._scores))


@dataclass
class RewardFunction:
    """One of REWARDS as a TRL reward function. Functions that share a scorer share its pass over a batch."""

    scorer: Scorer
    __name__: str

    def __call__(
        self,
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Return one reward in 0..1 for each completion, a text or a conversation that ends with it.

        `columns` are the row's fields, one list each (see Criterion.score); others are ignored.
        """
        return [getattr(score, self.__name__) for score in self.scorer(completions, log_metric, log_extra, columns)]


def reward_functions(criterion: Criterion) -> list[RewardFunction]:
    """Return the TRL reward functions dual_format, recall and precision; TRL sums them."""
    scorer = Scorer(criterion)
    return [RewardFunction(scorer, name) for name in REWARDS]
