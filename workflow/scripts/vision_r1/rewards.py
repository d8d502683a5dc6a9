"""The vision-guided reward of Vision-R1: dual format, recall and precision of an answer's boxes.

Four criteria, and any mixture of their parts for ablations: `paper`, the equations of the text; `released_2025`, the
code beside it, number for number; `upstream_2026`, the authors' later code; and `strict`, ours, which sees what average
precision sees. reward_functions(Criterion.named("strict", "stage1")) is what TRL's GRPOTrainer takes as reward_funcs;
docs/rewards.md has a whole script.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from vision_r1 import parsing, released_2025
from vision_r1.boxes import giou, iou
from vision_r1.frames import Frame
from vision_r1.ground_truth import ground_truth
from vision_r1.matching import match_box_prioritised, match_most_value
from vision_r1.parsing import Parsed, Verdict, label_key
from vision_r1.score import Score, weighted

# Progressive rule refinement (paper, section 3.3). `raw` is the released script and upstream, which switch it off.
REWARD_THRESHOLDS = {
    "raw": {"recall_threshold": 0.5, "precision_low": 0.0, "precision_high": 1.0, "differentiate": False},
    "stage1": {"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75, "differentiate": True},
    "stage2": {"recall_threshold": 0.75, "precision_low": 0.75, "precision_high": 0.9, "differentiate": True},
}
_RELEASED_2025 = {
    "parser": "released_2025",
    "assignment": "cost",
    "label_aware": False,
    "quality": "giou",
    "denominator": "matched",
    "inclusive": False,
    "recall_bounds": "fixed",
}
CRITERIA = {
    # Equations 3 to 8.
    "paper": _RELEASED_2025 | {"parser": "paper", "quality": "iou", "inclusive": True, "recall_bounds": "stage"},
    "released_2025": _RELEASED_2025,
    # Without stages: give it the thresholds of REWARD_THRESHOLDS["raw"]. Its mean of the three is TRL's reward_weights.
    "upstream_2026": _RELEASED_2025 | {"denominator": "predictions"},
    "strict": {
        "parser": "strict",
        "assignment": "value",
        "label_aware": True,
        "quality": "iou",
        "denominator": "predictions",
        "inclusive": False,
        "recall_bounds": "fixed",
    },
}
# The thresholds that each published criterion was published with.
PUBLISHED_STAGES = {
    "paper": ("stage1", "stage2"),
    "released_2025": ("raw", "stage1", "stage2"),
    "upstream_2026": ("raw",),
}
PARSERS = {"paper": parsing.parse, "released_2025": released_2025.parse, "strict": parsing.parse}
QUALITIES = {"giou": giou, "iou": iou}
RECALL_BOUNDS = {"fixed": (0.5, 0.75), "stage": None}
CHOICES = {
    "parser": tuple(PARSERS),
    "assignment": ("cost", "value"),
    "quality": tuple(QUALITIES),
    "denominator": ("matched", "predictions"),
    "recall_bounds": tuple(RECALL_BOUNDS),
}
REWARDS = ("dual_format", "recall", "precision")  # what every published sum holds
COUNT = "count"  # the paper's ablation adds it where recall is taken away (table 4)


@dataclass(frozen=True)
class Criterion:
    """How an answer is judged. Raises ValueError on an unknown choice or thresholds out of order.

    parser: `released_2025`, the released code's rules; `strict`, `parsing.parse` (what evaluation reads); or `paper`,
        the same, where dual format also asks for whole coordinates inside the frame (equation 4: template, content).
    assignment: `cost`, box-prioritised matching as published, or `value`, the greatest summed precision.
    label_aware: only pairs of equal labels match (else the label is a small part of the cost).
    quality: what a match is worth, its `giou` (released code) or its `iou` (what AP asks).
    denominator: precision averages over the pairs `matched` (released code; blind to spam) or over all `predictions`.
    inclusive: a value that is exactly an upper threshold has reached it (equations 6 and 8), or has not (the code).
    recall_bounds: where differentiated recall becomes 0 and 1: below 0.5 and above 0.75 in every stage, `fixed` (the
        code), or at the stage's precision_low and precision_high, `stage` (equation 8).
    recall_threshold: a match is recalled where its quality is above it (differs from the released code, which
        counts a quality of exactly the threshold as that part of a match).
    precision_low, precision_high: a match's quality is 0 below the one and 1 above the other.
    differentiate: recall has bounds (paper, section 3.3).
    """

    parser: str
    assignment: str
    label_aware: bool
    quality: str
    denominator: str
    inclusive: bool
    recall_bounds: str
    recall_threshold: float
    precision_low: float
    precision_high: float
    differentiate: bool

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: unknown {getattr(self, name)!r}; choose {', '.join(choices)}")
        if not 0 <= self.precision_low <= self.precision_high <= 1:
            raise ValueError(
                f"precision_low, precision_high: not 0 <= {self.precision_low} <= {self.precision_high} <= 1"
            )
        if not 0 <= self.recall_threshold <= 1:
            raise ValueError(f"recall_threshold: {self.recall_threshold} is not in 0..1")

    @classmethod
    def named(cls, name: str, stage: str = "raw") -> "Criterion":
        """Return one of CRITERIA at one of REWARD_THRESHOLDS. Raises ValueError for other names."""
        for given, known in ((name, CRITERIA), (stage, REWARD_THRESHOLDS)):
            if given not in known:
                raise ValueError(f"unknown {given!r}; choose {', '.join(known)}")
        return cls(**CRITERIA[name], **REWARD_THRESHOLDS[stage])

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Criterion":
        """Return what sections reward and grpo_stage1 or grpo_stage2 of a configuration say, laid together.

        `criterion` names the parts that are not given, thresholds must be. Raises ValueError for other keys.
        """
        given = {key: value for key, value in settings.items() if key != "criterion"}
        if settings.get("criterion") not in CRITERIA:
            raise ValueError(f"criterion: unknown {settings.get('criterion')!r}; choose {', '.join(CRITERIA)}")
        values, known = configured_parts(settings["criterion"]) | given, {item.name for item in fields(cls)}
        if values.keys() != known:
            unknown, missing = sorted(values.keys() - known), sorted(known - values.keys())
            raise ValueError(f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}")
        return cls(**values)

    def score(self, completion: str, row: Mapping[str, Any]) -> Score:
        """Judge one answer by its row: frame, width, height, input_width, input_height, and objects or solution.

        Its parts are REWARDS and COUNT, each 0..1; count: 1 for as many boxes as objects.
        The row's categories, if it has any, are the labels that count as known. Raises KeyError naming a
        missing field and ValueError naming a wrong one; any completion is fine.
        """
        truth, truth_labels = ground_truth(row)
        parsed = PARSERS[self.parser](completion, row.get("categories"))
        frame = Frame.of(row)
        dual_format = self._dual_format(parsed, frame, empty=not truth_labels)
        recall, precision = self._judge(parsed, frame, truth, truth_labels)
        count = float(len(parsed.labels) == len(truth_labels))
        parts = {"dual_format": dual_format, "recall": recall, "precision": precision, COUNT: count}
        return Score.of(parts, parsed)

    def part_weights(self, weights: Sequence[float] | None = None) -> dict[str, float]:
        """Return the weight of each part: 1 where none are given; a fourth one is that of COUNT.

        Raises ValueError as `weighted` does.
        """
        count = weights is not None and len(weights) > len(REWARDS)
        return weighted(dict.fromkeys((*REWARDS, COUNT) if count else REWARDS, 1.0), weights)

    def _dual_format(self, parsed: Parsed, frame: Frame, empty: bool) -> float:
        earned = parsed.well_formed
        if self.parser == "released_2025" and empty:
            earned = not earned  # odd, and the released code's: on an empty image bad format is rewarded
        if self.parser == "paper":
            whole = (parsed.boxes == parsed.boxes.round()).all()
            earned = earned and whole and ((parsed.boxes >= 0) & (parsed.boxes <= np.tile(frame.size, 2))).all()
        return float(earned)

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
        published = self.assignment == "cost"
        dtype = np.float32 if published else np.float64
        boxes = frame.to_original(parsed.boxes.astype(dtype), divide_first=published)
        truth = truth.astype(dtype)
        same_label = self._same_label(parsed.labels, truth_labels)
        quality = QUALITIES[self.quality](boxes, truth)
        if published:
            closeness = quality if self.quality == "giou" else giou(boxes, truth)
            pairs = match_box_prioritised(boxes, truth, closeness, same_label, self.label_aware)
        else:
            value = self._refined(quality)
            if self.label_aware:
                value = value * same_label
            pairs = match_most_value(value, self._reaches(quality, self.recall_threshold))
        matched = quality[pairs]
        recall = self._reaches(matched, self.recall_threshold).sum() / len(truth_labels)
        if self.differentiate:
            recall = self._refined(recall, RECALL_BOUNDS[self.recall_bounds])
        count = len(matched) if self.denominator == "matched" else len(parsed.labels)
        return float(recall), float(self._refined(matched).sum() / max(count, 1))

    def _refined(self, values: np.ndarray, bounds: tuple[float, float] | None = None) -> np.ndarray:
        """Return values of any shape, 0 below the lower bound and 1 beyond the upper one; default: precision's."""
        low, high = bounds or (self.precision_low, self.precision_high)
        return np.where(values < low, 0, np.where(self._reaches(values, high), 1, values))

    def _reaches(self, values: np.ndarray, threshold: float) -> np.ndarray:
        return values >= threshold if self.inclusive else values > threshold

    def _same_label(self, labels: Sequence[str | None], truth_labels: Sequence[str]) -> np.ndarray:
        """Return (n, m) booleans."""
        if self.parser == "released_2025":  # released code: stripped and lowered here, only lowered there
            keys = [None if label is None else label.strip().lower() for label in labels]
            truth_keys = [label.lower() for label in truth_labels]
        else:
            keys, truth_keys = list(map(label_key, labels)), list(map(label_key, truth_labels))
        number = {key: index for index, key in enumerate(truth_keys)}
        ids = np.array([number.get(key, -1) for key in keys])
        return ids[:, None] == np.array([number[key] for key in truth_keys])


