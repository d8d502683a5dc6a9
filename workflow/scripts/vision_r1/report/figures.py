"""The figures of scores: small multiples on one style, drawn also when numbers are missing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vision_r1.evaluation.anchors import Metrics
from vision_r1.evaluation.published import MEAN
from vision_r1.experiments import BASE, SFT, STAGES, split_training_seed
from vision_r1.report.panels import (
    SPARSE,
    STYLE_SHEET,
    benchmark_title,
    cycled,
    from_zero,
    grids,
    legend,
    missing,
    same_tops,
    save,
    told_apart,
)
from vision_r1.report.results import STAGE_TITLES, Checkpoint, Result, first_seed, lookup, pairs, stages_shown
from vision_r1.report.style import FIGURES, INK, MUTED
from vision_r1.report.tables import dataset_tables
from vision_r1.report.training_figures import (
    Chains,
    History,
    experiments_of,
    loss_by_step,
    reward_by_step,
    signal_by_step,
    verdicts_by_step,
)

LEVEL = {"linewidth": 1.2, "linestyle": (0, (5, 3))}  # the horizontal line of SFT, beside the stages of GRPO


def draw_all(
    results: Sequence[Result],
    chains: Chains,
    histories: Mapping[str, History],
    metrics: Metrics,
    folder: str | Path,
    note: str | None = None,
) -> None:
    """Write every figure of FIGURES into `folder`: SVG for the page, PNG for slides with `note` under it.

    chains: the experiments' arms -> their checkpoints in order; histories: checkpoint -> what TRL logged, one mapping
    per logging step; metrics: (checkpoint, suite) -> what score_suite.py wrote.
    """
    with plt.style.context(STYLE_SHEET):
        drawn = (
            ap_by_checkpoint(results, chains),
            boxes_by_checkpoint(results, chains),
            ap_by_dataset(results, chains),
            reward_by_step(histories, chains),
            signal_by_step(histories, chains),
            verdicts_by_step(histories, chains),
            loss_by_step(histories),
            precision_recall(results, chains, metrics),
        )
        for name, figure in zip(FIGURES, drawn, strict=True):
            save(figure, Path(folder) / name, note)


def ap_by_checkpoint(results: Sequence[Result], chains: Chains) -> Figure:
    """AP from base over stage 1 to stage 2, a line per experiment and training seed; SFT as a level beside them."""
    return _by_checkpoint(results, chains, lambda result: None if result.AP is None else 100 * result.AP, "AP")


def boxes_by_checkpoint(results: Sequence[Result], chains: Chains) -> Figure:
    """Predicted boxes per ground-truth object by checkpoint: above 1 the model predicts more objects than there are."""
    return _by_checkpoint(results, chains, _boxes_per_object, "predicted boxes per object", right=1)


def ap_by_dataset(results: Sequence[Result], chains: Chains) -> Figure:
    """AP by data set, one row each: base, SFT and where each experiment ends."""
    tables = dataset_tables(results, _ends(results, chains))
    if not tables:
        return missing("scores by data set")
    height = 0.9 + 0.26 * max(len(table.lines) for table in tables)
    figure, parts = grids(experiments_of(chains), len(tables), width=4.2, height=height)
    for part, experiments, panels in parts:
        for axes, table in zip(panels, tables, strict=True):
            for number, place in enumerate(table.checkpoints):
                if place.experiment in ("", *experiments):
                    scores = [line[number] for _, line in table.lines]
                    spots = [(100 * score, row) for row, score in enumerate(scores) if score is not None]
                    look = _look(experiments, place) | {"label": place.title, "linestyle": ""}
                    axes.plot(*_split(spots), **look, clip_on=False)  # whole at 0, too
            axes.axhline(len(table.lines) - 1.5, color=MUTED, linewidth=0.6)
            axes.set(title=benchmark_title(table.suite, table.protocol), xlabel="AP")
            from_zero(axes, "x")
            axes.set_ylim(len(table.lines) - 0.5, -0.5)
            axes.set_yticks(range(len(table.lines)), told_apart((name for name, _ in table.lines), 28))
        legend(part, panels)
    every = [axes for _, _, panels in parts for axes in panels]
    widest = max(axes.get_xlim()[1] for axes in every)
    for axes in every:
        axes.set_xlim(right=widest)
    return figure


def precision_recall(results: Sequence[Result], chains: Chains, metrics: Metrics) -> Figure:
    """Precision over recall at IoU 0.5 (full) and 0.75 (dashed), a panel per benchmark: base, SFT, each experiment."""
    checkpoints = _ends(results, chains)
    curves = {
        (name, pair): metrics.get((name, pair[0]), {}).get("protocols", {}).get(pair[1], {}).get("precision_recall")
        for name in checkpoints
        for pair in pairs(results)
    }
    shown = [pair for pair in pairs(results) if any(curves[name, pair] for name in checkpoints)]
    if not shown:
        return missing("precision-recall curves")
    figure, parts = grids(experiments_of(chains), len(shown), width=2.45, height=2.6, sharey=True)
    for part, experiments, panels in parts:
        for axes, (suite, protocol) in zip(panels, shown, strict=True):
            for name in checkpoints:
                if Checkpoint.of(name).experiment in ("", *experiments):
                    look = _look(experiments, Checkpoint.of(name)) | SPARSE | {"linewidth": 1.4}
                    for threshold, values in (curves[name, (suite, protocol)] or {}).items():
                        dashed = {"linestyle": (0, (3, 2)), "linewidth": 1.0, "label": None}
                        recalls = np.linspace(0, 1, len(values))
                        axes.plot(recalls, values, **look | (dashed if threshold != "0.50" else {}))
            axes.set(title=benchmark_title(suite, protocol), xlabel="recall", xlim=(0, 1), ylim=(0, 1.02))
        panels[0].set(ylabel="precision")
        legend(part, panels)
    return figure


def _by_checkpoint(
    results: Sequence[Result],
    chains: Chains,
    value: Callable[[Result], float | None],
    label: str,
    right: float | None = None,
) -> Figure:
    """A panel per benchmark; x is base and the stages that are trained; a line per experiment and training seed; SFT as
    a level.

    Where GRPO started from SFT, or nothing trains GRPO, SFT stands on the axis, too: what it gained isn't GRPO's.
    right: the value that would be right, marked by a thin line.
    """
    benchmarks = pairs(results)
    if not benchmarks:
        return missing(label)
    index = lookup(results)
    stages = (BASE, *stages_shown(chains.values()))
    of_grpo = {*STAGES} & {*stages}
    figure, parts = grids(experiments_of(chains), len(benchmarks), width=2.45, height=2.6, sharey=True)
    for part, experiments, panels in parts:
        for axes, (suite, protocol) in zip(panels, benchmarks, strict=True):
            means = {name: value(result) for (name, *rest), result in index.items() if rest == [suite, protocol, MEAN]}
            for arm, chain in chains.items():
                if split_training_seed(arm)[0] not in experiments:
                    continue
                look = _look(experiments, Checkpoint.of(chain[-1]))
                places = {Checkpoint.of(name).stage: means.get(name) for name in (BASE, *chain)}
                spots = [(spot, places[stage]) for spot, stage in enumerate(stages) if places.get(stage) is not None]
                if of_grpo and not {*STAGES} & places.keys() and places[SFT] is not None:
                    axes.axhline(places[SFT], **LEVEL, color=look["color"], label=look["label"])
                else:
                    axes.plot(*_split(spots), **look)
            for name, level in means.items():
                if Checkpoint.of(name).stage == SFT and not Checkpoint.of(name).experiment and level is not None:
                    axes.axhline(level, **LEVEL, color=INK, label="SFT")
            if right is not None:
                axes.axhline(right, color=MUTED, linewidth=0.8, zorder=1)
            axes.set(title=benchmark_title(suite, protocol), xlim=(-0.25, len(stages) - 0.75))
            axes.set_xticks(range(len(stages)), [STAGE_TITLES[stage] for stage in stages])
        panels[0].set(ylabel=label)
        from_zero(panels[0])
        legend(part, panels)
    same_tops(parts)
    return figure


def _ends(results: Sequence[Result], chains: Chains) -> list[str]:
    """List base, the SFT baseline and the last checkpoint of each experiment, with the first training seed."""
    finals = {chain[-1] for chain in chains.values()}
    return [name for name in first_seed(results) if not Checkpoint.of(name).experiment or name in finals]


def _boxes_per_object(result: Result) -> float | None:
    if result.predictions is None or not result.ground_truth:
        return None
    return result.predictions / result.ground_truth


def _split(spots: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in spots], [y for _, y in spots]


def _look(experiments: Sequence[str], place: Checkpoint) -> dict[str, Any]:
    """Colour and marker by experiment, one of its panel's `experiments`, hollow grey for base, a bar for SFT."""
    if place.stage == BASE:
        return {"color": MUTED, "marker": "o", "markerfacecolor": "none", "label": BASE}
    if place.stage == SFT and not place.experiment:
        return {"color": INK, "marker": "|", "markersize": 9, "markeredgewidth": 1.6, "label": "SFT"}
    return cycled(experiments.index(place.experiment)) | {"label": place.experiment}
