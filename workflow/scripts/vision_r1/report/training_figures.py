"""The figures of training: what was logged by step, both stages on one axis, smoothed with the raw behind it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vision_r1.experiments import BASE, SFT, STAGES, split_training_seed
from vision_r1.report.panels import SPARSE, cycled, from_zero, grids, legend, missing, plain, same_tops
from vision_r1.report.results import Checkpoint
from vision_r1.report.style import INK, MUTED

History = Sequence[Mapping[str, Any]]
Chains = Mapping[str, Sequence[str]]  # arm of an experiment -> its checkpoints in order, whoever trains them
Look = Mapping[str, str]  # colour and marker
# What TRL logs -> title and the highest value to leave room for, None: the highest one logged.
Panels = Mapping[str, tuple[str, float | None]]
REWARD = {"reward": ("total reward", None)}
SIGNAL = {
    "kl": ("KL to the reference, nats", None),
    "entropy": ("entropy, nats a token", None),
    "completions/mean_length": ("completion length, tokens", None),
    "completions/clipped_ratio": ("completions cut off, share", None),
    "group_reward_std": ("spread of a group's rewards, SD", None),
    "frac_reward_zero_std": ("groups without signal, share", 1),
}
VERDICTS = "verdicts/"
MOST_VERDICTS = 6
WINDOW = 0.15  # of a stage's logs, in the moving average


def reward_by_step(histories: Mapping[str, History], chains: Chains) -> Figure:
    """The reward and its parts, whatever they are; a line marks where the thresholds rise."""
    # Parts are 0..1, but for Rex-Omni's.
    highest = _highest(histories, lambda key: key.startswith("rewards/") and key.endswith("/mean"), least=1)
    parts = {key: (plain(f"{key.split('/')[1].replace('_', ' ')} reward"), top) for key, top in highest.items()}
    return _by_step(histories, chains, REWARD | parts, "GRPO history", columns=4)


def signal_by_step(histories: Mapping[str, History], chains: Chains) -> Figure:
    """KL, entropy, completion length and the group signal."""
    return _by_step(histories, chains, SIGNAL, "GRPO history")


def verdicts_by_step(histories: Mapping[str, History], chains: Chains) -> Figure:
    """How completions were read: the share of each verdict that was frequent somewhere."""
    highest = _highest(histories, lambda key: key.startswith(VERDICTS), least=0)
    frequent = sorted((key for key in highest if highest[key] > 0), key=lambda key: -highest[key])[:MOST_VERDICTS]
    panels = {key: (plain(key.removeprefix(VERDICTS).replace("_", " ")), None) for key in frequent}
    return _by_step(histories, chains, panels, "verdicts of GRPO's completions")


def _highest(histories: Mapping[str, History], chosen: Callable[[str], bool], least: float) -> dict[str, float]:
    """Return the highest value that was logged under each chosen key, at least `least`."""
    highest: dict[str, float] = {}
    for history in histories.values():
        for row in history:
            for key, value in row.items():
                if chosen(key) and value is not None:
                    highest[key] = max(value, highest.get(key, least))
    return highest


def loss_by_step(histories: Mapping[str, History]) -> Figure:
    """Training loss of the SFT arm, over all training seeds, and of the base model."""
    losses: dict[str, list[pd.Series]] = {}
    for name, history in histories.items():
        series = _series(history, "loss")
        if Checkpoint.of(name).stage in (BASE, SFT) and len(series):
            losses.setdefault(Checkpoint.of(name).title, []).append(series)
    if not losses:
        return missing("loss history of base and SFT")
    figure, ((_, _, all_axes),) = grids((), len(losses), width=3.6, height=2.3)
    for axes, title in zip(all_axes, sorted(losses), strict=True):
        _draw(axes, losses[title], {"color": INK, "marker": ""})
        axes.set(title=plain(f"{title}: loss"), xlabel="step")
        from_zero(axes)
    return figure


def experiments_of(chains: Chains) -> list[str]:
    """List the experiments, each over all training seeds once."""
    return list(dict.fromkeys(split_training_seed(arm)[0] for arm in chains))


def _by_step(histories: Mapping[str, History], chains: Chains, panels: Panels, what: str, columns: int = 3) -> Figure:
    """A panel per logged number, a colour per experiment; more than a few experiments make more rows of panels."""
    arms: dict[str, list[dict[str, History]]] = {}  # experiment -> for each training seed, stage -> history
    for arm, chain in chains.items():
        stages = {Checkpoint.of(name).stage: histories[name] for name in chain if name in histories}
        if stages := {stage: history for stage, history in stages.items() if stage in STAGES}:
            arms.setdefault(split_training_seed(arm)[0], []).append(stages)
    logged = {
        key
        for seeds in arms.values()
        for stages in seeds
        for history in stages.values()
        for row in history
        for key, value in row.items()
        if value is not None
    }
    both = any(len(stages) == len(STAGES) for seeds in arms.values() for stages in seeds)
    if not logged & set(panels):
        return missing(what)
    width, height = (2.75, 2.4) if columns == 4 else (3.65, 2.2)
    figure, parts = grids(experiments_of(chains), len(panels), width, height, columns)
    for part, names, all_axes in parts:
        for axes, (key, (title, highest)) in zip(all_axes, panels.items(), strict=True):
            axes.set(title=title)
            if key not in logged:
                axes.set_axis_off()
                axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", color=MUTED)
                continue
            switches: set[float] = set()
            for number, experiment in enumerate(names):  # colours as in the figures of AP
                if experiment in arms:
                    switches |= _stages(axes, arms[experiment], key, cycled(number), experiment)
            axes.set(xlabel="step; from the dotted line: stage 2" if both else "step")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            for switch in switches:
                axes.axvline(switch, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
            from_zero(axes)
            if highest is not None:
                axes.set_ylim(top=1.04 * highest)
        legend(part, all_axes)
    same_tops(parts)
    return figure


def _stages(axes: Axes, seeds: Sequence[Mapping[str, History]], key: str, look: Look, label: str) -> set[float]:
    """Draw one experiment's number over both stages, each smoothed by itself; return the steps where stage 2 begins."""
    switches = set()
    series: dict[str, list[pd.Series]] = {stage: [] for stage in STAGES}
    for stages in seeds:
        offset = 0
        for stage in STAGES:
            history = stages.get(stage, ())
            # A stage that continues with the first one's schedule counts on from its steps, too.
            logged = [row["step"] for row in history]
            before = 0 if logged and min(logged) > offset else offset
            values = _series(history, key)
            if len(values):
                series[stage].append(values.rename(lambda step, before=before: before + step))
            if stage == STAGES[1] and logged and stages.get(STAGES[0]):
                switches.add(offset)
            offset = before + max(logged, default=0)
    drawn = [same for same in series.values() if same]
    for number, same in enumerate(drawn):
        _draw(axes, same, look, label if number == 0 else None)
    return switches


def _series(history: History, key: str) -> pd.Series:
    """Return one logged number by step, the steps that lack it left out."""
    rows = {row["step"]: row[key] for row in history if row.get(key) is not None}
    return pd.Series(rows, dtype=float)


def _draw(axes: Axes, seeds: Sequence[pd.Series], look: Look, label: str | None = None) -> None:
    """Draw each training seed as it was logged, faint, and the moving average of their mean."""
    for values in seeds:
        axes.plot(values.index, values, color=look["color"], marker="", linewidth=0.7, alpha=0.35)
    means = pd.concat(seeds).groupby(level=0).mean()
    window = max(1, round(WINDOW * len(means)))
    smooth = means.rolling(window, center=True, min_periods=1).mean()
    axes.plot(smooth.index, smooth, **look, **SPARSE, linewidth=1.7, label=label)
