"""Experiments: overrides of the configuration, the checkpoints that they train, and what these are trained with.

An arm is an experiment, or `sft` (the SFT baseline of the configuration itself), with a training seed:
`strict`, `strict_s1`, `sft_s1`. A checkpoint is `base`, an SFT baseline's arm, or `<arm>/<stage>`. What two arms
train alike, from the base model on, is one checkpoint: that of the arm that stands first in the configuration.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from vision_r1.files import UserError

BASE, SFT = "base", "sft"
STAGES = ("grpo_stage1", "grpo_stage2")

Config = Mapping[str, Any]


def merge(base: Config, override: Config) -> dict[str, Any]:
    """Lay one mapping over another: mappings merge, everything else replaces. Shares what is not overridden."""
    merged = dict(base)
    for key, value in override.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def experiment_config(config: Config, name: str) -> dict[str, Any]:
    """Return the configuration with the overrides of an arm's experiment merged in, and grpo.step worked out.

    Raises UserError for an unknown experiment.
    """
    experiment, _ = split_training_seed(name)
    if experiment == SFT:
        return dict(config)
    if experiment not in config["experiments"]:
        known = ", ".join(sorted(config["experiments"]))
        raise UserError(
            f"config: experiment: {experiment!r} is not an experiment of config/experiments.yaml; known: {known}"
        )
    merged = merge(config, config["experiments"][experiment])
    if "step" in merged["grpo"] and min(steps := [merged[stage]["max_steps"] for stage in STAGES]) > 0:
        first = round(merged["grpo"]["step"] * sum(steps))
        for stage, own in zip(STAGES, (first, sum(steps) - first), strict=True):
            merged[stage] = {**merged[stage], "max_steps": own}
    return merged


def split_training_seed(name: str) -> tuple[str, int]:
    """Split `strict_s2` into (`strict`, 2); a plain name has training seed 0."""
    match = re.fullmatch(r"(.+?)_s(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def with_training_seed(name: str, training_seed: int) -> str:
    """Return the arm of an experiment (or of the SFT baseline) with a training seed."""
    return f"{name}_s{training_seed}" if training_seed else name


def stages_of(config: Config, name: str) -> tuple[str, ...]:
    """Return the stages that an experiment trains: GRPO's, or SFT where only that is overridden."""
    experiment, _ = split_training_seed(name)
    overrides = {SFT} if experiment == SFT else set(config["experiments"][experiment])
    return (SFT,) if SFT in overrides and not overrides & {"reward", "grpo", *STAGES} else STAGES


def split_checkpoint(checkpoint: str) -> tuple[str, str]:
    """Split a checkpoint's name into arm and stage; the base model is both to itself."""
    arm, _, stage = checkpoint.partition("/")
    return arm, stage or split_training_seed(arm)[0]


def checkpoint_of(config: Config, arm: str, stage: str) -> str:
    """Return the checkpoint of an arm's stage: its own, or that of the first arm that trains it alike."""
    _, training_seed = split_training_seed(arm)
    for name in (SFT, *config["experiments"]):
        other = with_training_seed(name, training_seed)
        trains = stage == SFT if name == SFT else stage == SFT or stage in stages_of(config, name)
        if other == arm or (trains and _alike(config, (other, stage), (arm, stage))):
            return other if name == SFT else f"{other}/{stage}"
    raise UserError(f"config: experiment: {arm!r} is not an experiment of config/experiments.yaml")


def checkpoints_of(config: Config, names: Sequence[str], training_seeds: Sequence[int]) -> list[str]:
    """Return the checkpoints of a report on these experiments: the base model, SFT baselines, and each arm's stages."""
    arms = [with_training_seed(name, seed) for name in names for seed in training_seeds]
    trained = [checkpoint_of(config, arm, stage) for arm in arms for stage in stages_of(config, arm)]
    return list(dict.fromkeys([BASE, *(with_training_seed(SFT, seed) for seed in training_seeds), *trained]))


def final_checkpoint(config: Config, arm: str) -> str:
    """Return the checkpoint at which an arm's training ends."""
    return checkpoint_of(config, arm, stages_of(config, arm)[-1])


