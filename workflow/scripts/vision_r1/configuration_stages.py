"""What the stages of experiments ask for: contradictions between keys that no schema can see."""

from collections.abc import Mapping
from typing import Any

from vision_r1.experiments import (
    BASE,
    SFT,
    STAGE_THRESHOLDS,
    STAGES,
    VISION_R1,
    chain_of,
    experiment_config,
    reward_of,
    split_checkpoint,
    stages_of,
)
from vision_r1.files import UserError
from vision_r1.launcher.modes import processes
from vision_r1.objectives import check_dropout, check_objective, generation_period, micro_steps_at_once
from vision_r1.zoo import criterion_of


def check_stages(config: Mapping[str, Any], name: str) -> None:
    """Raise UserError where an experiment overrides what it doesn't train, or a stage starts from what none trains."""
    where, own = f"config: experiments.{name}", stages_of(config, name)
    for section in (SFT, *STAGES):
        if section in config["experiments"][name] and section not in own:
            raise UserError(
                f"{where}.{section}: the experiment doesn't train this stage (stages: {', '.join(own)}); "
                f"add it to experiments.{name}.stages, or remove the override"
            )
    order = (SFT, *STAGES)
    others = [(other, each) for other in config["experiments"] for each in stages_of(config, other) if other != name]
    for stage in (stage for stage in own if stage != SFT):
        init, before = experiment_config(config, name)[stage]["init"], [BASE, SFT, *own[: own.index(stage)]]
        earlier = [f"{other}/{each}" for other, each in others if order.index(each) < order.index(stage)]
        if init not in (*before, *earlier):
            raise UserError(
                f"{where}.{stage}.init: unknown checkpoint {init!r}; give one of "
                f"{', '.join(dict.fromkeys(before))}, or <another experiment>/<an earlier stage that it trains>"
            )


def check_stage(config: Mapping[str, Any], name: str, stage: str) -> None:
    """Raise UserError for contradictory settings of a GRPO stage of experiment `name`."""
    merged, where = experiment_config(config, name), f"config: experiments.{name}"
    if merged["grpo"]["refinement"] == "continuous":
        _check_continuous(merged, name, stage)
    values = {**merged["grpo"], **merged[stage]}
    if merged["lora"] and stage == STAGES[1] and values["beta"] and merged["grpo"]["refinement"] == "restart":
        raise UserError(
            f"{where}.grpo.refinement: restart with lora and beta {values['beta']}: the KL term would hold "
            "on to stage 1's model, not to the initial one; give continuous, or beta 0"
        )
    ordered = merged["data"]["order"] == "instances" and values.get("shuffle_dataset") is False
    follows = stage == STAGES[1] and values["init"] == STAGES[0]
    if follows and ordered and merged["grpo"]["refinement"] == "restart":
        raise UserError(
            f"{where}.grpo.refinement: restart, with data.order instances and shuffle_dataset false: stage 2 would "
            "begin with the fewest objects again; give continuous, or grpo_stage2.shuffle_dataset true"
        )
    if merged["lora"]:
        check_dropout(merged["lora"]["dropout"], values, f"{where}.lora.dropout")
    if values["precision_low"] > values["precision_high"]:
        raise UserError(f"{where}.{stage}.precision_low: larger than precision_high")
    started = processes(config, "train_grpo")
    together = values.get("vllm_tensor_parallel_size", 1)
    if started % together:
        raise UserError(
            f"{where}.{stage}.vllm_tensor_parallel_size: {started} processes (compute.launch) can't be grouped by "
            f"{together}"
        )
    check_objective(values, f"{where}.{stage}.")
    if "step" in merged["grpo"] and min(merged[each]["max_steps"] for each in STAGES) < 1:
        raise UserError(f"{where}.grpo.step: it is a share of both stages' max_steps, and has to leave each a step")
    completions = values["per_device_train_batch_size"] * micro_steps_at_once(values) * started
    if completions % values["num_generations"]:
        raise UserError(
            f"{where}.{stage}: {completions} completions are generated at once "
            f"(per_device_train_batch_size x steps_per_generation x processes), "
            f"which is not a multiple of num_generations {values['num_generations']}"
        )
    period = generation_period(values)
    # In a continuous chain stage 2 resumes from stage 1's last checkpoint.
    between = merged["grpo"]["refinement"] == "continuous" and stage == STAGES[0]
    for key in ("save_steps", "max_steps") if between else ("save_steps",):
        if values[key] % period:
            raise UserError(
                f"{where}.{stage}.{key}: {values[key]} is not a multiple of {period}; completions are sampled "
                f"again every {period} steps, and a checkpoint between them can't be resumed from"
            )


def check_rewards(config: Mapping[str, Any]) -> None:
    """Raise UserError for parts or weights that the criterion of a stage asked for does not have."""
    # The listed ablations of Vision-R1's parts are no obstacle to a run with another method's reward.
    ablations = config["ablations"]["experiments"] if config["reward"]["criterion"] in VISION_R1 else []
    for name in dict.fromkeys([*config["report"]["experiments"], *ablations]):
        for checkpoint in chain_of(config, name):
            arm, stage = split_checkpoint(checkpoint)
            if stage not in STAGES:
                continue
            merged = experiment_config(config, arm)
            weights = {**merged["grpo"], **merged[stage]}.get("reward_weights")
            try:
                criterion_of(reward_of(merged, merged[stage])).part_weights(weights)
            except ValueError as error:
                raise UserError(f"config: experiments.{arm}: {error}") from None


def _check_continuous(merged: Mapping[str, Any], name: str, stage: str) -> None:
    where = f"config: experiments.{name}.{stage}"
    own = set(merged[stage]) - {"init", "max_steps", *STAGE_THRESHOLDS}
    if own:
        raise UserError(
            f"{where}.{min(own)}: grpo.refinement is continuous, so both stages share one optimiser and schedule; "
            "give it in section grpo"
        )
    if stage == STAGES[1] and not merged[stage]["init"].endswith(STAGES[0]):
        raise UserError(f"{where}.init: grpo.refinement is continuous, so stage 2 resumes grpo_stage1")
    if stage == STAGES[0] and merged[stage]["max_steps"] < 1:
        raise UserError(f"{where}.max_steps: grpo.refinement is continuous: give the step at which thresholds rise")
