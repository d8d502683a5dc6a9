"""Panels: what every figure is made of."""

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from vision_r1.report.style import MUTED
from vision_r1.report.text import shorten, visible


def grid(count: int, width: float, height: float, columns: int = 4, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels, each so large (inches), and the panels."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, sharey=sharey)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:count])


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
    """A label that matplotlib neither reads as a formula nor lets run away."""
    return visible(shorten(text, length)).replace("$", r"\$")
