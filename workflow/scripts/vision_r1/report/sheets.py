"""Tables for readers: defined once, for the page and as CSV, Markdown and LaTeX files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_r1.files import write_text
from vision_r1.report.text import as_csv, latex_text, markdown_text, points


class Difference(float):
    """A difference of two APs, shown with its sign."""


@dataclass(frozen=True)
class ScoreCell:
    """An AP of 0..1 and its difference to the base model with a 95 % interval, None where missing.

    significant: after Holm's correction; missing: the word shown where `value` is None.
    """

    value: float | None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    significant: bool = False
    missing: str = "missing"

    def __str__(self) -> str:
        if self.value is None:
            return self.missing
        if self.delta is None:
            return points(self.value)
        interval = ""
        if self.low is not None and self.high is not None:
            interval = f", {points(self.low, signed=True)} to {points(self.high, signed=True)}"
        star = " *" if self.significant else ""
        return f"{points(self.value)} ({points(self.delta, signed=True)}{interval}){star}"


Value = str | int | float | ScoreCell | None  # a float is an AP of 0..1, an int a count, None missing


@dataclass(frozen=True)
class Sheet:
    """name: stem of its files; texts: how many columns, from the left, are names; lines: as long as `head`.

    length: characters after which a cell is cut off; names: how many name columns a line keeps where lines are grouped
    by the others, suite and protocol.
    """

    name: str
    caption: str
    head: tuple[str, ...]
    lines: tuple[tuple[Value, ...], ...]
    texts: int = 1
    length: int = 60
    names: int = 1

    @property
    def parts(self) -> dict[str, list[tuple[Value, ...]]]:
        """The lines grouped by the name columns after the first ones: suite and protocol."""
        parts: dict[str, list[tuple[Value, ...]]] = {}
        for line in self.lines:
            parts.setdefault(", ".join(map(str, line[self.names : self.texts])), []).append(line)
        return parts


def shown(value: Value) -> str:
    """Write a value as a reader sees it: AP in points of 100."""
    if value is None or isinstance(value, float):
        return points(value, signed=isinstance(value, Difference))
    return f"{value:,}" if isinstance(value, int) else str(value)


def as_markdown(sheets: Sequence[Sheet], banner: str | None = None) -> str:
    """Return sheets as Markdown tables, each under its caption, `banner` above all."""
    blocks = [f"**{markdown_text(banner, length=1000)}**"] if banner else []
    for sheet in sheets:
        marks = ["---" if number < sheet.texts else "---:" for number in range(len(sheet.head))]
        rows = [
            map(markdown_text, sheet.head),
            marks,
            *((markdown_text(shown(cell), sheet.length) for cell in line) for line in sheet.lines),
        ]
        blocks.append(markdown_text(sheet.caption, length=2000))
        blocks.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(blocks) + "\n"


def as_latex(sheets: Sequence[Sheet], banner: str | None = None) -> str:
    """Return sheets as LaTeX tabulars (packages booktabs and graphicx); banner and captions are comments above them.

    Scores stand without differences, heads of numbers are rotated, and what is still too wide for a line is shrunk.
    """
    lines = [f"% {latex_text(banner, length=1000)}"] if banner else []
    for sheet in sheets:
        head = [latex_text(name) for name in sheet.head]
        rotated = [rf"\rotatebox{{90}}{{{name}}}" for name in head[sheet.texts :]]
        numbers = range(sheet.texts, len(sheet.head))
        kinds = ["p{5cm}" if any(len(_brief(line[at])) > 40 for line in sheet.lines) else "r" for at in numbers]
        lines += [
            *([""] if lines else []),
            f"% {latex_text(sheet.caption, length=2000)}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{'l' * sheet.texts}{''.join(kinds)}}}",
            r"\toprule",
            " & ".join(head[: sheet.texts] + rotated) + r" \\",
            r"\midrule",
            *(" & ".join(latex_text(_brief(cell), sheet.length) for cell in line) + r" \\" for line in sheet.lines),
            r"\bottomrule",
            r"\end{tabular}}",
        ]
    return "\n".join(lines) + "\n"


def _brief(cell: Value) -> str:
    if isinstance(cell, ScoreCell) and cell.value is not None:
        return points(cell.value) + (" *" if cell.significant else "")
    return shown(cell)


def write_sheet(folder: str | Path, sheet: Sheet, banner: str | None = None) -> None:
    """Write <name>.csv, its AP as 0..1, .md and .tex into `folder`."""
    stem = Path(folder) / sheet.name
    rows = [[cell.value if isinstance(cell, ScoreCell) else cell for cell in line] for line in sheet.lines]
    write_text(stem.with_name(f"{sheet.name}.csv"), as_csv(sheet.head, rows))
    write_text(stem.with_name(f"{sheet.name}.md"), as_markdown([sheet], banner))
    write_text(stem.with_name(f"{sheet.name}.tex"), as_latex([sheet], banner))
