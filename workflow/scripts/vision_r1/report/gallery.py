"""Test images chosen by rule, not by hand: ground truth beside the answers of some checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from vision_r1.boxes import iou
from vision_r1.data.coco import CocoDataset
from vision_r1.data.images import load_image
from vision_r1.evaluation.protocols import Names, asked_names
from vision_r1.evaluation.published import MEAN
from vision_r1.evaluation.readers import READERS, Reader
from vision_r1.experiments import BASE
from vision_r1.files import UserError
from vision_r1.frames import Frame
from vision_r1.parsing import label_key, parse
from vision_r1.report.drawing import Objects, draw, palette
from vision_r1.report.results import Checkpoint, Result, headlines, lookup
from vision_r1.report.text import points
from vision_r1.text import shorten

Key = tuple[str, Any]  # data set, image id

TYPICAL = "typical"  # why an image is shown: its change is the median


@dataclass(frozen=True)
class Answer:
    """One completion as the model wrote it, with its question and how it was read."""

    prompt: str
    completion: str
    verdict: str
    truncated: bool


@dataclass(frozen=True)
class View:
    """One drawn panel: `image` is a data URI; quality is None for the ground truth and where there is none."""

    title: str
    image: str
    count: int
    quality: float | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Example:
    """One test image: why it is shown, and its panels, ground truth first."""

    why: str
    dataset: str
    image_id: str
    change: float
    views: tuple[View, ...]


@dataclass(frozen=True)
class Gallery:
    """Examples of one suite under one protocol, none where nothing was answered; `about`: which data, and why."""

    suite: str
    protocol: str
    about: str
    examples: tuple[Example, ...]


def ground_truth(dataset: CocoDataset, names: Names) -> dict[Key, Objects]:
    """Return a data set's objects by image, under the names that they are asked for by; crowd regions are left out."""
    truth, labels = {}, asked_names(dataset, names)
    for image in dataset.images:
        items = [item for item in image.objects if not item.crowd]
        boxes = np.array([item.corners for item in items], np.float64).reshape(-1, 4)
        truth[dataset.name, image.id] = Objects(boxes, tuple(labels[item.category_id] for item in items))
    return truth


def by_image(predictions: Sequence[Mapping[str, Any]], protocol: str) -> dict[Key, list[Mapping[str, Any]]]:
    """Group one protocol's prediction lines by image; a protocol may ask several questions about one."""
    groups: dict[Key, list[Mapping[str, Any]]] = {}
    for line in predictions:
        if line["protocol"] == protocol:
            groups.setdefault((line["dataset"], line["image_id"]), []).append(line)
    return groups


def detections(lines: Sequence[Mapping[str, Any]], reader: Reader = parse) -> Objects:
    """Parse all completions on one image; boxes in original pixels."""
    boxes, labels = [np.zeros((0, 4))], []
    for line in lines:
        parsed = reader(line["completion"], line["categories"])
        boxes.append(Frame.of(line).to_original(parsed.boxes))
        labels += [label or "" for label in parsed.labels]
    return Objects(np.concatenate(boxes), tuple(labels))


def quality(predicted: Objects, truth: Objects) -> float:
    """Return 0..1: summed IoU of matched pairs of one label over (predicted + true - matched) boxes (ours).

    Missed objects, extra boxes, wrong labels and loose boxes all lower it; no boxes and no objects is 1.
    """
    if not len(predicted.boxes) and not len(truth.boxes):
        return 1.0
    same = [[label_key(a) == label_key(b) for b in truth.labels] for a in predicted.labels]
    value = iou(predicted.boxes, truth.boxes)
    value = value * np.array(same, bool).reshape(value.shape)
    matched = value[linear_sum_assignment(value, maximize=True)]
    pairs = np.count_nonzero(matched)
    return float(matched.sum() / (len(predicted.boxes) + len(truth.boxes) - pairs))


