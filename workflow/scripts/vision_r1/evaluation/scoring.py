"""From predictions to scores: completions are parsed, mapped to original pixels and measured."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vision_r1.data.coco import CocoDataset
from vision_r1.evaluation.coco_ap import Detection, average_precision
from vision_r1.files import UserError
from vision_r1.frames import Frame
from vision_r1.parsing import Parsed, label_key, parse

Line = Mapping[str, Any]


def constant_scores(line: Line, parsed: Parsed) -> list[float]:
    """Give every box the score 0.99 (released code): the order in the completion ranks the boxes."""
    return [0.99] * len(parsed.boxes)


# Policy -> function of a predictions line and its n detections that returns their n scores.
SCORE_POLICIES: dict[str, Callable[[Line, Parsed], list[float]]] = {"constant": constant_scores}


_FIELDS = {
    *("dataset", "protocol", "image_id", "categories", "completion", "truncated"),
    *("frame", "width", "height", "input_width", "input_height"),
}


def score_suite(datasets: Sequence[CocoDataset], lines: Iterable[Line], source: str, policy: str) -> dict[str, Any]:
    """Return {protocol: {mean, incomplete, datasets: {name: scores}}}.

    mean: AP, AP50 and AP75 over all data sets, None where one is incomplete: it has no ground truth, or an
    image with objects of which no line tells. Raises UserError, naming `source`, for a line of an unknown
    data set or image.
    """
    known = {dataset.name: dataset for dataset in datasets}
    images = {dataset.name: {image.id for image in dataset.images} for dataset in datasets}
    grouped: dict[str, dict[str, list[Line]]] = {}
    for number, line in enumerate(lines, start=1):
        where = f"{source}: line {number}"
        if not isinstance(line, Mapping):
            raise UserError(f"{where}: not an object; predict the suite again")
        missing = _FIELDS - line.keys()
        if missing:
            raise UserError(f"{where}: no field {min(missing)!r}; predict the suite again")
        if line["dataset"] not in known:
            raise UserError(f"{where}: data set {line['dataset']!r} is not among {', '.join(known)}")
        if line["image_id"] not in images[line["dataset"]]:
            annotations = known[line["dataset"]].source
            raise UserError(f"{where}: image_id {line['image_id']!r} is not in {annotations}; predict the suite again")
        grouped.setdefault(line["protocol"], {}).setdefault(line["dataset"], []).append(line)
    if not grouped:
        raise UserError(f"{source}: holds no predictions; predict the suite again")
    return {protocol: _protocol(known, answers, policy) for protocol, answers in grouped.items()}


def _protocol(known: Mapping[str, CocoDataset], answers: Mapping[str, list[Line]], policy: str) -> dict[str, Any]:
    scores = {name: _dataset(known[name], answers[name], policy) for name in known if name in answers}
    incomplete = [name for name in known if name not in scores or not _is_complete(known[name], answers[name])]
    mean = None
    if not incomplete:
        mean = {key: sum(each[key] for each in scores.values()) / len(scores) for key in ("AP", "AP50", "AP75")}
    return {"mean": mean, "incomplete": incomplete, "datasets": scores}


def _is_complete(dataset: CocoDataset, lines: Sequence[Line]) -> bool:
    with_objects = {image.id for image in dataset.images if any(not item.crowd for item in image.objects)}
    return bool(with_objects) and with_objects <= {line["image_id"] for line in lines}


def _dataset(dataset: CocoDataset, lines: Sequence[Line], policy: str) -> dict[str, Any]:
    ids = {label_key(name): category for category, name in dataset.categories.items()}
    detections, verdicts, unknown_labels = [], Counter(), 0
    for line in lines:
        parsed = parse(line["completion"], line["categories"])
        verdicts[str(parsed.verdict)] += 1
        boxes = Frame.of(line).to_original(parsed.boxes).tolist()
        scores = SCORE_POLICIES[policy](line, parsed)
        for (x1, y1, x2, y2), label, score in zip(boxes, parsed.labels, scores, strict=True):
            category = ids.get(label_key(label))
            if category is None:
                unknown_labels += 1
            else:
                detections.append(Detection(line["image_id"], category, (x1, y1, x2 - x1, y2 - y1), score))
    return {
        **average_precision(dataset, detections),
        "images": len(dataset.images),
        "ground_truth": sum(not item.crowd for image in dataset.images for item in image.objects),
        "predictions": len(detections),
        "unknown_labels": unknown_labels,
        "prompts": len(lines),
        "truncated": sum(line["truncated"] for line in lines),
        "verdicts": dict(sorted(verdicts.items())),
    }
