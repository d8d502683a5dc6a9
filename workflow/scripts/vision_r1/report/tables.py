"""The tables of scores: the main one, every data set, the spread over training seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from statistics import mean
from typing import Any

from vision_r1.evaluation.bootstrap import AP_METRICS
from vision_r1.evaluation.published import MEAN
from vision_r1.experiments import BASE
from vision_r1.report.results import Checkpoint, Result, headlines, lookup, pairs
from vision_r1.report.sheets import Difference, ScoreCell, Sheet
from vision_r1.report.text import BIAS, points

_ABOUT = ("checkpoint", "suite", "protocol")


@dataclass(frozen=True)
class Column:
    """One number per checkpoint: `metric` (AP, AP50, AP75) on a data set, or MEAN over the suite's, by protocol."""

    suite: str
    protocol: str
    metric: str
    dataset: str = MEAN


@dataclass(frozen=True)
class ScoreRow:
    """One line of the main table, cells in the order of its columns; published: the numbers are others'."""

    checkpoint: Checkpoint
    cells: tuple[ScoreCell, ...]
    published: bool = False


@dataclass(frozen=True)
class Spread:
    """AP over training seeds: one stage's mean, lowest and highest value per column, None where one is missing."""

    title: str
    training_seeds: tuple[int, ...]
    cells: tuple[tuple[float, float, float] | None, ...]


@dataclass(frozen=True)
class DatasetTable:
    """AP by data set under one protocol: a line per data set, then the mean; cells by checkpoint."""

    suite: str
    protocol: str
    checkpoints: tuple[Checkpoint, ...]
    lines: tuple[tuple[str, tuple[float | None, ...]], ...]


def main_columns(measured: Sequence[tuple[str, str]]) -> list[Column]:
    """AP, AP50 and AP75 of the primary (first) suite and protocol, AP of the others; means over a suite's data sets."""
    return [
        Column(suite, protocol, metric)
        for number, (suite, protocol) in enumerate(measured)
        for metric in (AP_METRICS if number == 0 else ("AP",))
    ]


def dataset_columns(measured: Sequence[tuple[str, str]], suites: Mapping[str, Sequence[str]]) -> list[Column]:
    """AP of each data set and the mean by each suite's headline (first) protocol, of the first suite AP50, AP75, too.

    suites: suite -> its data sets.
    """
    columns = []
    for suite, protocol in headlines(measured).items():
        if len(names := suites[suite]) > 1:
            columns += [Column(suite, protocol, "AP", name) for name in names]
        metrics = AP_METRICS if suite == measured[0][0] else ("AP",)
        columns += [Column(suite, protocol, metric) for metric in metrics]
    return columns


def column_groups(columns: Sequence[Column]) -> list[tuple[str, str, int]]:
    """Return (suite, protocol, how many columns) of neighbouring columns of one benchmark."""
    groups = groupby(columns, key=lambda column: (column.suite, column.protocol))
    return [(suite, protocol, len(list(group))) for (suite, protocol), group in groups]


