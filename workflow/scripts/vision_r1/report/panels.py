"""Panels: what every figure is made of."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from vision_r1.files import written_whole
from vision_r1.report.style import MUTED
from vision_r1.text import shorten_middle, visible

STYLE_SHEET = Path(__file__).with_name("style.mplstyle")
TOLD_APART = 4  # experiments per panel whose lines can be told apart
SPARSE = {"markevery": 0.25, "markersize": 4.5}  # markers that tell curves apart and don't hide them
TITLE = 22  # letters of a title as wide as the narrowest panel
NARROWEST = 4.9  # inches of a figure: room for the names in the legend


def grids(
    experiments: Sequence[str], count: int, width: float, height: float, columns: int = 4, sharey: bool = False
) -> tuple[Figure, list[tuple[FigureBase, list[str], list[Axes]]]]:
    """Return a figure with a grid of `count` panels for every TOLD_APART experiments.

    Each grid is returned as its part of the figure, its experiments, and its panels.
    """
    parts = [experiments[start : start + TOLD_APART] for start in range(0, len(experiments), TOLD_APART)] or [()]
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = plt.figure(figsize=(max(width * columns, NARROWEST), height * rows * len(parts)))
    found = []
    for part, names in zip(figure.subfigures(len(parts), 1, squeeze=False).flat, parts, strict=True):
        panels = part.subplots(rows, columns, squeeze=False, sharey=sharey).flat
        for axes in panels[count:]:
            axes.set_visible(False)
        found.append((part, list(names), list(panels[:count])))
    return figure, found


def write(figure: Figure, path: str | Path) -> None:
    """Write a figure; the path's ending, .svg for the page or .png for slides, chooses the format."""
    kind = Path(path).suffix.lstrip(".")
    looks = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 200, "facecolor": "white"}
    with written_whole(path) as partial:
        figure.savefig(partial, format=kind, **looks)


def save(figure: Figure, stem: str | Path, note: str | None = None) -> None:
    """Write a figure as <stem>.svg, and as <stem>.png with `note` under it; close it."""
    write(figure, f"{stem}.svg")
    if note:
        # Below the figure, which the PNG grows by; at this size, 18 letters are an inch.
        lines = fill(plain(note, 1000), round(18 * figure.get_figwidth()))
        figure.text(0.005, -0.01, lines, va="top", fontsize=7.5, color=MUTED)
    write(figure, f"{stem}.png")
    plt.close(figure)


def from_zero(axes: Axes, axis: str = "y") -> None:
    """Start an axis at 0. The margin is a share of the whole axis: one of the data's range could cut a marker."""
    axes.update_datalim([(0, 0)], updatex=axis == "x", updatey=axis == "y")
    axes.autoscale(axis=axis)
    axes.set(**{f"{axis}lim": (0, None)})


def same_tops(parts: Sequence[tuple[FigureBase, Sequence[str], Sequence[Axes]]]) -> None:
    """Give panels at the same place in every grid the same upper limit of y."""
    for same in zip(*(panels for _, _, panels in parts), strict=True):
        top = max(axes.get_ylim()[1] for axes in same)
        for axes in same:
            axes.set_ylim(top=top)


def legend(figure: FigureBase, all_axes: Sequence[Axes]) -> None:
    """Name every label of the panels once, above them, in as many columns as the figure is wide."""
    entries = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    names = told_apart(entries)
    for columns in range(min(len(names), 6), 0, -1):
        drawn = figure.legend(entries.values(), names, loc="outside upper left", ncols=columns, handlelength=1.6)
        if columns == 1 or drawn.get_window_extent().width <= figure.bbox.width:
            whole = figure.get_figure(root=True)
            whole.set_figheight(whole.get_figheight() + 0.2 * ((len(names) - 1) // columns))  # inches of more lines
            break
        drawn.remove()


def missing(what: str) -> Figure:
    """Return a figure that says what is missing."""
    figure, axes = plt.subplots(figsize=(5.5, 1.1))
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"missing: {what}", ha="center", va="center", color=MUTED)
    return figure


def plain(text: str, length: int = 36) -> str:
    """Return a label cut to `length`; $ starts no formula."""
    return visible(shorten_middle(text, length)).replace("$", r"\$")


def benchmark_title(suite: str, protocol: str) -> str:
    """Name a benchmark above its panel: in two lines where one would reach into the next panel."""
    one = f"{suite} · {protocol}"
    return plain(one) if len(one) <= TITLE else f"{plain(suite, TITLE)}\n{plain(protocol, TITLE)}"


def cycled(number: int) -> dict[str, str]:
    """Return colour and marker of a panel's experiment: both differ, for readers of grey print."""
    cycle = plt.rcParams["axes.prop_cycle"].by_key()
    return {key: cycle[key][number] for key in ("color", "marker")}


def told_apart(names: Iterable[str], length: int = 36) -> list[str]:
    """Return names as labels cut to `length`; those that are equal then are numbered."""
    cut = [plain(name, length) for name in names]
    return [
        f"{label} ({cut[:place].count(label) + 1})" if cut.count(label) > 1 else label
        for place, label in enumerate(cut)
    ]