def parent_checkpoint(config: Config, arm: str, stage: str) -> str:
    """Return the checkpoint that a stage starts from. It has the same training seed."""
    place = initial_place(config, arm, stage)
    return BASE if place[1] == BASE else checkpoint_of(config, *place)


def chain_of(config: Config, checkpoint: str) -> list[str]:
    """Return the checkpoints from the first training after the base model to this one."""
    chain: list[str] = []
    while checkpoint != BASE:
        chain.insert(0, checkpoint)
        checkpoint = parent_checkpoint(config, *split_checkpoint(checkpoint))
    return chain


def reference_checkpoint(config: Config, arm: str, stage: str) -> str:
    """Return the checkpoint that the KL term holds on to: where the arm's first GRPO stage started."""
    checkpoint = parent_checkpoint(config, arm, stage)
    while (place := split_checkpoint(checkpoint))[1] in STAGES:
        checkpoint = parent_checkpoint(config, *place)
    return checkpoint


def initial_place(config: Config, arm: str, stage: str) -> tuple[str, str]:
    """Return (arm, stage) that a stage's `init` names, whoever trains it; the base model is (base, base)."""
    if stage == SFT:
        return BASE, BASE
    init = experiment_config(config, arm)[stage]["init"]
    if "/" in init:
        other, other_stage = init.split("/")
        return with_training_seed(other, split_training_seed(arm)[1]), other_stage
    return (BASE, BASE) if init == BASE else (arm, init)


def lineage(config: Config, arm: str, stage: str) -> Iterator[tuple[str, str]]:
    """Yield (arm, stage) from a stage back to the first one after the base model, as `init` names them."""
    while stage != BASE:
        yield arm, stage
        arm, stage = initial_place(config, arm, stage)


def data_of(config: Config, arm: str) -> str | None:
    """Return the first experiment with the data section of an arm, whose training file it is; None: the shared one."""
    data = experiment_config(config, arm)["data"]
    if data == config["data"]:
        return None
    return next(name for name in config["experiments"] if experiment_config(config, name)["data"] == data)


def seed_of(config: Config, arm: str, stage: str) -> int:
    """Return the seed of one training job: chain seed, training seed and stage all make it differ."""
    _, training_seed = split_training_seed(arm)
    return 100_000 * config["seed"] + 10 * training_seed + (SFT, *STAGES).index(stage)


def training_values(config: Config, arm: str, stage: str) -> dict[str, Any]:
    """Return what a stage is trained with, by flag: section sft, or sections reward, grpo and the stage's.

    In continuous refinement both GRPO stages share a seed and one schedule as long as both; stage 1 stops in it.
    """
    merged, seed = experiment_config(config, arm), seed_of(config, arm, stage)
    if stage == SFT:
        return {**merged[SFT], "seed": seed}
    values = {**merged["reward"], **merged["grpo"], **merged[stage], "seed": seed}
    del values["init"]
    values.pop("step", None)
    if values.pop("refinement") == "continuous":
        steps = [merged[each]["max_steps"] for each in STAGES]
        values |= {"seed": seed_of(config, arm, STAGES[0]), "max_steps": sum(steps) if steps[1] > 0 else -1}
        if stage == STAGES[0]:
            values["stop_at"] = steps[0]
    return values


def of_refinement(config: Config, refinement: str) -> list[str]:
    """Return the experiments whose stage 2 follows stage 1 in this way, continuous or restart."""
    return [
        name for name in config["experiments"] if experiment_config(config, name)["grpo"]["refinement"] == refinement
    ]


def _alike(config: Config, one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Tell whether two stages are trained alike, and all that they start from."""
    pairs = zip_longest(lineage(config, *one), lineage(config, *other))
    return all(None not in pair and _recipe(config, *pair[0]) == _recipe(config, *pair[1]) for pair in pairs)


def _recipe(config: Config, arm: str, stage: str) -> tuple[Any, ...]:
    merged = experiment_config(config, arm)
    return stage, training_values(config, arm, stage), merged["data"], merged["lora"]
