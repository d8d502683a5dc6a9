"""Does a reward see what AP and F1 see? Ground truth made worse (vision_r1.perturbations), judged by all (ours)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.evaluation import coco_ap
from vision_r1.evaluation.coco_ap import Detection
from vision_r1.evaluation.f1 import f1_scores
from vision_r1.files import UserError, read_jsonl
from vision_r1.frames import Frame
from vision_r1.ground_truth import ground_truth
from vision_r1.parsing import label_key, parse
from vision_r1.perturbations import ERROR_FAMILIES, Answer, Predicted, perturb
from vision_r1.progress import Progress
from vision_r1.rewards import PUBLISHED_STAGES, Criterion
from vision_r1.zoo import ZOO, ZooReward, criterion_of

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
AP_FALL, REWARD_FALL = 0.05, 0.05  # a loophole: AP falls by so much, the reward (0..3) by less than so much


@dataclass(frozen=True)
class Reward:
    """A criterion, and the weights of its parts, as published where none are given.

    Weights are scaled to a sum of 3, which changes no advantage that is divided by its group's deviation and makes
    rewards comparable. Raises ValueError for weights that can't be.
    """

    criterion: Criterion | ZooReward
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        weights = self.criterion.part_weights(self.weights).values()
        scaled = tuple(round(3 * weight / sum(weights), 6) for weight in weights)
        object.__setattr__(self, "weights", scaled)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Reward":
        """Return the reward of a GRPO training: its criterion (see criterion_of), and reward_weights if given."""
        given = {key: value for key, value in settings.items() if key != "reward_weights"}
        return cls(criterion_of(given), settings.get("reward_weights"))

    def total(self, parts: Mapping[str, float]) -> float:
        """Return the weighted sum of an answer's parts, or of their means."""
        return sum(weight * parts[name] for name, weight in self.criterion.part_weights(self.weights).items())


# The references of a configured reward: Vision-R1's criteria as published, and the rewards of other methods.
PUBLISHED = {
    f"{name}, {stage}": Reward(Criterion.named(name, stage))
    for name, stages in PUBLISHED_STAGES.items()
    for stage in stages
}
OTHERS = {name: Reward(ZooReward(name)) for name in ZOO}


