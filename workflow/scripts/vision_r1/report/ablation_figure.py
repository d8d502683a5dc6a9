"""The ablations' figure: what each experiment changes against the first one, with both intervals."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vision_r1.report.ablations import Line
from vision_r1.report.panels import STYLE_SHEET, benchmark_title, legend, missing, plain, save, told_apart
from vision_r1.report.results import headlines
from vision_r1.report.style import MUTED


def draw(lines: Sequence[Line], reference: str, stem: str | Path, note: str | None) -> None:
    """Write the figure as <stem>.svg and <stem>.png."""
    with plt.style.context(STYLE_SHEET):
        save(effects(lines, reference), stem, note)


def effects(lines: Sequence[Line], reference: str) -> Figure:
    """A panel per suite, its headline protocol; a row per experiment: difference in AP and its two intervals."""
    compared = [line for line in lines if line.metric == "AP" and line.difference is not None]
    if not compared:
        return missing("effects: no experiment other than the first was measured")
    suites = headlines((line.suite, line.protocol) for line in compared).items()
    names = list(dict.fromkeys(line.experiment for line in compared))
    size = 2.2 + 2.9 * len(suites), 1.3 + 0.34 * len(names)
    figure, panels = plt.subplots(1, len(suites), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, benchmark in zip(panels.flat, suites, strict=True):
        for line in compared:
            if (line.suite, line.protocol) == benchmark:
                _row(axes, names.index(line.experiment), line)
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set(title=benchmark_title(*benchmark), xlabel=plain(f"AP against {reference}, points"))
        axes.set_yticks(range(len(names)), told_apart(names, 28))
        axes.set_ylim(len(names) - 0.5, -0.5)
    legend(figure, panels.flat)
    return figure


def _row(axes: plt.Axes, row: int, line: Line) -> None:
    spans = {
        "95 % over test images": (line.images_low, line.images_high, {"linewidth": 5, "alpha": 0.35}),
        "95 % over training seeds": (line.difference_low, line.difference_high, {"linewidth": 1.4}),
    }
    for label, (low, high, look) in spans.items():
        if low is not None:
            axes.plot([100 * low, 100 * high], [row, row], color="C0", marker="", label=label, **look)
    axes.plot(100 * line.difference, row, color="C0", marker="o", linestyle="", label="mean")
