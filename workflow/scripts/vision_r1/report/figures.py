"""The figures: small multiples on one style, each drawn also when all its numbers are missing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vision_r1.configuration import STAGES
from vision_r1.files import written_whole
from vision_r1.report.results import MEAN, STAGE_TITLES, Checkpoint, Result, first_seed, lookup, pairs
from vision_r1.report.style import FIGURES, INK, MUTED
from vision_r1.report.tables import dataset_tables
from vision_r1.report.text import shorten, visible

STYLE_SHEET = Path(__file__).with_name("style.mplstyle")
# What TRL logs -> title and the axis' ends.
REWARD_PANELS = {
    "reward": ("total reward", (0, None)),
    "rewards/dual_format/mean": ("dual format reward", (0, 1)),
    "rewards/recall/mean": ("recall reward", (0, 1)),
    "rewards/precision/mean": ("precision reward", (0, 1)),
    "completions/mean_length": ("completion length, tokens", (0, None)),
    "reward_std": ("spread of the reward (SD)", (0, None)),
}
History = Sequence[Mapping[str, Any]]


def draw_all(
    results: Sequence[Result], histories: Mapping[str, History], folder: str | Path, note: str | None = None
) -> None:
    """Write every figure of FIGURES into `folder`: SVG for the page, PNG for slides with `note` under it.

    histories: checkpoint -> what TRL logged, one mapping per logging step.
    """
    with plt.style.context(STYLE_SHEET):
        drawn = (
            ap_by_checkpoint(results),
            boxes_by_checkpoint(results),
            ap_by_dataset(results),
            reward_by_step(histories),
            loss_by_step(histories),
        )
        for name, figure in zip(FIGURES, drawn, strict=True):
            _save(figure, Path(folder) / name, note)


def _save(figure: Figure, stem: Path, note: str | None) -> None:
    with written_whole(stem.with_name(f"{stem.name}.svg")) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
    if note:
        figure.supxlabel(_plain(note, 160), x=0.005, ha="left", fontsize=7.5, color=MUTED)
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
        return _missing("scores by data set")
    figure, all_axes = _grid(len(tables), width=4.2, height=0.9 + 0.26 * max(len(table.lines) for table in tables))
    for axes, table in zip(all_axes, tables, strict=True):
        for number, place in enumerate(table.checkpoints):
            scores = [line[number] for _, line in table.lines]
            spots = [(100 * score, row) for row, score in enumerate(scores) if score is not None]
            axes.plot(*_split(spots), linestyle="", **_look(results, place) | {"label": place.title})
        axes.axhline(len(table.lines) - 1.5, color=MUTED, linewidth=0.6)
        axes.set(title=_plain(f"{table.suite} · {table.protocol}"), xlabel="AP", xlim=(0, None))
        axes.set_ylim(len(table.lines) - 0.5, -0.5)
        axes.set_yticks(range(len(table.lines)), [_plain(name, 28) for name, _ in table.lines])
    _legend(figure, all_axes)
    return figure


def reward_by_step(histories: Mapping[str, History]) -> Figure:
    """The reward and its parts over both stages on one axis; a line marks where the thresholds rise."""
    arms: dict[str, dict[str, History]] = {}
    for name, history in histories.items():
        place = Checkpoint.of(name)
        if place.stage in STAGES:
            arms.setdefault(name.partition("/")[0], {})[place.stage] = history
    shown = {
        key: panel
        for key, panel in REWARD_PANELS.items()
        if any(key in row for stages in arms.values() for history in stages.values() for row in history)
    }
    if not shown:
        return _missing("GRPO history")
    figure, all_axes = _grid(len(shown), width=2.75, height=2.1, columns=3)
    experiments = list(dict.fromkeys(Checkpoint.of(f"{arm}/{STAGES[0]}").experiment for arm in arms))
    for axes, (key, (title, ends)) in zip(all_axes, shown.items(), strict=True):
        switches: set[int] = set()
        for arm, stages in arms.items():
            steps, values, switch = _joined(stages, key)
            switches |= {switch} if STAGES[1] in stages else set()
            experiment = Checkpoint.of(f"{arm}/{STAGES[0]}").experiment
            axes.plot(steps, values, f"C{experiments.index(experiment)}", marker="", linewidth=1.4, label=experiment)
        axes.set(title=title, xlabel="step, both stages")
        low, high = ends
        axes.set_ylim(low, None if high is None else 1.04 * high)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for switch in switches:
            axes.axvline(switch, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate("stage 2", (switch, 0), (4, 4), **place, fontsize=7.5, color=MUTED)
    _legend(figure, all_axes)
    return figure


def _joined(stages: Mapping[str, History], key: str) -> tuple[list[int], list[float], int]:
    """Return steps and values of one logged number over both stages, and the step where stage 2 begins."""
    steps, values, ends = [], [], [0]
    for stage in STAGES:
        history = stages.get(stage, ())
        # A stage that goes on with the first one's schedule goes on counting its steps, too.
        before = 0 if min((row["step"] for row in history), default=0) > ends[-1] else ends[-1]
        steps += [before + row["step"] for row in history if key in row]
        values += [float("nan") if row[key] is None else row[key] for row in history if key in row]
        ends.append(before + max((row["step"] for row in history), default=0))
    return steps, values, ends[1]


def loss_by_step(histories: Mapping[str, History]) -> Figure:
    """Training loss of the base model and the SFT arm."""
    shown = {}
    for name, history in histories.items():
        rows = [row for row in history if row.get("loss") is not None]
        if Checkpoint.of(name).stage in ("base", "sft") and rows:
            shown[name] = rows
    if not shown:
        return _missing("loss history of base and SFT")
    figure, all_axes = _grid(len(shown), width=2.75, height=2.1)
    for axes, (name, rows) in zip(all_axes, shown.items(), strict=True):
        axes.plot([row["step"] for row in rows], [row["loss"] for row in rows], color=INK, marker="", linewidth=1.2)
        axes.set(title=_plain(f"{name} loss"), xlabel="step", ylim=(0, None))
    return figure


def _by_checkpoint(results: Sequence[Result], value: Callable[[Result], float | None], label: str) -> Figure:
    """A panel per benchmark; x is base, stage 1, stage 2; a line per experiment and training seed."""
    benchmarks = pairs(results)
    if not benchmarks:
        return _missing(label)
    index = lookup(results)
    stages = ("base", *STAGES)
    arms = dict.fromkeys(result.checkpoint.partition("/")[0] for result in results if result.stage in STAGES)
    figure, all_axes = _grid(len(benchmarks), width=2.45, height=2.6, sharey=True)
    for axes, (suite, protocol) in zip(all_axes, benchmarks, strict=True):
        means = {name: value(result) for (name, *rest), result in index.items() if rest == [suite, protocol, MEAN]}
        for arm in arms:
            names = ("base", *(f"{arm}/{stage}" for stage in STAGES))
            spots = [(spot, means[name]) for spot, name in enumerate(names) if means.get(name) is not None]
            axes.plot(*_split(spots), **_look(results, Checkpoint.of(names[-1])))
        for name, level in means.items():
            if Checkpoint.of(name).stage == "sft" and level is not None:
                axes.axhline(level, color=INK, linewidth=1.2, linestyle=(0, (5, 3)), label="SFT")
        axes.set(title=_plain(f"{suite} · {protocol}"), xlim=(-0.25, 2.25))
        axes.set_xticks(range(3), [STAGE_TITLES[stage] for stage in stages])
    all_axes[0].set(ylabel=label, ylim=(0, None))
    _legend(figure, all_axes)
    return figure


def _boxes_per_object(result: Result) -> float | None:
    if result.predictions is None or not result.ground_truth:
        return None
    return result.predictions / result.ground_truth


def _split(spots: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in spots], [y for _, y in spots]


def _look(results: Sequence[Result], place: Checkpoint) -> dict[str, Any]:
    """Colour and marker by experiment, hollow grey for base, a bar for SFT."""
    if place.stage == "base":
        return {"color": MUTED, "marker": "o", "markerfacecolor": "none", "label": "base"}
    if place.stage == "sft":
        return {"color": INK, "marker": "|", "markersize": 9, "markeredgewidth": 1.6, "label": "SFT"}
    experiments = list(dict.fromkeys(result.experiment for result in results if result.experiment))
    cycle = plt.rcParams["axes.prop_cycle"].by_key()
    number = experiments.index(place.experiment) % len(cycle["color"])
    return {"color": cycle["color"][number], "marker": cycle["marker"][number], "label": place.experiment}


def _grid(count: int, width: float, height: float, columns: int = 4, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    columns = min(count, columns)
    rows = -(-count // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, sharey=sharey)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:count])


def _legend(figure: Figure, all_axes: Sequence[Axes]) -> None:
    entries = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=6, handlelength=1.6)


def _missing(what: str) -> Figure:
    figure, axes = plt.subplots(figsize=(5.5, 1.1))
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"missing: {what}", ha="center", va="center", color=MUTED)
    return figure


def _plain(text: str, length: int = 36) -> str:
    """A label that matplotlib neither reads as a formula nor lets run away."""
    return visible(shorten(text, length)).replace("$", r"\$")