def sample(path: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Return `count` random rows that have objects, in the file's order. Raises UserError naming a bad row.

    Rows without objects are left out: the released code can't judge a box there.
    """
    rows = []
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            if not isinstance(row, dict):
                raise ValueError("not an object")
            Frame.of(row)
            if not (isinstance(row["categories"], list) and row["categories"]):
                raise ValueError("categories: not a list of labels")
            if ground_truth(row)[1]:
                rows.append(row)
        except KeyError as error:
            raise UserError(f"{path}: row {number}: {error.args[0]}: the field is missing") from None
        except ValueError as error:
            raise UserError(f"{path}: row {number}: {error}") from None
    if not rows:
        raise UserError(f"{path}: no row has objects; the audit needs some")
    return [rows[index] for index in sorted(np.random.default_rng(seed).permutation(len(rows))[:count].tolist())]


def audited(configured: Mapping[str, Reward]) -> list[dict[str, Any]]:
    """Return {name, checkpoints, published, reward} for each distinct reward, those of the configuration first.

    configured: the rewards of trainings by checkpoint. checkpoints: those with this reward, none for a mere reference,
    which only Vision-R1's criteria are. published: its name in PUBLISHED or OTHERS, or None. name: that of the first of
    these.
    """
    entries = []
    for reward in dict.fromkeys([*configured.values(), *PUBLISHED.values()]):
        checkpoints = [name for name, other in configured.items() if other == reward]
        published = next((name for name, other in (PUBLISHED | OTHERS).items() if other == reward), None)
        name = checkpoints[0] if checkpoints else published
        entries.append({"name": name, "checkpoints": checkpoints, "published": published, "reward": reward})
    return entries


def audit(rows: Sequence[Mapping[str, Any]], rewards: Mapping[str, Reward], seed: int) -> list[dict[str, Any]]:
    """Return one record for every family, strength and reward: mean rewards, AP and F1 of the very same answers.

    `criterion` in a record is the name of its reward in `rewards`. A row's randomness depends on seed, row and family
    only, so that a stronger perturbation contains the weaker one. The reward is the weighted sum of parts, 0..3 (of
    rex_omni's up to 6); `rewards/<part>` is the mean of one. F1 is that of all boxes together, mean over IoU .50:.95.
    """
    truths = [ground_truth(row) for row in rows]
    frames = [Frame.of(row) for row in rows]
    every = sorted({label for row in rows for label in row["categories"]})
    answers = []
    for row, (boxes, labels) in zip(rows, truths, strict=True):
        vocabulary = row["categories"] if len(row["categories"]) > 1 else every
        answers.append(Answer(boxes, labels, np.array([row["width"], row["height"]], float), vocabulary))
    records = []
    progress = Progress(len(ERROR_FAMILIES) * len(STRENGTHS) * len(rewards), "mean rewards")
    for index, family in enumerate(ERROR_FAMILIES):
        for strength in STRENGTHS:
            texts = [
                perturb(family, strength, answer, frame, np.random.default_rng([seed, index, number]))
                for number, (answer, frame) in enumerate(zip(answers, frames, strict=True))
            ]
            read = [parse(text) for text in texts]
            found = [(frame.to_original(p.boxes), p.labels) for frame, p in zip(frames, read, strict=True)]
            measured = {"family": family, "strength": strength, **ap_and_f1(truths, found)}
            for name, reward in rewards.items():
                scores = [reward.criterion.score(text, row) for text, row in zip(texts, rows, strict=True)]
                means = {part: float(np.mean([score.parts[part] for score in scores])) for part in scores[0].parts}
                parts = {f"rewards/{part}": mean for part, mean in means.items()}
                records.append({"criterion": name, **measured, "reward": reward.total(means), **parts})
                progress.update(len(records))
    return records


def ap_and_f1(truths: Sequence[Predicted], found: Sequence[Predicted]) -> dict[str, float]:
    """Return COCO AP (`ap`) and F1 (`f1`), 0..1, of boxes found in images, all with score 1; labels as of label_key.

    AP is the mean over the labels of the ground truth, so that a box with any other label costs nothing; to F1, of all
    boxes together, it is a false one.
    """
    names = sorted({label_key(label) for _, labels in [*truths, *found] for label in labels})
    category = {name: number for number, name in enumerate(names, start=1)}
    images = [
        CocoImage(number, "", 0, 0, tuple(CocoObject(*entry, _area(entry[2]), crowd=False) for entry in entries))
        for number, entries in enumerate(_entries(truths, category))
    ]
    detections = [
        Detection(number, category_id, bbox, 1.0)
        for number, entries in enumerate(_entries(found, category))
        for category_id, _, bbox in entries
    ]
    dataset = CocoDataset("audit", "", {number: name for name, number in category.items()}, tuple(images))
    matches = coco_ap.match(dataset, detections)
    return {"ap": matches.stats["AP"], "f1": f1_scores(dataset, matches, detections)["micro"]["mean"]["F1"]}


def loopholes(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the perturbations that AP sees and a reward does not, the strongest of each family.

    `ap_fall` and `reward_fall` are from strength 0 of the same family.
    """
    right = {_key(record): record for record in records if record["strength"] == 0}
    blind = {}
    for record in sorted(records, key=lambda record: record["strength"]):
        fall = {name: right[_key(record)][name] - record[name] for name in ("ap", "reward")}
        if fall["ap"] >= AP_FALL and fall["reward"] < REWARD_FALL:
            named = {name: record[name] for name in ("criterion", "family", "strength")}
            blind[_key(record)] = named | {"ap_fall": fall["ap"], "reward_fall": fall["reward"]}
    return [blind[key] for key in right if key in blind]


def rank_correlation(records: Iterable[Mapping[str, Any]], metric: str = "ap") -> float | None:
    """Return Spearman's correlation of mean reward and metric, `ap` or `f1`, over one reward's records.

    None where the reward never changes.
    """
    from scipy.stats import spearmanr

    rewards, values = zip(*((record["reward"], record[metric]) for record in records), strict=True)
    return float(spearmanr(rewards, values).statistic) if len({*rewards}) > 1 else None


def kept(records: Sequence[Mapping[str, Any]], key: str = "reward") -> dict[str, float]:
    """Return, over one reward's records, family -> the share of the right answer's number that worse answers keep.

    It is the mean over all strengths above 0. key: `reward`, `ap` or `f1`.
    """
    shares: dict[str, list[float]] = {}
    right = {record["family"]: record[key] for record in records if record["strength"] == 0}
    for record in records:
        if record["strength"]:
            shares.setdefault(record["family"], []).append(record[key] / right[record["family"]])
    return {family: float(np.mean(values)) for family, values in shares.items()}


def _key(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["criterion"], record["family"]


def _area(bbox: tuple[float, float, float, float]) -> float:
    return bbox[2] * bbox[3]


def _entries(
    images: Sequence[Predicted], category: Mapping[str, int]
) -> Iterable[list[tuple[int, str, tuple[float, float, float, float]]]]:
    """Yield each image's (category id, label, x y width height)."""
    for boxes, labels in images:
        yield [
            (category[label_key(label)], label, (x1, y1, x2 - x1, y2 - y1))
            for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels, strict=True)
        ]
