"""The ablations: every experiment over its training seeds, and what each is worth beside the first one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vision_r1.evaluation.bootstrap import AP_METRICS, LEVEL, interval, mean_over
from vision_r1.evaluation.compare import Measured, holm
from vision_r1.evaluation.published import MEAN, Anchor
from vision_r1.evaluation.seeds import effect, spread
from vision_r1.experiments import (
    BASE,
    SFT,
    STAGES,
    chain_of,
    experiment_config,
    final_checkpoint,
    reward_of,
    split_checkpoint,
    with_training_seed,
)
from vision_r1.preflight.batches import Budget
from vision_r1.report.comparability import Presets, published_numbers
from vision_r1.report.results import headlines
from vision_r1.report.sheets import Difference, Sheet, Value
from vision_r1.report.tables import main_columns
from vision_r1.report.text import points
from vision_r1.rewards import Criterion
from vision_r1.zoo import ZooReward, criterion_of

WAITING = "waiting"


@dataclass(frozen=True)
class Arm:
    """An experiment, the base model or the SFT baseline, where its training ends.

    measured: training seed -> suite -> what was measured; missing: training seed -> why nothing was.
    """

    name: str
    measured: Mapping[int, Mapping[str, Measured]]
    missing: Mapping[int, str]

    def values(self, suite: str, protocol: str, metric: str) -> dict[int, float]:
        """Return training seed -> the metric's mean over the suite's data sets, 0..1, where there is one."""
        means = {seed: own[suite].metrics.get(protocol, {}).get("mean") for seed, own in self.measured.items()}
        return {seed: mean[metric] for seed, mean in means.items() if mean}


def arms_of(
    config: Mapping[str, Any], measured: Mapping[str, Mapping[str, Measured]], causes: Mapping[str, str | None]
) -> list[Arm]:
    """Return the base model, the SFT baseline and the experiments of section ablations, each over its seeds.

    measured: checkpoint -> suite -> what was measured; causes: checkpoint -> why it is not in `measured`.
    """
    arms = []
    for name in (BASE, SFT, *config["ablations"]["experiments"]):
        seeds = [0] if name == BASE else config["ablations"]["training_seeds"]
        places = {seed: final_checkpoint(config, with_training_seed(name, seed)) for seed in seeds}
        arms.append(
            Arm(
                name,
                {seed: measured[place] for seed, place in places.items() if place in measured},
                {seed: causes[place] for seed, place in places.items() if place not in measured},
            )
        )
    return arms


def cause(jobs: Iterable[tuple[str, Path, Path]]) -> str | None:
    """Say why a checkpoint has no numbers, from its jobs (rule, output, log) in the order of work; None if it has.

    Numbers that are older than the training don't count: they are of an earlier one.
    """
    trained = 0.0
    for rule, output, log in jobs:
        if not output.exists():
            text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
            last = text.strip().rpartition("\n")[2].strip()
            return f"{rule}: {last}" if last else f"{WAITING} for {rule}"
        made = output.stat().st_mtime
        if made < trained:
            return f"{WAITING} for {rule}"
        if rule.startswith("train_"):
            trained = made
    return None


@dataclass(frozen=True)
class Line:
    """One arm on one benchmark; values and differences to the first experiment are 0..1, None where missing.

    low, high: t interval over training seeds, as are difference_low, difference_high; p: paired t test over training
    seeds; p_holm: corrected over the experiments of one benchmark and metric; images_low, images_high: of the
    difference, the seeds averaged, paired bootstrap over test images.
    """

    experiment: str
    suite: str
    protocol: str
    metric: str
    seeds: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    images_low: float | None = None
    images_high: float | None = None


def ablation_lines(arms: Sequence[Arm], reference: str, benchmarks: Sequence[tuple[str, str]]) -> list[Line]:
    """Return a line for each benchmark (suite, protocol), metric and arm; differences of experiments only."""
    first = next(arm for arm in arms if arm.name == reference)
    found = []
    for suite, protocol in benchmarks:
        for metric in AP_METRICS:
            lines = [_line(arm, first, (suite, protocol, metric)) for arm in arms]
            corrected = holm([line.p for line in lines])
            found += [replace(line, p_holm=p) for line, p in zip(lines, corrected, strict=True)]
    return found


def _line(arm: Arm, first: Arm, about: tuple[str, str, str]) -> Line:
    suite, protocol, metric = about
    own, other = arm.values(*about), first.values(*about)
    over = spread(list(own.values()))
    line = Line(arm.name, *about, over.n, over.mean, over.sd, over.low, over.high)
    seeds = sorted(own.keys() & other.keys())
    if arm.name in (BASE, SFT, first.name) or not seeds:
        return line
    against = effect(own, other)
    pairs = ((arm.measured[seed][suite], first.measured[seed][suite]) for seed in seeds)
    samples = [[mean_over(each.samples[protocol][metric]) for each in pair] for pair in pairs]
    differences = np.mean([a - b for a, b in samples], axis=0)
    low, high = interval(against.difference, differences, lowest=-1.0) or (None, None)
    return replace(
        line,
        difference=against.difference,
        difference_low=against.low,
        difference_high=against.high,
        p=against.p,
        images_low=low,
        images_high=high,
    )


def ablation_sheets(
    config: Mapping[str, Any],
    arms: Sequence[Arm],
    lines: Sequence[Line],
    budgets: Mapping[str, Budget | None],
    published: Sequence[Anchor],
    presets: Presets,
) -> list[Sheet]:
    """Return the tables: scores with what each arm's reward is made of, effects, budgets, and what is missing.

    budgets: experiment -> what it is trained with, None without its training file; published: all published numbers,
    shown where an arm is trained and measured as theirs; presets: the published recipes' configurations.
    """
    sheets = [
        _scores(config, arms, lines, published_numbers(config, presets, [vars(anchor) for anchor in published])),
        _effects(lines, config["ablations"]["experiments"][0]),
        budget_sheet(budgets, config["ablations"]["experiments"][0]),
    ]
    missing = [(arm.name, str(seed), cause) for arm in arms for seed, cause in arm.missing.items()]
    if missing:
        caption = "Waiting or unfinished: the first job without a result, with the last line of its log."
        sheets.append(Sheet("ablations", caption, ("experiment", "training seed", "cause"), tuple(missing), 3, 400))
    return sheets


def _scores(
    config: Mapping[str, Any], arms: Sequence[Arm], lines: Sequence[Line], published: Sequence[Mapping[str, Any]]
) -> Sheet:
    benchmarks = headlines((line.suite, line.protocol) for line in lines)
    columns = [(each.suite, each.protocol, each.metric) for each in main_columns([*benchmarks.items()])]
    index = {(line.experiment, line.suite, line.protocol, line.metric): line for line in lines}
    theirs = {
        (line["checkpoint"].split("/")[0], line["suite"], line["protocol"], line["metric"]): line["value"]
        for line in published
        if line["dataset"] == MEAN
    }
    rows: list[tuple[str, ...]] = []
    for arm in arms:
        seeds = f"{len(arm.measured)} of {len(arm.measured) + len(arm.missing)}" if arm.missing else len(arm.measured)
        cells = [_mean_and_sd(index[arm.name, *column], arm) for column in columns]
        rows.append((arm.name, *method_of(config, arm.name), "–" if arm.name == BASE else str(seeds), *cells))
        if any((arm.name, *column) in theirs for column in columns):
            numbers = [theirs.get((arm.name, *column)) for column in columns]
            cells = ["–" if number is None else points(number) for number in numbers]
            rows.append((f"published: {arm.name}", *method_of(config, arm.name), "–", *cells))
    heads = [f"{suite} {metric} ({protocol})" for suite, protocol, metric in columns]
    return Sheet(
        "ablations",
        "Each experiment where its training ends, and what its reward is made of: points of 100, mean over a suite's "
        "data sets, then mean and standard deviation over training seeds.",
        ("experiment", *METHOD_COLUMNS, "training seeds", *heads),
        tuple(rows),
        texts=2 + len(METHOD_COLUMNS),
    )


METHOD_COLUMNS = ("criterion", "rewarded parts", "differentiation", "thresholds")


def method_of(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Say what an experiment's reward is made of; a dash where nothing is rewarded."""
    places = [] if name == BASE else map(split_checkpoint, chain_of(config, name))
    stages = [experiment_config(config, arm)[stage] for arm, stage in places if stage in STAGES]
    if not stages:
        return ("–",) * len(METHOD_COLUMNS)
    merged = experiment_config(config, name)
    criterion = criterion_of(reward_of(merged, stages[0]))
    method = (merged["reward"]["criterion"], rewarded_parts(criterion, merged["grpo"].get("reward_weights")))
    if isinstance(criterion, ZooReward):
        return *method, "–", "–"
    asked = [f"{stage['recall_threshold']:g}" for stage in stages]
    return *method, "yes" if criterion.differentiate else "no", " to ".join(dict.fromkeys(asked))