def main_table(
    results: Sequence[Result],
    checkpoints: Sequence[str],
    columns: Sequence[Column],
    published: Sequence[Mapping[str, Any]] = (),
) -> list[ScoreRow]:
    """One row per checkpoint, the published one below its own where there is one; what was not measured is None, not 0.

    published: lines of `vision_r1.report.comparability.published_numbers`.
    """
    index = lookup(results)
    theirs_at = {
        (line["checkpoint"], Column(line["suite"], line["protocol"], line["metric"], line["dataset"])): line["value"]
        for line in published
    }

    def ours(checkpoint: str, column: Column) -> ScoreCell:
        result = index.get((checkpoint, column.suite, column.protocol, column.dataset))
        base = index.get((BASE, column.suite, column.protocol, column.dataset))
        own = result and getattr(result, column.metric)
        if own is None or checkpoint == BASE:
            return ScoreCell(own)
        reference = base and getattr(base, column.metric)
        delta = None if reference is None else own - reference
        start = "" if column.metric == "AP" else f"{column.metric}_"
        low, high = (getattr(result, f"{start}delta_{end}") for end in ("low", "high"))
        return ScoreCell(own, delta, low, high, getattr(result, f"{start}significant") == "yes")

    def theirs(checkpoint: str, column: Column) -> ScoreCell:
        own, base = theirs_at.get((checkpoint, column)), theirs_at.get((BASE, column))
        known = own is not None and base is not None and checkpoint != BASE
        return ScoreCell(own, own - base if known else None, missing="–")

    rows = []
    for name in checkpoints:
        rows.append(ScoreRow(Checkpoint.of(name), tuple(ours(name, column) for column in columns)))
        if any((name, column) in theirs_at for column in columns):
            rows.append(
                ScoreRow(Checkpoint.of(name), tuple(theirs(name, column) for column in columns), published=True)
            )
    return rows


def spread_table(rows: Sequence[ScoreRow]) -> list[Spread]:
    """Mean and range over training seeds, for stages that were trained more than once."""
    groups: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if not row.published:
            groups.setdefault(row.checkpoint.title, []).append(row)
    return [
        Spread(
            title,
            tuple(row.checkpoint.training_seed for row in group),
            tuple(
                _spread([cell.value for cell in column]) for column in zip(*(row.cells for row in group), strict=True)
            ),
        )
        for title, group in groups.items()
        if len(group) > 1
    ]


def _spread(values: Sequence[float | None]) -> tuple[float, float, float] | None:
    known = [value for value in values if value is not None]
    return (mean(known), min(known), max(known)) if len(known) == len(values) else None


def dataset_tables(results: Sequence[Result], checkpoints: Sequence[str]) -> list[DatasetTable]:
    """AP by data set, one table per protocol of every suite that has more than one data set."""
    index, tables = lookup(results), []
    for suite, protocol in pairs(results):
        names = dict.fromkeys(
            result.dataset for result in results if (result.suite, result.protocol) == (suite, protocol)
        )
        names.pop(MEAN, None)
        if len(names) < 2:
            continue
        found = {
            (name, checkpoint): index[key].AP if (key := (checkpoint, suite, protocol, name)) in index else None
            for name in (*names, MEAN)
            for checkpoint in checkpoints
        }
        lines = tuple((name, tuple(found[name, checkpoint] for checkpoint in checkpoints)) for name in (*names, MEAN))
        tables.append(DatasetTable(suite, protocol, tuple(map(Checkpoint.of, checkpoints)), lines))
    return tables


