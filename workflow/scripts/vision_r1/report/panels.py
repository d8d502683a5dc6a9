"""Panels: what every figure is made of."""

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from vision_r1.report.style import MUTED
from vision_r1.report.text import shorten, visible

TOLD_APART = 4  # experiments per panel whose lines can be told apart


def grids(
    experiments: Sequence[str], count: int, width: float, height: float, columns: int = 4, sharey: bool = False
) -> tuple[Figure, list[tuple[FigureBase, list[str], list[Axes]]]]:
    """Return a figure with a grid of `count` panels for every TOLD_APART experiments.

    Each grid is returned as its part of the figure, its experiments, and its panels.
    """
    parts = [experiments[start : start + TOLD_APART] for start in range(0, len(experiments), TOLD_APART)] or [()]
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = plt.figure(figsize=(width * columns, height * rows * len(parts)))
    found = []
    for part, names in zip(figure.subfigures(len(parts), 1, squeeze=False).flat, parts, strict=True):
        panels = part.subplots(rows, columns, squeeze=False, sharey=sharey).flat
        for axes in panels[count:]:
            axes.set_visible(False)
        found.append((part, list(names), list(panels[:count])))
    return figure, found


def same_tops(parts: Sequence[tuple[FigureBase, Sequence[str], Sequence[Axes]]]) -> None:
    """Give panels at the same place in every grid the same upper limit of y."""
    for same in zip(*(panels for _, _, panels in parts), strict=True):
        top = max(axes.get_ylim()[1] for axes in same)
        for axes in same:
            axes.set_ylim(top=top)


def legend(figure: FigureBase, all_axes: Sequence[Axes]) -> None:
    """Name every label of the panels once, above them."""
    entries = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=6, handlelength=1.6)


def missing(what: str) -> Figure:
    """Return a figure that says what is missing."""
    figure, axes = plt.subplots(figsize=(5.5, 1.1))
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"missing: {what}", ha="center", va="center", color=MUTED)
    return figure


def plain(text: str, length: int = 36) -> str:
    """Return a label cut to `length`, which matplotlib won't read as a formula."""
    return visible(shorten(text, length)).replace("$", r"\$")
