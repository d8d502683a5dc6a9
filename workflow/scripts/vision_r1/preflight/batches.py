"""Batch arithmetic: what TRL's flags mean in prompts, completions, steps and passes over the data."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vision_r1.experiments import (
    SFT,
    chain_of,
    checkpoints_of,
    data_of,
    experiment_config,
    parent_checkpoint,
    resumes,
    split_checkpoint,
)
from vision_r1.files import UserError
from vision_r1.launcher.modes import processes
from vision_r1.objectives import micro_steps_at_once, packing_pays, prompts_at_once


@dataclass(frozen=True)
class Batches:
    """One training's batches. `group` is None in SFT, where a batch counts samples; in GRPO it counts completions."""

    name: str
    steps: int
    per_device: int
    accumulation: int
    processes: int
    rows: int
    group: int | None = None
    micro_steps_per_generation: int = 1
    iterations: int = 1  # updates from the same completions
    share_copies: bool = False  # work once on an image and a prompt that a group's completions have in common

    @property
    def batch(self) -> int:
        """Samples (SFT) or completions (GRPO) that decide one optimiser step, over all processes."""
        return self.per_device * self.accumulation * self.processes

    @property
    def prompts(self) -> float:
        """New prompts that an optimiser step takes."""
        return self.batch / (self.group or 1) / self.iterations

    @property
    def sampled_at_once(self) -> int:
        """Completions that one device samples together."""
        return self.per_device * self.micro_steps_per_generation

    @property
    def prompts_at_once(self) -> int:
        """Prompts that one device reads to sample, at most: copies count unless they are shared."""
        completions = self.sampled_at_once
        return prompts_at_once(completions, self.group) if self.share_copies else completions

    @property
    def whole_groups(self) -> bool:
        """Whether a forward and backward pass shares prompts: TRL shuffles completions between several passes."""
        return self.share_copies and self.micro_steps_per_generation == 1

    @property
    def images(self) -> int:
        """Images that one forward and backward pass encodes, at most."""
        return min(self.per_device, self.prompts_at_once)

    def rows_of_a_pass(self, prompt: float, answer: float) -> tuple[int, float]:
        """Return the rows that the language model reads in one forward and backward pass, and the tokens of a row.

        A row is a prompt with all its answers where training packs them (Packing.of decides), otherwise with one.
        """
        rows, length = self.per_device, prompt + answer
        if self.whole_groups:
            width = prompt + min(self.group, rows) * answer  # rows are padded to that of a whole group
            if packing_pays(rows, length, self.images, width):
                return self.images, width
        return rows, length

    @property
    def samples_seen(self) -> int:
        """Prompts over all steps, repeats counted."""
        return round(self.steps * self.prompts)

    @property
    def epochs(self) -> float:
        """Passes over the training file."""
        return self.samples_seen / self.rows

    def in_words(self) -> str:
        """Say the arithmetic in one or two sentences."""
        place = f"{self.processes} {'process' if self.processes == 1 else 'processes'}"
        parts = f"{self.per_device} per device x {self.accumulation} accumulated x {place}"
        if self.group is None:
            step = f"A step takes {self.batch} samples ({parts})."
        else:
            step = (
                f"A step takes {self.prompts:g} prompts x {self.group} completions = {self.batch} completions "
                f"({parts}). {self.sampled_at_once * self.processes} completions are sampled at once, "
                f"{self.sampled_at_once} per device."
            )
        return (
            f"{step} {self.steps:,} steps see {self.samples_seen:,} samples of {self.rows:,} rows "
            f"(epochs: {self.epochs:.3g})."
        )


