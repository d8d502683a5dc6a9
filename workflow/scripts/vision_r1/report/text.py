"""Text from outside made harmless for CSV, Markdown and LaTeX: model output and labels may hold anything.

HTML is escaped by jinja2 itself.
"""

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

from vision_r1.text import shorten, visible

# Why an interval can lie below its own number (vision_r1.evaluation.bootstrap).
BIAS = "AP of few images is too high; an interval has that bias subtracted, so it can lie below or above its number."
FORMULA = ("=", "+", "-", "@", "'")
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{MINUS SIGN}": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "…": r"\ldots{}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}
MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&!])")


def csv_text(text: str) -> str:
    """Put an apostrophe before a name that a spreadsheet would run as a formula; `csv_name` removes it."""
    text = visible(text)
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_name(text: str) -> str:
    """Undo `csv_text`."""
    return text.removeprefix("'")


def as_csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as CSV; missing values are empty cells, and no text can act as a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (head, *rows):
        writer.writerow(csv_text(cell) if isinstance(cell, str) else cell for cell in row)
    return text.getvalue()


def markdown_text(text: str, length: int = 60) -> str:
    """Escape one line of text, cut to `length`, for Markdown."""
    return MARKDOWN.sub(r"\\\1", visible(shorten(text, length)))


def latex_text(text: str, length: int = 60) -> str:
    """Escape one line of text, cut to `length`, for LaTeX."""
    escaped = "".join(LATEX.get(sign, sign) for sign in visible(shorten(text, length)))
    # The line end before it, \\, would take [ or * as its argument.
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def points(value: float | None, signed: bool = False) -> str:
    """Write an AP of 0..1 (or a difference of two) in points of 100 with one decimal, None as "missing"."""
    if value is None:
        return "missing"
    text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def duration(seconds: float | None) -> str:
    """Write seconds for readers: 48 s, 6 min 42 s, 3 h 05 min."""
    if seconds is None:
        return "missing"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
