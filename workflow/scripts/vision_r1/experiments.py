"""Experiments: overrides of the configuration, the checkpoints that they train, and what these are trained with.

An arm is an experiment, or `sft` (the SFT baseline of the configuration itself), with a training seed:
`strict`, `strict_s1`, `sft_s1`. A checkpoint is `base`, an SFT baseline's arm, or `<arm>/<stage>`. Each belongs to the
arm that trains it; another arm starts from it by name: `init: strict/grpo_stage1`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1.files import UserError
from vision_r1.text import did_you_mean

BASE, SFT = "base", "sft"
STAGES = ("grpo_stage1", "grpo_stage2")
# What may change in the middle of a continuous training.
STAGE_THRESHOLDS = ("recall_threshold", "precision_low", "precision_high")
# The criteria with parts and thresholds, Vision-R1's; not imported from vision_r1.rewards, so that an edit there makes
# no training file again (a test compares them). All others are rewards of other methods.
VISION_R1 = ("paper", "released_2025", "upstream_2026", "strict")

# Flags that follow from other keys.
_DECIDED_BY = {
    "stop_at": "end of stage 1 (grpo_stage1.max_steps, grpo.step)",
    "max_steps": "number of steps (max_steps of both stages)",
}

Config = Mapping[str, Any]


def merge(base: Config, override: Config) -> dict[str, Any]:
    """Lay one mapping over another: mappings merge, everything else replaces. Shares what is not overridden."""
    merged = dict(base)
    for key, value in override.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def experiment_config(config: Config, arm: str) -> dict[str, Any]:
    """Return the configuration with the overrides of an arm's experiment merged in.

    grpo.step and grpo.updates_per_generation are worked out.

    Raises UserError for an unknown experiment.
    """
    experiment, _ = split_training_seed(arm)
    if experiment in (BASE, SFT):
        return dict(config)
    if experiment not in config["experiments"]:
        hint = did_you_mean(experiment, sorted(config["experiments"]))
        raise UserError(f"config: experiments: {experiment!r} is not an experiment of config/experiments.yaml{hint}")
    overrides = {key: value for key, value in config["experiments"][experiment].items() if key != "stages"}
    if {"updates_per_generation", "steps_per_generation"} <= overrides.get("grpo", {}).keys():
        raise UserError(
            f"config: experiments.{experiment}.grpo.updates_per_generation: it sets steps_per_generation, "
            "which is given, too; leave one of them out"
        )
    merged = merge(config, overrides)
    merged["grpo"] = {**merged["grpo"]}  # changed below; what merge leaves alone it shares with `config`
    if "steps_per_generation" in overrides.get("grpo", {}):  # in place of the configuration's own number
        merged["grpo"].pop("updates_per_generation", None)
    names = {config["reward"]["criterion"], merged["reward"]["criterion"]}
    if len(names) > 1 and not names.issubset(VISION_R1):
        # Parts and weights belong to the configuration's own criterion: another method's reward has its own.
        merged["reward"] = overrides["reward"]
        if "reward_weights" not in overrides.get("grpo", {}):
            merged["grpo"].pop("reward_weights", None)
    if updates := merged["grpo"].pop("updates_per_generation", None):
        merged["grpo"]["steps_per_generation"] = updates * merged["grpo"]["gradient_accumulation_steps"]
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


def split_checkpoint(checkpoint: str) -> tuple[str, str]:
    """Split a checkpoint's name into arm and stage; the base model is both to itself."""
    arm, _, stage = checkpoint.partition("/")
    return arm, stage or split_training_seed(arm)[0]


def stages_of(config: Config, arm: str) -> list[str]:
    """Return the stages that an arm trains itself, in their order: both of GRPO where its experiment doesn't say."""
    experiment, _ = split_training_seed(arm)
    own = (SFT,) if experiment == SFT else config["experiments"][experiment].get("stages", STAGES)
    return [stage for stage in (SFT, *STAGES) if stage in own]


def final_checkpoint(config: Config, arm: str) -> str:
    """Return the checkpoint at which an arm's training ends; the base model's is itself."""
    if split_training_seed(arm)[0] in (BASE, SFT):
        return arm
    return f"{arm}/{stages_of(config, arm)[-1]}"


def parent_checkpoint(config: Config, checkpoint: str) -> str:
    """Return the checkpoint that a training starts from, as `init` names it. It has the same training seed."""
    arm, stage = split_checkpoint(checkpoint)
    if stage == SFT:
        return BASE
    init = experiment_config(config, arm)[stage]["init"]
    other, _, other_stage = init.rpartition("/")
    if other:
        return f"{with_training_seed(other, split_training_seed(arm)[1])}/{other_stage}"
    if init == SFT and SFT not in stages_of(config, arm):
        return with_training_seed(SFT, split_training_seed(arm)[1])
    return BASE if init == BASE else f"{arm}/{init}"


def lineage(config: Config, checkpoint: str) -> list[str]:
    """Return the checkpoints from the first training after the base model to this one, whoever trains them."""
    if checkpoint == BASE:
        return []
    return [*lineage(config, parent_checkpoint(config, checkpoint)), checkpoint]


def chain_of(config: Config, arm: str) -> list[str]:
    """Return the checkpoints from the first training after the base model to where an arm ends."""
    return lineage(config, final_checkpoint(config, arm))


def chains(config: Config, experiments: Sequence[str], training_seeds: Sequence[int]) -> dict[str, list[str]]:
    """Return arm -> its chain, for each experiment with each training seed."""
    arms = [with_training_seed(name, seed) for name in experiments for seed in training_seeds]
    return {arm: chain_of(config, arm) for arm in arms}