def rewarded_parts(criterion: Criterion | ZooReward, weights: Sequence[float] | None) -> str:
    """Say which parts a criterion rewards with the weights of grpo.reward_weights: "iou + 0.5 count"."""
    found = criterion.part_weights(weights).items()
    terms = [f"{'' if weight == 1 else f'{weight:.3g} '}{part}" for part, weight in found if weight]
    return " + ".join(terms).replace("_", " ")


def _mean_and_sd(line: Line, arm: Arm) -> str:
    if line.mean is not None:
        return points(line.mean) if line.sd is None else f"{points(line.mean)} ± {points(line.sd)}"
    if not arm.missing:
        return "missing"
    return WAITING if all(cause.startswith(WAITING) for cause in arm.missing.values()) else "unfinished"


def _effects(lines: Sequence[Line], reference: str) -> Sheet:
    rows = [
        (line.experiment, line.suite, line.protocol, *_effect(line))
        for line in lines
        if line.metric == "AP" and line.experiment not in (BASE, SFT, reference)
    ]
    over = f"{LEVEL:.0%}"
    return Sheet(
        "ablations",
        f"What changes against {reference}: difference in AP, points of 100, mean of the differences of equal training "
        f"seeds, with the {over} t interval and the p of a paired t test over training seeds, corrected by Holm over "
        f"the experiments of a benchmark; and the {over} interval over test images (paired bootstrap, seeds averaged). "
        "The first tells of the randomness of training, the second of the choice of images; a dash: none.",
        (
            *("experiment", "suite", "protocol", "difference", "from", "to", "p", "p, corrected"),
            *("over images: from", "to"),
        ),
        tuple(rows),
        texts=3,
    )


