"""Anchors: published numbers beside ours, under the same protocol. A gain counts only where they are reproduced.

A published AP depends on the order of boxes with equal scores, and so does ours (vision_r1.evaluation.ties): it is
reproduced where it lies within its tolerance of the range that ours has over such orders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1.evaluation.published import MEAN, Anchor, Place

REPRODUCED, NOT_REPRODUCED, NOT_RUN = "reproduced", "not reproduced", "not run"

Metrics = Mapping[tuple[str, str], Mapping[str, Any]]  # (checkpoint, suite) -> metrics of score_suite.py


def check(anchors: Sequence[Anchor], model_id: str | None, metrics: Metrics) -> list[dict[str, Any]]:
    """Return each anchor with `measured`, `low` and `high` (0..1 or None: ours and its range) and its `status`.

    metrics: of the model `model_id`; status: REPRODUCED, NOT_REPRODUCED or NOT_RUN.
    """
    lines = []
    for anchor in anchors:
        place = Place(anchor.suite, anchor.protocol, anchor.dataset, anchor.metric)
        ours = anchor.id is not None and anchor.id == model_id
        measured, low, high = measure(metrics, anchor.checkpoint, place) if ours else (None, None, None)
        status = NOT_RUN
        if measured is not None:
            allowed = anchor.tolerance + 1e-12
            near = low - allowed <= anchor.value <= high + allowed
            status = REPRODUCED if near else NOT_REPRODUCED
        lines.append({**vars(anchor), "measured": measured, "low": low, "high": high, "status": status})
    return lines


def measure(metrics: Metrics, checkpoint: str, place: Place) -> tuple[float | None, float | None, float | None]:
    """Return our number, and its lowest and highest over orders of equal scores; None where not measured.

    Every box has the protocol's one score, as published, whatever the run's own score policy is.
    """
    scores = metrics.get((checkpoint, place.suite), {}).get("protocols", {}).get(place.protocol, {})
    if place.dataset == MEAN:
        policies = scores.get("mean_score_policies")
    else:
        policies = scores.get("datasets", {}).get(place.dataset, {}).get("score_policies")
    constant = (policies or {}).get("constant", {})
    measured = constant.get(place.metric)
    if measured is None:
        return None, None, None
    around = constant.get("ties", {}).get(place.metric) or {"low": measured, "high": measured}
    return measured, min(measured, around["low"]), max(measured, around["high"])