def datasets_of(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return suite -> its data sets, in their order of appearance."""
    suites: dict[str, dict[str, None]] = {}
    for result in results:
        names = suites.setdefault(result.suite, {})
        if result.dataset != MEAN:
            names[result.dataset] = None
    return {suite: list(names) for suite, names in suites.items()}


def main_sheets(results: Sequence[Result], published: Sequence[Mapping[str, Any]] = ()) -> list[Sheet]:
    """The main table and that of every data set, as they are written to files."""
    measured, seeds = pairs(results), sorted({result.chain_seed for result in results})
    checkpoints = list(dict.fromkeys(result.checkpoint for result in results))
    about = (
        "AP in points of 100; in Markdown with the difference to the base model and its 95 % interval over test images "
        f"in parentheses; * significant after Holm's correction. {BIAS} Chain seed {', '.join(map(str, seeds))}."
    )
    tables = {
        f"Means over a suite's data sets. {about}": main_columns(measured),
        f"Every data set, headline protocols. {about}": dataset_columns(measured, datasets_of(results)),
    }
    return [
        _main_sheet(caption, main_table(results, checkpoints, columns, published), columns)
        for caption, columns in tables.items()
    ]


def _main_sheet(caption: str, rows: Sequence[ScoreRow], columns: Sequence[Column]) -> Sheet:
    heads = [
        f"{column.suite if column.dataset == MEAN else column.dataset} {column.metric} ({column.protocol})"
        for column in columns
    ]
    lines = [
        (
            f"{'published: ' if row.published else ''}{row.checkpoint.title}",
            "" if row.published else seed_text(row.checkpoint),
        )
        + row.cells
        for row in rows
    ]
    return Sheet("results", caption, ("checkpoint", "training seed", *heads), tuple(lines), texts=2)


def comparison_sheet(comparison: Mapping[str, Any]) -> Sheet:
    """Every pair's difference on each benchmark, its interval, and the data sets that got worse."""
    keys = ("checkpoint", "reference", "suite", "protocol")
    lines, about = comparison["lines"], itemgetter(*keys)
    worse: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        if line["regression"]:
            worse.setdefault(about(line), []).append(f"{line['dataset']} {points(line['difference'], signed=True)}")
    return Sheet(
        "differences",
        "AP against the base model, the checkpoints that training and its GRPO started from, and the SFT baseline of "
        "its seed, in points of 100, with 95 % intervals and the objects they rest on; p after Holm's correction; "
        f"regressions: data sets whose interval lies below 0. {BIAS}",
        ("checkpoint", "against", *keys[2:], "difference", "from", "to", "objects", "p, corrected", "regressions"),
        tuple(
            (
                *about(line),
                *(None if line[key] is None else Difference(line[key]) for key in ("difference", "low", "high")),
                line["objects"],
                None if line["p_holm"] is None else f"{line['p_holm']:.3f}",
                ", ".join(worse.get(about(line), ["none"])),
            )
            for line in lines
            if line["dataset"] == MEAN and line["metric"] == "AP"
        ),
        texts=len(keys),
        names=2,
        length=1000,  # the regressions, all of them
    )


def interval_sheet(results: Sequence[Result]) -> Sheet:
    """Every checkpoint's AP on every benchmark with its own interval."""
    return Sheet(
        "intervals",
        f"Mean AP with the 95 % interval of AP over ever more such images, and the objects that it rests on. {BIAS}",
        (*_ABOUT, "AP", "from", "to", "objects"),
        tuple(
            attrgetter(*_ABOUT, "AP", "AP_low", "AP_high", "ground_truth")(result)
            for result in results
            if result.dataset == MEAN
        ),
        texts=3,
    )


def policy_sheet(results: Sequence[Result], checkpoints: Sequence[str]) -> Sheet:
    """Score policies side by side: AP of the same boxes, a line per checkpoint and benchmark."""
    policies = {
        "constant": "constant",
        "constant_expected": "expected",
        "constant_lowest": "lowest",
        "constant_highest": "highest",
        "order": "order",
        "token_probability": "token probability",
    }
    return Sheet(
        "score_policies",
        "Score policies side by side: AP of the same boxes, scored by a constant (as published), by their place in the "
        "answer, or by the probability of their tokens. Boxes of one score are ranked by the order of images: "
        "pycocotools' own order is shown with the expectation and the range over random ones. Means over a suite's "
        "data sets.",
        (*_ABOUT, *policies.values()),
        tuple(
            attrgetter(*_ABOUT, *(f"AP_{policy}" for policy in policies))(result)
            for result in results
            if result.dataset == MEAN and result.checkpoint in checkpoints
        ),
        texts=3,
    )


def checkpoint_text(name: str) -> str:
    """Name a checkpoint for readers, with its training seed unless that is 0."""
    place = Checkpoint.of(name)
    return place.title + (f", seed {place.training_seed}" if place.training_seed else "")


def seed_text(checkpoint: Checkpoint) -> str:
    """The training seed; a dash for the base model, which depends on the chain seed alone."""
    return "–" if checkpoint.stage == BASE else str(checkpoint.training_seed)