def checkpoints_of(config: Config, experiments: Sequence[str], training_seeds: Sequence[int]) -> list[str]:
    """Return the checkpoints of a report on these experiments: the base model, SFT baselines, and each arm's chain."""
    trained = chains(config, [SFT, *experiments], training_seeds).values()
    return list(dict.fromkeys([BASE, *(checkpoint for chain in trained for checkpoint in chain)]))


def compared_with(config: Config, checkpoint: str) -> list[str]:
    """Return what a checkpoint is compared with: base, what its training started from, what the first GRPO stage
    behind it did, and SFT of its training seed.
    """
    if checkpoint == BASE:
        return []
    _, seed = split_training_seed(split_checkpoint(checkpoint)[0])
    starts = (parent_checkpoint(config, checkpoint), reference_checkpoint(config, checkpoint))
    found = (BASE, *starts, with_training_seed(SFT, seed))
    return [name for name in dict.fromkeys(found) if name != checkpoint]


def reference_checkpoint(config: Config, checkpoint: str) -> str:
    """Return the checkpoint that the KL term holds on to: where the first GRPO stage behind this one started."""
    while split_checkpoint(checkpoint)[1] in STAGES:
        checkpoint = parent_checkpoint(config, checkpoint)
    return checkpoint


def resumes(config: Config, checkpoint: str) -> bool:
    """Tell whether a training resumes the optimiser, the schedule and the order of its parent."""
    arm, stage = split_checkpoint(checkpoint)
    return stage == STAGES[1] and experiment_config(config, arm)["grpo"]["refinement"] == "continuous"


def data_of(config: Config, arm: str) -> str | None:
    """Return the experiment whose training file an arm has, as it overrides section data; None: the shared file."""
    experiment, _ = split_training_seed(arm)
    return experiment if "data" in config["experiments"].get(experiment, {}) else None


def seed_of(config: Config, checkpoint: str) -> int:
    """Return the seed of one training: chain seed, training seed and stage all make it differ.

    In continuous refinement both GRPO stages are one training.
    """
    arm, stage = split_checkpoint(checkpoint)
    if stage == BASE:
        return config["seed"]
    experiment, training_seed = split_training_seed(arm)
    if experiment in config["experiments"] and resumes(config, checkpoint):
        stage = STAGES[0]
    return 100_000 * config["seed"] + 10 * training_seed + (SFT, *STAGES).index(stage)


def training_values(config: Config, checkpoint: str) -> dict[str, Any]:
    """Return what a checkpoint is trained with, by flag: section sft, or sections reward, grpo and the stage's.

    In continuous refinement both GRPO stages share one schedule as long as both; stage 1 stops in it.
    Raises UserError where no arm trains the checkpoint, and where one would resume another schedule than its own.
    """
    arm, stage = split_checkpoint(checkpoint)
    own = stages_of(config, arm)
    if stage not in own:
        others = [name for name in chain_of(config, arm) if split_checkpoint(name)[1] == stage]
        hint = f"; ask for {others[0]}" if others else ""
        raise UserError(f"config: experiments.{arm}: trains {' and '.join(own)}, not {stage}{hint}")
    if stage == SFT:
        return {**experiment_config(config, arm)[SFT], "seed": seed_of(config, checkpoint)}
    parent = parent_checkpoint(config, checkpoint)
    if resumes(config, checkpoint) and parent != f"{arm}/{STAGES[0]}":
        ours, theirs = _schedule(config, arm), _schedule(config, split_checkpoint(parent)[0])
        if different := sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)):
            said = ", ".join(_DECIDED_BY.get(key, key) for key in different)
            raise UserError(
                f"config: experiments.{arm}: {STAGES[1]} resumes the schedule of {parent}, which was trained with "
                f"another {said}; give equal ones, or let it train both stages itself (stages, {STAGES[1]}.init)"
            )
    return _grpo_values(config, arm, stage)


def reward_of(merged: Config, stage: Config) -> dict[str, Any]:
    """Return what an experiment's configuration and one of its stages say of the criterion, as criterion_of takes it.

    Rewards of other methods have no thresholds: those of the stages are not theirs.
    """
    thresholds = STAGE_THRESHOLDS if merged["reward"]["criterion"] in VISION_R1 else ()
    return {**merged["reward"], **{key: stage[key] for key in thresholds}}


def _grpo_values(config: Config, arm: str, stage: str) -> dict[str, Any]:
    merged = experiment_config(config, arm)
    trained = {key: value for key, value in merged[stage].items() if key not in ("init", *STAGE_THRESHOLDS)}
    reward = reward_of(merged, merged[stage])
    values = {**reward, **merged["grpo"], **trained, "seed": seed_of(config, f"{arm}/{stage}")}
    values.pop("step", None)
    if values.pop("refinement") == "continuous":
        steps = [merged[each]["max_steps"] for each in STAGES]
        values["max_steps"] = sum(steps) if steps[1] > 0 else -1
        if stage == STAGES[0]:
            values["stop_at"] = steps[0]
    return values


def _schedule(config: Config, arm: str) -> dict[str, Any]:
    """Return what an arm's stages share where they are one training: all but criterion and thresholds."""
    merged = experiment_config(config, arm)
    values = _grpo_values(config, arm, STAGES[0]) | {"data": data_of(config, arm), "lora": merged["lora"]}
    return {key: value for key, value in values.items() if key not in (*merged["reward"], *STAGE_THRESHOLDS)}
