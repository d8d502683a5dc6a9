"""Anchors: published numbers beside ours, under the same protocol. Only then is a gain of ours worth anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vision_r1.evaluation.compare import MEAN
from vision_r1.files import UserError

REPRODUCED, NOT_REPRODUCED, NOT_RUN = "reproduced", "not reproduced", "not run"


@dataclass(frozen=True)
class Anchor:
    """A published number, `value` and `tolerance` 0..1, of a model on the hub (`id`, None: not trained here).

    checkpoint: whose number it is in our chain; recipe: the preset by which it was trained; dataset: a data set, or
    MEAN over the suite.
    """

    model: str
    id: str | None
    checkpoint: str
    suite: str
    protocol: str
    dataset: str
    metric: str
    value: float
    tolerance: float
    source: str
    recipe: str


def read_published(path: str | Path) -> list[Anchor]:
    """Read config/published.yaml. Raises UserError naming the entry that lacks something."""
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["published"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a list `published` in YAML ({error!r})") from None
    anchors = []
    for number, entry in enumerate(entries):
        try:
            about = [entry[key] for key in ("model", "id", "checkpoint", "suite", "protocol")]
            anchors += [
                Anchor(
                    *about,
                    dataset,
                    metric,
                    value / 100,
                    entry["tolerance"][MEAN if dataset == MEAN else "dataset"] / 100,
                    entry["source"],
                    entry["recipe"],
                )
                for dataset, values in entry["values"].items()
                for metric, value in values.items()
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: entry {number}: {error!r}; mend it as the others") from None
    return anchors


def check(
    anchors: Sequence[Anchor], model_id: str | None, metrics: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return each anchor with `measured` (0..1 or None) and `status`: REPRODUCED, NOT_REPRODUCED or NOT_RUN.

    metrics: (checkpoint, suite) -> metrics of score_suite.py of the model `model_id`.
    """
    lines = []
    for anchor in anchors:
        measured = None
        if anchor.id is not None and anchor.id == model_id:
            measured = _measured(anchor, metrics.get((anchor.checkpoint, anchor.suite), {}))
        status = NOT_RUN
        if measured is not None:
            near = abs(measured - anchor.value) <= anchor.tolerance + 1e-12
            status = REPRODUCED if near else NOT_REPRODUCED
        lines.append({**vars(anchor), "measured": measured, "status": status})
    return lines


def _measured(anchor: Anchor, metrics: Mapping[str, Any]) -> float | None:
    """Return our number with the score 0.99 for every box, as published, whatever the run's own score policy is."""
    scores = metrics.get("protocols", {}).get(anchor.protocol, {})
    if anchor.dataset == MEAN:
        policies = scores.get("mean_score_policies")
    else:
        policies = scores.get("datasets", {}).get(anchor.dataset, {}).get("score_policies")
    return (policies or {}).get("constant", {}).get(anchor.metric)