def _effect(line: Line) -> tuple[Value, ...]:
    """Return the cells of a difference; a dash where it is known, but not its interval or p."""
    none = "missing" if line.difference is None else "–"
    ends = (line.difference_low, line.difference_high, line.images_low, line.images_high)
    difference, *signed = (none if value is None else Difference(value) for value in (line.difference, *ends))
    ps = (none if p is None else "< 0.001" if p < 0.0005 else f"{p:.3f}" for p in (line.p, line.p_holm))
    return (difference, *signed[:2], *ps, *signed[2:])


def budget_sheet(budgets: Mapping[str, Budget | None], reference: str) -> Sheet:
    """Return what each experiment was trained with, and in what that is not the reference's."""
    rows = [
        (name, *(astuple(own) if own else [WAITING] * 3), _beside(own, budgets[reference]))
        for name, own in budgets.items()
    ]
    return Sheet(
        "ablations",
        "What each experiment is trained with, from the base model on; prompts and completions count repeats.",
        ("experiment", "steps", "prompts", "completions", f"beside {reference}"),
        tuple(rows),
    )


def _beside(own: Budget | None, other: Budget | None) -> str:
    if own is None or other is None:
        return WAITING
    return ", ".join(f"{key} not equal" for key in asdict(own) if getattr(own, key) != getattr(other, key)) or "equal"
