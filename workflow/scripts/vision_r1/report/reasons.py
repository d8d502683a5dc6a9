"""Why the scores are what they are: what each kind of error costs, and AP by object size and by objects per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from vision_r1.evaluation.box_errors import ERROR_KINDS
from vision_r1.report.sheets import ScoreCell, Sheet, Value

SIZES = ("small", "medium", "large")
UNDEFINED = ScoreCell(None, missing="–")


@dataclass(frozen=True)
class Reasons:
    """Errors and slices of one checkpoint, suite and protocol; None where a data set is incomplete, as for the suite's
    AP.

    Means are over the data sets that have objects of the kind.

    measured: whether the suite is complete; errors: kind -> (how many boxes or objects, cost in AP50 of 0..1); sizes,
    objects: slice -> AP of 0..1.
    """

    checkpoint: str
    suite: str
    protocol: str
    measured: bool
    errors: Mapping[str, tuple[int | None, float | None]]
    sizes: Mapping[str, float | None]
    objects: Mapping[str, float | None]


def reasons(
    metrics: Mapping[tuple[str, str], Mapping[str, Any]],
    checkpoints: Sequence[str],
    benchmarks: Sequence[tuple[str, str]],
) -> list[Reasons]:
    """Return one entry per checkpoint and benchmark, those without metrics too.

    metrics: (checkpoint, suite) -> what score_suite.py wrote; benchmarks: (suite, protocol).
    """
    slices = list(dict.fromkeys(name for each in metrics.values() for name in _slices(each)))
    found = []
    for suite, protocol in benchmarks:
        for checkpoint in checkpoints:
            scores = metrics.get((checkpoint, suite), {}).get("protocols", {}).get(protocol, {})
            sets = [] if scores.get("incomplete") else list(scores.get("datasets", {}).values())
            found.append(
                Reasons(
                    checkpoint,
                    suite,
                    protocol,
                    bool(sets),
                    {kind: (_total(sets, kind), _mean(sets, "errors", kind, "cost")) for kind in ERROR_KINDS},
                    {size: _mean(sets, "slices", "size", size, "AP") for size in SIZES},
                    {name: _mean(sets, "slices", "objects", name, "AP") for name in slices},
                )
            )
    return found


def _slices(metrics: Mapping[str, Any]) -> list[str]:
    """List the slices by objects per image; images without any object have no AP."""
    return [
        name
        for scores in metrics["protocols"].values()
        for values in scores["datasets"].values()
        for name in values.get("slices", {}).get("objects", {})
        if name != "0"
    ]


def _numbers(sets: Sequence[Mapping[str, Any]], *keys: str) -> list[float]:
    numbers = []
    for value in sets:
        found: Any = value
        for key in keys:
            found = (found or {}).get(key)
        if found is not None:
            numbers.append(found)
    return numbers


def _mean(sets: Sequence[Mapping[str, Any]], *keys: str) -> float | None:
    return mean(numbers) if (numbers := _numbers(sets, *keys)) else None


def _total(sets: Sequence[Mapping[str, Any]], kind: str) -> int | None:
    return int(sum(numbers)) if (numbers := _numbers(sets, "errors", kind, "count")) else None


def _defined(value: float | None, measured: bool) -> Value:
    """Return a number; without one, it is undefined where it was measured, otherwise missing."""
    return UNDEFINED if value is None and measured else value


def reason_sheets(found: Sequence[Reasons]) -> list[Sheet]:
    """Return the reasons as tables: what errors cost, how many there are, AP by object size and objects in an image."""
    names = [(reason.checkpoint, reason.suite, reason.protocol) for reason in found]
    head = ("checkpoint", "suite", "protocol")
    kinds = [kind.replace("_", " ") for kind in ERROR_KINDS]
    slices = [
        *(found[0].sizes if found else ()),
        *(f"{name} object{'s' if name != '1' else ''}" for name in (found[0].objects if found else ())),
    ]
    tables = {
        "errors": (
            "What each kind of error costs: how many points AP50 rises when it alone is fixed, mean over a suite's "
            "data sets. missed: an object that nothing finds; background: a box on nothing; duplicate: a second box "
            "on a found object; wrong class: a good box with a wrong name; loose box: the right name, IoU 0.1 to 0.5; "
            "both: wrong name and loose. A dash: undefined, since no object would be left to compute AP50 from.",
            kinds,
            [tuple(_defined(cost, count is not None) for count, cost in reason.errors.values()) for reason in found],
        ),
        "error_counts": (
            "How many errors of each kind there are, over a suite's data sets.",
            kinds,
            [tuple(count for count, _ in reason.errors.values()) for reason in found],
        ),
        "slices": (
            "AP by object size (COCO's areas: small below 32² pixels, large from 96²) and by objects in an image, mean "
            "over the data sets that have such objects. A dash: none has.",
            slices,
            [
                tuple(_defined(value, reason.measured) for value in (*reason.sizes.values(), *reason.objects.values()))
                for reason in found
            ],
        ),
    }
    return [
        Sheet(
            name,
            caption,
            (*head, *columns),
            tuple((*about, *line) for about, line in zip(names, lines, strict=True)),
            texts=3,
        )
        for name, (caption, columns, lines) in tables.items()
    ]
