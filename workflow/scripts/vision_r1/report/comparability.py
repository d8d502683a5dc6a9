"""Published numbers beside ours: only where an arm is trained and measured as the published one was."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1.data.mixture import training_sources
from vision_r1.evaluation.anchors import NOT_RUN
from vision_r1.experiments import BASE, SFT, STAGES, Config, chain_of, experiment_config, split_checkpoint
from vision_r1.launcher.modes import processes
from vision_r1.report.provenance import flatten

Presets = Mapping[str, Config]  # recipe -> its resolved configuration, of configuration.presets

# The sections that decide an arm's numbers.
OF_BASE = ("model", "evaluation")
OF_SFT = (*OF_BASE, "templates", "data", "lora", "sft")
OF_GRPO = (*OF_BASE, "templates", "data", "lora", "reward", "grpo", *STAGES)
# Keys about how the work is spread and watched; the batches that result are compared instead.
OF_THE_MACHINE = {
    *("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "gradient_checkpointing"),
    *("logging_steps", "save_steps", "backend", "batch_size", "resamples", "anchors"),
    *("suite_protocols", "selection"),
}


def departures(config: Config, preset: Config, arm: str) -> list[str]:
    """List the dotted keys in which an arm differs from the preset's arm of this name.

    arm: base, sft or an experiment, whose published numbers may stand beside ours where the list is empty. Settings of
    the machine may differ as long as the batches are the same, and the authors' released samples are the paper's data.
    """
    own, theirs = _method(config, arm), _method(preset, arm)
    # Suites and protocols beyond the preset's don't affect its numbers.
    keys = [key for key in {**theirs, **own} if key in theirs or not key.startswith("evaluation.")]
    names = [key for key in keys if own.get(key) != theirs.get(key)]
    if all("released" in config["datasets"].get(name, {}) for name in training_sources(config)):
        names = [key for key in names if not key.startswith("data.")]
    return names


def published_numbers(
    config: Config, presets: Presets, anchors: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the lines of check_anchors.py about arms that this run trains and measures as their recipe says."""
    comparable = _comparable(config, presets, anchors)
    return [line for line in anchors if line["id"] == config["model"]["id"] and comparable.get(_arm(line))]


def judged(config: Config, presets: Presets, anchors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return all lines of check_anchors.py; of an arm that isn't trained as its recipe says, nothing was reproduced."""
    comparable = _comparable(config, presets, anchors)
    return [
        line
        if line["status"] == NOT_RUN or _arm(line)[1] == BASE or comparable.get(_arm(line))
        else {**line, "status": "trained otherwise"}
        for line in anchors
    ]


def _comparable(config: Config, presets: Presets, anchors: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], bool]:
    """Return (recipe, arm) -> whether this run trains and measures it as the recipe says."""
    return {
        (recipe, arm): not departures(config, presets[recipe], arm)
        for recipe, arm in {_arm(line) for line in anchors}
        if _known(config, arm)
    }


def _arm(line: Mapping[str, Any]) -> tuple[str, str]:
    return line["recipe"], split_checkpoint(line["checkpoint"])[0]


def nearest(config: Config, presets: Presets) -> tuple[str, list[str]]:
    """Return the recipe whose preset the leading experiment departs from least, and in which keys."""
    leading = config["report"]["experiments"][0]
    found = {name: departures(config, preset, leading) for name, preset in presets.items()}
    name = min(found, key=lambda name: len(found[name]))
    return name, found[name]


def banner(config: Config, presets: Presets) -> str | None:
    """Return the configured banner, or one that names what differs from every preset; None where nothing does."""
    if config["report"]["banner"]:
        return config["report"]["banner"]
    name, keys = nearest(config, presets)
    if not keys:
        return None
    return f"Not comparable with the numbers of recipe {name}: configured otherwise ({first_keys(keys)})."


def first_keys(keys: Sequence[str]) -> str:
    """Name the first five of several keys, and how many more there are."""
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _known(config: Config, arm: str) -> bool:
    return arm in (BASE, SFT, *config["experiments"])


def _method(config: Config, arm: str) -> dict[str, str]:
    merged = config if arm == BASE or not _known(config, arm) else experiment_config(config, arm)
    names = OF_BASE if arm == BASE else OF_SFT if arm == SFT else OF_GRPO
    sections = {name: merged.get(name) for name in names}
    if names is OF_GRPO and _known(config, arm):
        # Stages by how they are trained, not by whose they are: two names for the same training are no difference.
        places = [split_checkpoint(name) for name in chain_of(config, arm)]
        sections |= {stage: {**experiment_config(config, owner)[stage], "init": None} for owner, stage in places}
        sections["stages"] = [stage for _, stage in places]
    method = {key: text for key, text in flatten(sections) if not OF_THE_MACHINE & set(key.split("."))}
    for name in {"sft", "grpo"} & set(names):
        own = merged.get(name, {})
        parts = own.get("per_device_train_batch_size"), own.get("gradient_accumulation_steps")
        if None not in parts:
            method[f"{name}.batch"] = str(math.prod(parts) * processes(config, f"train_{name}"))
    return method