def choose(change: Mapping[Key, float], count: int, seed: int) -> list[tuple[str, Key]]:
    """Pick images: a typical one, up to three eighths most improved, as many most harmed, the rest at random by seed.

    The typical one has the median change, the lower of the two in the middle.
    """
    ranked = sorted(change, key=lambda key: (change[key], str(key)))
    typical = ranked[(len(ranked) - 1) // 2 :][: min(count, 1)]
    ranked = [key for key in ranked if key not in typical]
    share = 3 * count // 8
    improved = [key for key in reversed(ranked) if change[key] > 0][:share]
    harmed = [key for key in ranked if change[key] < 0][:share]
    rest = [key for key in ranked if key not in improved and key not in harmed]
    order = np.random.default_rng(seed).permutation(len(rest))[: count - len(typical) - len(improved) - len(harmed)]
    chosen = [(TYPICAL, key) for key in typical]
    chosen += [("most improved", key) for key in improved] + [("most harmed", key) for key in harmed]
    return chosen + [("at random", rest[place]) for place in order]


def before_and_after(galleries: Sequence[Gallery]) -> Example | None:
    """Return the first gallery's typical image: ground truth, the first checkpoint and the last. None without one."""
    for example in galleries[0].examples if galleries else ():
        if example.why == TYPICAL:
            views = {view.title: view for view in (*example.views[:2], example.views[-1])}
            return replace(example, views=tuple(views.values()))
    return None


def worst_dataset(results: Sequence[Result], suite: str, protocol: str, checkpoint: str) -> tuple[str, str] | None:
    """Return the data set on which a checkpoint has its lowest AP, and a sentence; None with fewer than two measured.

    Among equal ones, the first by name.
    """
    index, title = lookup(results), Checkpoint.of(checkpoint).title
    scores = {
        result.dataset: result.AP
        for result in results
        if (result.checkpoint, result.suite, result.protocol) == (checkpoint, suite, protocol)
        and result.dataset != MEAN
        and result.AP is not None
    }
    if len(scores) < 2:
        return None
    worst = min(sorted(scores), key=scores.__getitem__)
    base = index.get((BASE, suite, protocol, worst))
    before = "missing" if base is None else points(base.AP)
    return worst, (
        f"Data set {shorten(worst)}: of the {len(scores)} of {suite}, the one with the lowest AP of {title}, "
        f"{points(scores[worst])} (base: {before}), protocol {protocol}."
    )


def galleries(
    predictions: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
    annotations: Mapping[str, CocoDataset],
    results: Sequence[Result],
    benchmarks: Sequence[tuple[str, str]],
    evaluation: Mapping[str, Any],
    count: int = 8,
    seed: int = 0,
) -> list[Gallery]:
    """Return a gallery of the first suite, and one of the worst data set of each suite that has several.

    predictions: (checkpoint, suite) -> lines of its predictions file, the checkpoint to compare with first, the
    result last; benchmarks: (suite, protocol), of which each suite's first is shown; evaluation: the
    configuration's section. Raises UserError as `gallery`.
    """
    found: list[Gallery] = []
    last = next((checkpoint for checkpoint, _ in reversed(predictions)), BASE)
    for suite, protocol in headlines(benchmarks).items():
        answered = {Checkpoint.of(name).title: lines for (name, of), lines in predictions.items() if of == suite}
        entry = evaluation["protocols"].get(protocol, {})
        reader, names = READERS[entry.get("reader", "strict")], entry.get("names", {})
        choices: list[tuple[str | None, str]] = [] if found else [(None, f"All of {suite}, protocol {protocol}.")]
        if len(evaluation["suites"].get(suite, ())) > 1:
            choices.append(worst_dataset(results, suite, protocol, last) or ("", f"The worst data set of {suite}."))
        for dataset, about in choices:
            examples = gallery(answered, annotations, protocol, count, seed, reader, dataset, names)
            found.append(Gallery(suite, protocol, about, tuple(examples)))
    return found


def gallery(
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    annotations: Mapping[str, CocoDataset],
    protocol: str,
    count: int = 8,
    seed: int = 0,
    reader: Reader = parse,
    dataset: str | None = None,
    names: Names = MappingProxyType({}),
) -> list[Example]:
    """Draw `count` test images. The first checkpoint of `predictions` is compared with the last.

    predictions: title -> lines of its predictions file; annotations: by data set;
    reader: how the protocol's completions are read; dataset: the only one to choose from, None for all; names: by data
    set, the names under which the protocol asks for its categories, where they differ.
    Raises UserError when annotations or an image are missing.
    """
    if not predictions:
        return []
    answered = {title: by_image(lines, protocol) for title, lines in predictions.items()}
    common = {key for key in set.intersection(*map(set, answered.values())) if dataset in (None, key[0])}
    for name in sorted({dataset for dataset, _ in common} - set(annotations)):
        raise UserError(f"predictions are about data set {name!r}, whose annotations are missing; make them again")
    truth = {key: objects for each in annotations.values() for key, objects in ground_truth(each, names).items()}
    for key in sorted(common - set(truth), key=str):
        raise UserError(f"image {key[1]!r} of the predictions is not in the annotations of {key[0]!r}")
    colours = {name: palette(asked_names(each, names).values()) for name, each in annotations.items()}
    first, last = list(answered)[0], list(answered)[-1]
    scores = {
        title: {key: quality(detections(answered[title][key], reader), truth[key]) for key in common}
        for title in dict.fromkeys((first, last))
    }
    change = {key: scores[last][key] - scores[first][key] for key in common}
    return [
        Example(
            why,
            key[0],
            str(key[1]),
            change[key],
            _views({title: lines[key] for title, lines in answered.items()}, truth[key], reader, colours[key[0]]),
        )
        for why, key in choose(change, count, seed)
    ]


def _views(
    answers: Mapping[str, Sequence[Mapping[str, Any]]], truth: Objects, reader: Reader, colours: Mapping[str, str]
) -> tuple[View, ...]:
    path = next(iter(answers.values()))[0]["file_name"]
    image = load_image(path)
    shown = View("ground truth", draw(image, truth, colours), len(truth.boxes), None, ())
    return shown, *(view(title, image, lines, colours, reader, truth) for title, lines in answers.items())


def view(
    title: str,
    image: Image.Image,
    lines: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    reader: Reader = parse,
    truth: Objects | None = None,
) -> View:
    """Return the panel of one checkpoint's answers about an image: its lines of a predictions file."""
    drawn_boxes = detections(lines, reader)
    texts = tuple(
        Answer(
            line["prompt"],
            line["completion"],
            str(reader(line["completion"], line["categories"]).verdict),
            bool(line["truncated"]),
        )
        for line in lines
    )
    good = None if truth is None else quality(drawn_boxes, truth)
    return View(title, draw(image, drawn_boxes, colours), len(drawn_boxes.boxes), good, texts)
