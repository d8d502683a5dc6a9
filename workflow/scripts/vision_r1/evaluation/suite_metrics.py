"""From predictions to scores: completions are parsed, mapped to original pixels, matched once and measured."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vision_r1.data.coco import CocoDataset
from vision_r1.evaluation.bootstrap import (
    AP_METRICS,
    LEVEL,
    bias,
    interval,
    mean_over,
    resampled_ap,
    resamples,
    weighted_ap,
)
from vision_r1.evaluation.box_errors import error_costs
from vision_r1.evaluation.coco_ap import Detection, Matches, match
from vision_r1.evaluation.curves import DRAWN, mean_curves
from vision_r1.evaluation.diagnostics import answer_quality, mean_iou, slices
from vision_r1.evaluation.f1 import f1_scores
from vision_r1.evaluation.predictions import Line, by_protocol, label_reader
from vision_r1.evaluation.protocols import Reading, asked_names
from vision_r1.evaluation.readers import READERS
from vision_r1.evaluation.score_policies import SCORE_POLICIES
from vision_r1.evaluation.ties import ap_by_order, orders, over_orders
from vision_r1.files import UserError
from vision_r1.frames import Frame
from vision_r1.parsing import label_key

OF_POLICIES = (*AP_METRICS, "AR100")
GIVEN = "given"  # the score policy of a COCO results file

log = logging.getLogger(__name__)

Scores = dict[str, Any]
Samples = dict[str, np.ndarray]


class Scored(NamedTuple):
    """One data set's scores, and AP, AP50 and AP75 in each resample and, by score policy, in each order of ties."""

    scores: Scores
    samples: Samples
    by_order: dict[str, Samples]


def check_policy(policy: str) -> None:
    """Raise UserError for an unknown score policy."""
    if policy not in SCORE_POLICIES:
        raise UserError(f"--score_policy: unknown {policy!r}; choose {', '.join(SCORE_POLICIES)}")


def check_ground_truth(dataset: CocoDataset) -> None:
    """Warn of what keeps a perfect answer from scoring 1, or makes the scores another metric than they seem.

    Raises UserError where there are no images.
    """
    if not dataset.images:
        raise UserError(f"{dataset.source}: `images` is empty; there is nothing to score")
    if count := _without_area(dataset):
        log.warning("%s: boxes without area, which nothing can find: %d", dataset.source, count)
    if dataset.federated:
        log.warning(
            "%s: not every category was looked for in every image (neg_category_ids): this is not LVIS AP but "
            "pycocotools', in which a box of such a category is false",
            dataset.source,
        )


def score_suite(
    datasets: Sequence[CocoDataset],
    lines: Sequence[Line],
    source: str | Path,
    policy: str,
    readings: Mapping[str, Reading],
    count: int,
) -> tuple[dict[str, Scores], dict[str, dict[str, Samples]]]:
    """Return {protocol: {reader, mean, mean_..., incomplete, datasets: {name: scores}}}, each protocol's samples.

    lines: of predict_suite.py, from the file `source`; readings: by protocol; count: resamples.
    mean: AP, AP50 and AP75 over all data sets, None where one is incomplete: it has no ground truth, or an
    image with objects that no line asks for. precision_recall: the mean of the data sets' curves; their own scores
    leave the curves out, which would be most of the file. samples: {metric: {data set: value of each
    resample}}. Raises UserError for lines that are not about these data sets, for a protocol without a reading, and
    where there are no lines.
    """
    if not lines:
        raise UserError(f"{source}: contains no predictions; predict the suite again")
    for dataset in datasets:
        check_ground_truth(dataset)
    protocols, samples = {}, {}
    for protocol, answers in by_protocol(datasets, lines, source, readings).items():
        scored = {
            each.name: score_answers(each, answers[each.name], policy, readings[protocol], count)
            for each in datasets
            if each.name in answers
        }
        scores = {name: each.scores for name, each in scored.items()}
        curves = [own.pop("precision_recall") for own in scores.values()]
        samples[protocol] = {key: {name: each.samples[key] for name, each in scored.items()} for key in AP_METRICS}
        incomplete = [
            each.name
            for each in datasets
            if each.name not in scores or scores[each.name]["AP"] is None or scores[each.name]["counts"]["unanswered"]
        ]
        if incomplete:
            log.warning("%s: %s: no mean: incomplete data sets: %s", source, protocol, ", ".join(incomplete))
        mean = None
        if not incomplete:
            mean = {key: float(np.mean([each[key] for each in scores.values()])) for key in AP_METRICS}
        protocols[protocol] = {
            "reader": readings[protocol].reader,
            "mean": mean,
            "mean_interval": mean
            and {
                "AP": interval(mean["AP"], mean_over(samples[protocol]["AP"])),
                "objects": sum(own["interval"]["objects"] for own in scores.values()),
            },
            "mean_score_policies": mean and _mean_policies(list(scored.values())),
            "mean_F1": None if incomplete else _mean_f1([own["F1"] for own in scores.values()]),
            "precision_recall": None if incomplete else _mean_curves(curves),
            "incomplete": incomplete,
            "datasets": scores,
        }
    return protocols, samples