def training_batches(
    config: Mapping[str, Any], rows_of: Callable[[str], int], experiments: Sequence[str]
) -> list[Batches]:
    """Return the batches of the SFT baseline and of each experiment's stages, one for each checkpoint.

    rows_of: arm -> rows of its training file. Raises UserError where they are too few for one generation.
    """
    batches: dict[str, Batches] = {}
    for checkpoint in checkpoints_of(config, experiments, [0])[1:]:
        arm, stage = split_checkpoint(checkpoint)
        merged, rows = experiment_config(config, arm), rows_of(arm)
        if stage == SFT:
            batches[checkpoint] = _sft(merged[SFT], checkpoint, processes(config, "train_sft"), rows)
        else:
            continued = batches[parent_checkpoint(config, checkpoint)].steps if resumes(config, checkpoint) else 0
            values = {**merged["grpo"], **merged[stage]}
            batches[checkpoint] = _grpo(values, checkpoint, processes(config, "train_grpo"), rows, continued)
    return list(batches.values())


def _sft(values: Mapping[str, Any], name: str, devices: int, rows: int) -> Batches:
    per_device, accumulation = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
    batch = per_device * devices
    micro_steps = rows // batch if values.get("dataloader_drop_last") else math.ceil(rows / batch)
    if not micro_steps:
        raise UserError(
            f"config: {name}: one batch takes {batch} samples and the training file has {rows} rows; give smaller "
            "batches, or leave out sft.dataloader_drop_last"
        )
    steps = _steps(values, micro_steps)
    return Batches(name, steps, per_device, accumulation, devices, rows)


def _grpo(values: Mapping[str, Any], name: str, devices: int, rows: int, before: int) -> Batches:
    """`before`: steps that earlier stages of the same schedule took; they count where epochs decide its length."""
    per_device, accumulation = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
    group = values["num_generations"]
    at_once = micro_steps_at_once(values)
    prompts = per_device * at_once * devices // group
    if rows < prompts:
        raise UserError(
            f"config: {name}: one generation takes {prompts} prompts and the training file has {rows} rows; "
            "give smaller batches"
        )
    iterations = values.get("num_iterations", 1)
    steps = _steps(values, rows // prompts * at_once * iterations)  # TRL drops rows that fill no generation
    if values["max_steps"] < 1:
        if before >= steps:
            raise UserError(
                f"config: {name}: the whole schedule has {steps} steps and stage 1 ends at step {before}; "
                "lower grpo_stage1.max_steps"
            )
        steps -= before
    shares = values.get("share_copies", True)
    return Batches(name, steps, per_device, accumulation, devices, rows, group, at_once, iterations, shares)


def _steps(values: Mapping[str, Any], micro_steps: int) -> int:
    """micro_steps: forward and backward passes of one device in an epoch, whose last step may have fewer of them."""
    if values.get("max_steps", -1) > 0:
        return values["max_steps"]
    epoch = math.ceil(micro_steps / values["gradient_accumulation_steps"])
    return math.ceil(values.get("num_train_epochs", 3) * epoch)  # 3 is TRL's default


@dataclass(frozen=True)
class Budget:
    """What an experiment is trained with, including the checkpoints it starts from; repeats are counted."""

    steps: int
    prompts: int
    completions: int


def budget(config: Mapping[str, Any], batches: Sequence[Batches], experiment: str) -> Budget:
    """Return what an experiment is trained with, from the base model on; `batches`: its own are among them."""
    known = {each.name: each for each in batches}
    chain = [known[name] for name in chain_of(config, experiment)]
    return Budget(
        sum(each.steps for each in chain),
        sum(each.samples_seen for each in chain),
        sum(each.samples_seen * (each.group or 0) for each in chain),
    )


def unequal(config: Mapping[str, Any], batches: Sequence[Batches]) -> list[str]:
    """Say where arms see other numbers of samples or updates than SFT: no error, but readers must know."""
    sft, lines = batches[0], []
    for name in config["report"]["experiments"]:
        own = budget(config, batches, name)
        if abs(own.steps - sft.steps) > 0.02 * sft.steps or abs(own.prompts - sft.samples_seen) > 0.02 * own.prompts:
            lines.append(
                f"{name} makes {own.steps:,} updates on {own.prompts:,} samples in all, "
                f"sft {sft.steps:,} on {sft.samples_seen:,}"
            )
        if data_of(config, name):
            lines.append(f"{name} has a training file of its own")
    return lines
