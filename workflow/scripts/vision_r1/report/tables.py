"""The tables of the report as plain data, and the main one as Markdown and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from vision_r1.report.results import MEAN, Checkpoint, Result, lookup, pairs
from vision_r1.report.text import latex_text, markdown_text, points


@dataclass(frozen=True)
class Column:
    """One number per checkpoint: `metric` (AP, AP50, AP75) over a suite's data sets under a protocol."""

    suite: str
    protocol: str
    metric: str


@dataclass(frozen=True)
class Cell:
    """A value of 0..1 and its difference to the base model, None where missing."""

    value: float | None
    delta: float | None


@dataclass(frozen=True)
class Row:
    """One line of the main table, cells in the order of its columns."""

    checkpoint: Checkpoint
    cells: tuple[Cell, ...]


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
    """AP, AP50 and AP75 of the primary (first) suite and protocol, AP of the others."""
    return [
        Column(suite, protocol, metric)
        for number, (suite, protocol) in enumerate(measured)
        for metric in (("AP", "AP50", "AP75") if number == 0 else ("AP",))
    ]


def main_table(results: Sequence[Result], checkpoints: Sequence[str], columns: Sequence[Column]) -> list[Row]:
    """One row per checkpoint; what was not measured is None, never 0."""
    index = lookup(results)

    def value(checkpoint: str, column: Column) -> float | None:
        result = index.get((checkpoint, column.suite, column.protocol, MEAN))
        return None if result is None else getattr(result, column.metric)

    rows = []
    for checkpoint in checkpoints:
        cells = []
        for column in columns:
            own, base = value(checkpoint, column), value("base", column)
            known = own is not None and base is not None and checkpoint != "base"
            cells.append(Cell(own, own - base if known else None))
        rows.append(Row(Checkpoint.of(checkpoint), tuple(cells)))
    return rows


def spread_table(rows: Sequence[Row]) -> list[Spread]:
    """Mean and range over training seeds, for stages that were trained more than once."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
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


def markdown(results: Sequence[Result], banner: str | None) -> str:
    """The main table in Markdown: AP in points of 100, in parentheses the difference to the base model."""
    columns = main_columns(pairs(results))
    rows = main_table(results, list(dict.fromkeys(result.checkpoint for result in results)), columns)
    seeds = sorted({result.chain_seed for result in results})
    head = ["checkpoint", "training seed"]
    head += [f"{markdown_text(column.suite)} {column.metric} ({markdown_text(column.protocol)})" for column in columns]
    lines = [f"**{markdown_text(banner, length=1000)}**", ""] if banner else []
    lines += [
        f"AP in points of 100, mean over a suite's data sets; in parentheses the difference to the base model. "
        f"Chain seed {', '.join(map(str, seeds))}.",
        "",
        f"| {' | '.join(head)} |",
        f"| --- | {' | '.join(['---:'] * (len(head) - 1))} |",
    ]
    for row in rows:
        cells = [markdown_text(row.checkpoint.title), seed_text(row.checkpoint)]
        cells += [
            points(cell.value) + (f" ({points(cell.delta, signed=True)})" if cell.delta is not None else "")
            for cell in row.cells
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def latex(results: Sequence[Result], banner: str | None) -> str:
    """The main table in LaTeX (package booktabs), numbers as in `markdown`; the banner is a comment above it."""
    columns = main_columns(pairs(results))
    rows = main_table(results, list(dict.fromkeys(result.checkpoint for result in results)), columns)
    heads = [
        ["", "training", *(latex_text(f"{column.suite} {column.metric}") for column in columns)],
        ["checkpoint", "seed", *(latex_text(column.protocol) for column in columns)],
    ]
    lines = [f"% {latex_text(banner, length=1000)}"] if banner else []
    lines += [rf"\begin{{tabular}}{{ll{'r' * len(columns)}}}", r"\toprule"]
    lines += [*(" & ".join(head) + r" \\" for head in heads), r"\midrule"]
    for row in rows:
        cells = [row.checkpoint.title, seed_text(row.checkpoint)]
        cells += [
            points(cell.value) + (f" ({points(cell.delta, signed=True)})" if cell.delta is not None else "")
            for cell in row.cells
        ]
        lines.append(" & ".join(map(latex_text, cells)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def seed_text(checkpoint: Checkpoint) -> str:
    """The training seed; a dash for the base model, which the chain seed alone decides."""
    return "–" if checkpoint.stage == "base" else str(checkpoint.training_seed)