def configured_parts(name: str) -> dict[str, Any]:
    """Return the parts of a criterion that a configuration names and doesn't change: all but the thresholds.

    Recall is differentiated, as in both stages of the paper. Raises KeyError for an unknown name.
    """
    return CRITERIA[name] | {"differentiate": True}


ROW_FIELDS = ("frame", "width", "height", "input_width", "input_height", "categories", "objects", "solution")


@dataclass
class Scorer:
    """Scores a batch once, however many reward functions ask for it in turn. criterion: as of reward_functions."""

    criterion: Any
    _batch: tuple = field(default=(), repr=False)
    _scores: list[Score] = field(default_factory=list, repr=False)

    def __call__(
        self,
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None,
        log_extra: Callable[[str, list], None] | None,
        columns: Mapping[str, Any],
    ) -> list[Score]:
        source_ids = columns.get("source_id")
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
                if source_ids is not None:
                    log_extra("source_id", list(source_ids))
        return self._scores

    def _log(self, log_metric: Callable[[str, float], None]) -> None:
        verdicts = Counter(score.verdict for score in self._scores)
        for verdict in Verdict:  # every one in every batch: TRL averages over the batches that log it
            log_metric(f"verdicts/{verdict}", verdicts[verdict] / len(self._scores))
        for name in ("num_predictions", "num_duplicates"):
            log_metric(name, sum(getattr(score, name) for score in self._scores) / len(self._scores))


@dataclass
class RewardFunction:
    """One part as a TRL reward function. Functions of one scorer share its pass over a batch."""

    scorer: Scorer
    __name__: str

    def __call__(
        self,
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Return the part of each completion, a text or a conversation that ends with it.

        `columns` are the row's fields, one list each (see Criterion.score); others are ignored.
        """
        scores = self.scorer(completions, log_metric, log_extra, columns)
        return [score.parts[self.__name__] for score in scores]


def reward_functions(criterion: Any, parts: Iterable[str] | None = None) -> list[RewardFunction]:
    """Return a TRL reward function for each part, by default those of criterion.part_weights(); TRL sums them.

    criterion: a Criterion, or a reward of another method (vision_r1.zoo).
    """
    scorer = Scorer(criterion)
    return [RewardFunction(scorer, name) for name in (criterion.part_weights() if parts is None else parts)]
