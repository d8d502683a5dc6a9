"""The figures of scores, and all figures' files: small multiples on one style, drawn also when numbers are missing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vision_r1.experiments import STAGES
from vision_r1.files import written_whole
from vision_r1.report.panels import TOLD_APART, grids, legend, missing, plain, same_tops
from vision_r1.report.results import MEAN, STAGE_TITLES, Checkpoint, Result, first_seed, lookup, pairs
from vision_r1.report.style import FIGURES, INK, MUTED
from vision_r1.report.tables import dataset_tables
from vision_r1.report.training_figures import History, loss_by_step, reward_by_step, signal_by_step, verdicts_by_step

STYLE_SHEET = Path(__file__).with_name("style.mplstyle")
Metrics = Mapping[tuple[str, str], Mapping[str, Any]]


def draw_all(
    results: Sequence[Result],
    histories: Mapping[str, History],
    metrics: Metrics,
    folder: str | Path,
    note: str | None = None,
) -> None:
    """Write every figure of FIGURES into `folder`: SVG for the page, PNG for slides with `note` under it.

    histories: checkpoint -> what TRL logged, one mapping per logging step; metrics: (checkpoint, suite) -> what
    score_suite.py wrote.
    """
    with plt.style.context(STYLE_SHEET):
        drawn = (
            ap_by_checkpoint(results),
            boxes_by_checkpoint(results),
            ap_by_dataset(results),
            reward_by_step(histories),
            signal_by_step(histories),
            verdicts_by_step(histories),
            loss_by_step(histories),
            precision_recall(results, metrics),
        )
        for name, figure in zip(FIGURES, drawn, strict=True):
            save(figure, Path(folder) / name, note)


def save(figure: Figure, stem: Path, note: str | None) -> None:
    """Write a figure as <stem>.svg, and as <stem>.png with `note` under it; close it."""
    with written_whole(stem.with_name(f"{stem.name}.svg")) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
    if note:
        figure.supxlabel(plain(note, 160), x=0.005, ha="left", fontsize=7.5, color=MUTED)
    with written_whole(stem.with_name(f"{stem.name}.png")) as partial:
        figure.savefig(partial, format="png", dpi=200, facecolor="white")
    plt.close(figure)


def ap_by_checkpoint(results: Sequence[Result]) -> Figure:
    """AP from base over stage 1 to stage 2, a line per experiment and training seed; SFT as a level beside them."""
    return _by_checkpoint(results, lambda result: None if result.AP is None else 100 * result.AP, "AP")


def boxes_by_checkpoint(results: Sequence[Result]) -> Figure:
    """Predicted boxes per ground-truth object by checkpoint: above 1 the model says more than there is."""
    figure = _by_checkpoint(results, _boxes_per_object, "predicted boxes per object")
    for axes in figure.axes if results else ():
        axes.axhline(1, color=MUTED, linewidth=0.8, zorder=1)
    return figure


def ap_by_dataset(results: Sequence[Result]) -> Figure:
    """AP by data set, one row each: base, SFT and the last stage of each experiment."""
    checkpoints = [name for name in first_seed(results) if Checkpoint.of(name).stage != STAGES[0]]
    tables = dataset_tables(results, checkpoints)
    if not tables:
        return missing("scores by data set")
    height = 0.9 + 0.26 * max(len(table.lines) for table in tables)
    figure, parts = grids(_experiments(results), len(tables), width=4.2, height=height)
    for part, experiments, panels in parts:
        for axes, table in zip(panels, tables, strict=True):
            for number, place in enumerate(table.checkpoints):
                if place.experiment in ("", *experiments):
                    scores = [line[number] for _, line in table.lines]
                    spots = [(100 * score, row) for row, score in enumerate(scores) if score is not None]
                    axes.plot(*_split(spots), linestyle="", **_look(results, place) | {"label": place.title})
            axes.axhline(len(table.lines) - 1.5, color=MUTED, linewidth=0.6)
            axes.set(title=plain(f"{table.suite} · {table.protocol}"), xlabel="AP", xlim=(0, None))
            axes.set_ylim(len(table.lines) - 0.5, -0.5)
            axes.set_yticks(range(len(table.lines)), [plain(name, 28) for name, _ in table.lines])
        legend(part, panels)
    return figure


def precision_recall(results: Sequence[Result], metrics: Metrics) -> Figure:
    """Precision over recall at IoU 0.5 (full) and 0.75 (dashed), a panel per benchmark: base, SFT, each last stage."""
    checkpoints = [name for name in first_seed(results) if Checkpoint.of(name).stage != STAGES[0]]
    curves = {
        (name, pair): metrics.get((name, pair[0]), {}).get("protocols", {}).get(pair[1], {}).get("precision_recall")
        for name in checkpoints
        for pair in pairs(results)
    }
    shown = [pair for pair in pairs(results) if any(curves[name, pair] for name in checkpoints)]
    if not shown:
        return missing("precision-recall curves")
    figure, parts = grids(_experiments(results), len(shown), width=2.45, height=2.6, sharey=True)
    for part, experiments, panels in parts:
        for axes, (suite, protocol) in zip(panels, shown, strict=True):
            for name in checkpoints:
                if Checkpoint.of(name).experiment in ("", *experiments):
                    look = _look(results, Checkpoint.of(name)) | {"marker": "", "linewidth": 1.4}
                    for threshold, values in (curves[name, (suite, protocol)] or {}).items():
                        dashed = {"linestyle": (0, (3, 2)), "linewidth": 1.0, "label": None}
                        recalls = np.linspace(0, 1, len(values))
                        axes.plot(recalls, values, **look | (dashed if threshold != "0.50" else {}))
            axes.set(title=plain(f"{suite} · {protocol}"), xlabel="recall", xlim=(0, 1), ylim=(0, 1.02))
        panels[0].set(ylabel="precision")
        legend(part, panels)
    return figure


def _by_checkpoint(results: Sequence[Result], value: Callable[[Result], float | None], label: str) -> Figure:
    """A panel per benchmark; x is base, stage 1, stage 2; a line per experiment and training seed."""
    benchmarks = pairs(results)
    if not benchmarks:
        return missing(label)
    index = lookup(results)
    stages = ("base", *STAGES)
    arms = dict.fromkeys(result.checkpoint.partition("/")[0] for result in results if result.stage in STAGES)
    figure, parts = grids(_experiments(results), len(benchmarks), width=2.45, height=2.6, sharey=True)
    for part, experiments, panels in parts:
        for axes, (suite, protocol) in zip(panels, benchmarks, strict=True):
            means = {name: value(result) for (name, *rest), result in index.items() if rest == [suite, protocol, MEAN]}
            for arm in arms:
                names = ("base", *(f"{arm}/{stage}" for stage in STAGES))
                if (place := Checkpoint.of(names[-1])).experiment in experiments:
                    spots = [(spot, means[name]) for spot, name in enumerate(names) if means.get(name) is not None]
                    axes.plot(*_split(spots), **_look(results, place))
            for name, level in means.items():
                if Checkpoint.of(name).stage == "sft" and level is not None:
                    axes.axhline(level, color=INK, linewidth=1.2, linestyle=(0, (5, 3)), label="SFT")
            axes.set(title=plain(f"{suite} · {protocol}"), xlim=(-0.25, 2.25))
            axes.set_xticks(range(3), [STAGE_TITLES[stage] for stage in stages])
        panels[0].set(ylabel=label, ylim=(0, None))
        legend(part, panels)
    same_tops(parts)
    return figure


def _boxes_per_object(result: Result) -> float | None:
    if result.predictions is None or not result.ground_truth:
        return None
    return result.predictions / result.ground_truth


def _experiments(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.experiment for result in results if result.experiment))


def _split(spots: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in spots], [y for _, y in spots]


def _look(results: Sequence[Result], place: Checkpoint) -> dict[str, Any]:
    """Colour and marker by experiment, hollow grey for base, a bar for SFT."""
    if place.stage == "base":
        return {"color": MUTED, "marker": "o", "markerfacecolor": "none", "label": "base"}
    if place.stage == "sft":
        return {"color": INK, "marker": "|", "markersize": 9, "markeredgewidth": 1.6, "label": "SFT"}
    cycle = plt.rcParams["axes.prop_cycle"].by_key()
    number = _experiments(results).index(place.experiment) % TOLD_APART
    return {"color": cycle["color"][number], "marker": cycle["marker"][number], "label": place.experiment}
