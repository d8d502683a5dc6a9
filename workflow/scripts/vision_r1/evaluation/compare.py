"""Is one checkpoint better than another? A paired bootstrap of the difference in AP, AP50 and AP75.

Both were scored on the same resamples of the images within each data set, over the full category list; a category
that is absent from a resample is left out of its mean (vision_r1.evaluation.bootstrap). So each resample gives one
difference of the two checkpoints. The interval covers the choice of test images, not the randomness of training:
another training seed may differ by more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vision_r1.evaluation.bootstrap import AP_METRICS, LEVEL, interval, mean_over, recentred
from vision_r1.evaluation.published import MEAN
from vision_r1.files import UserError, check_seal, read_json, written_whole

NOTE = (
    f"Paired bootstrap over test images (random halves, bias subtracted), {LEVEL:.0%} intervals: they cover the choice "
    "of test images, not the randomness of training. objects: the annotated objects that an interval rests on. p_holm "
    "is corrected by Holm over the benchmarks of one pair of checkpoints, for each metric by itself, or over the data "
    "sets of one benchmark. A regression is a data set whose interval lies below 0."
)

SAME = 1e-12  # what rounding makes of equal differences

Samples = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]  # protocol -> metric -> data set -> each resample


@dataclass(frozen=True)
class Comparison:
    """One line of a table; values and differences are 0..1, None where one of the two checkpoints has no number; low,
    high and p also where its resamples give no interval.

    dataset: a data set (of which AP is compared only), or MEAN over the suite's data sets: a benchmark. metric: AP,
    AP50 or AP75. objects: how many the interval rests on. p: two-sided, of the bootstrap. No interval: a single image,
    or resamples that all give the same difference other than 0, which tell nothing of its spread.
    """

    checkpoint: str
    reference: str
    suite: str
    protocol: str
    dataset: str
    metric: str
    value: float | None
    reference_value: float | None
    objects: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    significant: bool = False
    regression: bool = False


@dataclass(frozen=True)
class Measured:
    """What score_suite.py wrote about one checkpoint and suite: metrics, and their values in each resample."""

    source: str
    suite: str
    metrics: Mapping[str, Any]
    samples: Samples


def write_resamples(path: str | Path, samples: Samples) -> None:
    """Write samples as one npz file, arrays by `protocol/metric/data set`."""
    arrays = {
        f"{protocol}/{metric}/{name}": own
        for protocol, metrics in samples.items()
        for metric, sets in metrics.items()
        for name, own in sets.items()
    }
    with written_whole(path, sealed=True) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def read_measured(suite: str, metrics: str | Path, resamples: str | Path) -> Measured:
    """Read the two files of score_suite.py. Raises UserError where they are not, or not of this suite."""
    content = read_json(metrics)
    if not isinstance(content, Mapping) or content.get("suite") != suite or "protocols" not in content:
        raise UserError(f"{metrics}: not the metrics of suite {suite!r}; write it again with score_suite.py")
    check_seal(resamples)
    samples: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    try:
        with np.load(resamples, allow_pickle=False) as arrays:
            for key in arrays.files:
                protocol, metric, name = key.split("/")
                samples.setdefault(protocol, {}).setdefault(metric, {})[name] = arrays[key]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{resamples}: not the resamples of score_suite.py ({error}); write it again") from None
    return Measured(str(resamples), suite, content["protocols"], samples)


def compare(
    checkpoint: str, measured: Sequence[Measured], reference: str, references: Sequence[Measured]
) -> list[Comparison]:
    """Return the table of two checkpoints: benchmarks by metric, each followed by its data sets.

    Raises UserError where the two were not scored on the same resamples.
    """
    known = {each.suite: each for each in references}
    names = (checkpoint, reference)
    benchmarks: dict[str, list[Comparison]] = {metric: [] for metric in AP_METRICS}
    sets = []
    for own in measured:
        if own.suite not in known:
            raise UserError(f"suite {own.suite!r}: no metrics of the reference {reference!r}")
        other = known[own.suite]
        for protocol in own.metrics:
            if protocol in other.metrics:
                sets.append(_holm(_datasets(names, own, other, protocol)))
                for metric, lines in benchmarks.items():
                    lines.append(_benchmark(names, own, other, protocol, metric))
    lines = zip(*map(_holm, benchmarks.values()), sets, strict=True)
    return [line for *benchmark, own in lines for line in (*benchmark, *own)]


def read_comparison(path: str | Path) -> dict[str, Any]:
    """Return what compare_checkpoints.py wrote: {note, lines}. Raises UserError where an older version wrote it."""
    content = read_json(path)
    if not isinstance(content, Mapping) or "lines" not in content:
        raise UserError(f"{path}: not a comparison of this version; write it again with compare_checkpoints.py")
    return dict(content)


def mean_intervals(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str, str], tuple[float, float]]:
    """Return (checkpoint, reference, suite, protocol) -> interval of the difference in mean AP, where it has one."""
    return {
        (line["checkpoint"], line["reference"], line["suite"], line["protocol"]): (line["low"], line["high"])
        for line in lines
        if line["dataset"] == MEAN and line["metric"] == "AP" and line["low"] is not None
    }


def _benchmark(names: tuple[str, str], own: Measured, other: Measured, protocol: str, metric: str) -> Comparison:
    means = [each.metrics[protocol]["mean"] for each in (own, other)]
    values = [None if mean is None else mean[metric] for mean in means]
    samples = [mean_over(each.samples[protocol][metric]) for each in (own, other)]
    objects = sum(each["counts"]["ground_truth"] for each in own.metrics[protocol]["datasets"].values())
    return _comparison(names, own, protocol, MEAN, metric, values, objects, samples)


def _datasets(names: tuple[str, str], own: Measured, other: Measured, protocol: str) -> list[Comparison]:
    found = [each.metrics[protocol]["datasets"] for each in (own, other)]
    lines = []
    for name in found[0]:
        if name in found[1]:
            samples = [each.samples[protocol]["AP"][name] for each in (own, other)]
            images = [each[name]["counts"]["images"] for each in found]
            if images[0] != images[1] or len(samples[0]) != len(samples[1]):
                raise UserError(f"{own.source}: {name}: not the same images and resamples as {other.source}")
            values, objects = [each[name]["AP"] for each in found], found[0][name]["counts"]["ground_truth"]
            lines.append(_comparison(names, own, protocol, name, "AP", values, objects, samples))
    return lines


def _comparison(
    names: tuple[str, str],
    measured: Measured,
    protocol: str,
    dataset: str,
    metric: str,
    values: Sequence[float | None],
    objects: int,
    samples: Sequence[np.ndarray],
) -> Comparison:
    about = (*names, measured.suite, protocol, dataset, metric, *values, objects)
    if None in values:
        return Comparison(*about)
    difference, differences = values[0] - values[1], samples[0] - samples[1]
    found = interval(difference, differences, lowest=-1.0)
    if found is None or (difference and np.nanmax(differences) - np.nanmin(differences) < SAME):
        return Comparison(*about, difference)
    low, high = found
    p = _p_value(recentred(difference, differences))
    return Comparison(*about, difference, low, high, p, regression=dataset != MEAN and high < 0)


def _p_value(differences: np.ndarray) -> float:
    """Return twice the share of resamples on the rarer side of 0, zeros counted on both sides; at most 1."""
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(differences) + 1)))


def _holm(lines: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of one family of lines."""
    return [
        replace(line, p_holm=p, significant=p is not None and p < 1 - LEVEL)
        for line, p in zip(lines, holm([line.p for line in lines]), strict=True)
    ]


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Correct the p-values of one family by Holm's step-down method; None takes no part and stays."""
    ranked = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, place) in enumerate(ranked):
        highest = max(highest, min(1.0, p * (len(ranked) - rank)))
        corrected[place] = highest
    return corrected