def score_answers(dataset: CocoDataset, lines: Sequence[Line], policy: str, reading: Reading, count: int) -> Scored:
    """Return the scores of one data set under one protocol; count: resamples.

    Every score policy is measured; the headline numbers are those of `policy`.
    """
    category_of = label_reader(asked_names(dataset, reading.names))
    parsed = [READERS[reading.reader](line["completion"], line["categories"]) for line in lines]
    boxes: list[tuple[int, int, tuple[float, float, float, float]]] = []
    points: dict[str, list[float]] = {name: [] for name in SCORE_POLICIES}
    unknown_labels = 0
    for line, answer in zip(lines, parsed, strict=True):
        own = {name: score(line, answer, reading.score) for name, score in SCORE_POLICIES.items()}
        asked = tuple(line["categories"])
        corners = Frame.of(line).to_original(answer.boxes).tolist()
        for place, ((x1, y1, x2, y2), label) in enumerate(zip(corners, answer.labels, strict=True)):
            category = category_of(label, asked)
            if category is None:
                unknown_labels += 1
                continue
            boxes.append((line["image_id"], category, (x1, y1, x2 - x1, y2 - y1)))
            for name in points:
                points[name].append(own[name][place])
    policies = {
        name: [Detection(*box, score) for box, score in zip(boxes, values, strict=True)]
        for name, values in points.items()
    }
    scored = score_detections(dataset, policies, policy, count)
    scored.scores["counts"] |= {
        "prompts": len(lines),
        "truncated": sum(bool(line["truncated"]) for line in lines),
        "unknown_labels": unknown_labels,
        "unanswered": _unanswered(dataset, lines, asked_names(dataset, reading.names)),
    }
    scored.scores["answers"] = answer_quality(lines, parsed, len(dataset.images))
    return scored


def score_detections(
    dataset: CocoDataset, policies: Mapping[str, Sequence[Detection]], policy: str, count: int
) -> Scored:
    """Return pycocotools' 12 numbers, 0..1, and all other scores of a data set; count: resamples.

    policies: score policy -> the same boxes with its scores; `policy` is the headline. Boxes of every policy are
    matched once.
    """
    detections = policies[policy]
    matches = match(dataset, detections)
    by_policy = {
        name: matches if name == policy else match(dataset, scored, areas=False) for name, scored in policies.items()
    }
    places = orders(dataset.name, len(matches.image_ids))
    by_order = {name: ap_by_order(each, places) for name, each in by_policy.items()}
    samples = resampled_ap(matches, resamples(dataset.name, len(matches.image_ids), count))
    objects = sum(not item.crowd for image in dataset.images for item in image.objects)
    scores = {
        **matches.stats,
        "score_policy": policy,
        "per_category": matches.per_category,
        "precision_recall": mean_curves(matches),
        "interval": {
            "level": LEVEL,
            "resamples": count,
            "objects": objects,
            **{key: interval(matches.stats[key], each) for key, each in samples.items()},
            "bias": {key: bias(each, matches.stats[key]) for key, each in samples.items()},
        },
        "score_policies": {
            name: {**_of_policy(each), "ties": over_orders(by_order[name])} for name, each in by_policy.items()
        },
        "F1": f1_scores(dataset, matches, detections),
        "mean_iou": mean_iou(matches, detections),
        "errors": error_costs(matches, detections),
        "slices": slices(dataset, matches),
        "counts": {
            "images": len(dataset.images),
            "ground_truth": objects,
            "ground_truth_without_area": _without_area(dataset),
            "predictions": len(detections),
        },
    }
    return Scored(scores, samples, by_order)


def _without_area(dataset: CocoDataset) -> int:
    """Return the number of objects that no box can find."""
    objects = (item for image in dataset.images for item in image.objects)
    return sum(not item.crowd and min(item.bbox[2:]) <= 0 for item in objects)


def _mean_policies(scored: Sequence[Scored]) -> dict[str, dict[str, Any]]:
    """Return the means over data sets; each is shuffled independently, so a mean varies less than one data set."""
    policies = {}
    for name in scored[0].by_order:
        each = [own.scores["score_policies"][name] for own in scored]
        by_order = {key: np.mean([own.by_order[name][key] for own in scored], axis=0) for key in AP_METRICS}
        policies[name] = {key: float(np.mean([own[key] for own in each])) for key in OF_POLICIES}
        policies[name]["ties"] = over_orders(by_order)
    return policies


def _mean_f1(scores: Sequence[Any]) -> Any:
    """Return the mean over data sets of each number of f1_scores, a nested mapping."""
    if isinstance(scores[0], Mapping):
        return {key: _mean_f1([own[key] for own in scores]) for key in scores[0]}
    return float(np.mean(scores))


def _mean_curves(curves: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    return {threshold: np.mean([curve[threshold] for curve in curves], axis=0).round(4).tolist() for threshold in DRAWN}


def _of_policy(matches: Matches) -> dict[str, float | None]:
    """Return OF_POLICIES of matches: pycocotools' own where they were computed, else the same from the matches."""
    if matches.stats:
        return {key: matches.stats[key] for key in OF_POLICIES}
    values = {key: own[0] for key, own in weighted_ap(matches, np.ones((1, len(matches.image_ids)), np.int32)).items()}
    objects = matches.objects_by_category
    recalls = matches.by_category(matches.hit)[objects > 0] / objects[objects > 0, None]
    values["AR100"] = recalls.mean() if len(recalls) else np.nan
    return {key: None if np.isnan(value) else float(value) for key, value in values.items()}


def _unanswered(dataset: CocoDataset, lines: Sequence[Line], names: Mapping[int, str]) -> int:
    """Return the number of images with objects that no line asks for. names: of categories, as they are asked for."""
    asked: dict[int, set[str]] = {}
    for line in lines:
        asked.setdefault(line["image_id"], set()).update(map(label_key, line["categories"]))
    keys = {category: label_key(name) for category, name in names.items()}
    return sum(
        any(not item.crowd and keys[item.category_id] not in asked.get(image.id, ()) for item in image.objects)
        for image in dataset.images
    )
