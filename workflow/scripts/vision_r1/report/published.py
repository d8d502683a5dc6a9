"""The paper's numbers beside ours: only where the configuration is the paper's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1 import configuration
from vision_r1.data.mixture import training_sources
from vision_r1.experiments import experiment_config
from vision_r1.report.provenance import flatten

SECTIONS = ("model", "data", "reward", "lora", "sft", "grpo", "grpo_stage1", "grpo_stage2", "evaluation")
# How the work is spread and watched; the batches that come of it are compared instead.
OF_THE_MACHINE = {
    *("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "gradient_checkpointing"),
    *("logging_steps", "save_steps", "backend", "batch_size", "shards", "resamples", "anchors"),
    *("suite_protocols", "selection"),
}
EXPERIMENT = "official"  # the one whose checkpoints config/published.yaml names


def departures(config: Mapping[str, Any], paper: Mapping[str, Any]) -> list[str]:
    """List the dotted keys in which a resolved configuration is not the paper's; none: its numbers may stand beside.

    paper: the resolved configuration of config/paper.yaml. Settings of the machine may differ as long as the
    batches are the same, and the authors' released samples are the paper's data.
    """
    own, theirs = _method(config), _method(paper)
    # More suites and protocols than the paper's don't touch its numbers.
    keys = [key for key in {**theirs, **own} if key in theirs or not key.startswith("evaluation.")]
    names = [key for key in keys if own.get(key) != theirs.get(key)]
    if all("released" in config["datasets"].get(name, {}) for name in training_sources(config)):
        names = [key for key in names if not key.startswith("data.")]
    return names


def paper_numbers(
    config: Mapping[str, Any], paper: Mapping[str, Any], anchors: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the lines of check_anchors.py about this run's model; none where the configuration isn't the paper's."""
    if departures(config, paper):
        return []
    return [line for line in anchors if line["id"] == config["model"]["id"]]


def banner(config: Mapping[str, Any], paper: Mapping[str, Any]) -> str | None:
    """Return the configured banner, or one that says in what the configuration is not the paper's; None where it is.

    paper: as in `departures`, empty where it was not given.
    """
    if config["report"]["banner"] or not paper or not (keys := departures(config, paper)):
        return config["report"]["banner"]
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return f"Not the paper's configuration ({', '.join(keys[:5])}{more}): its numbers are not comparable with these."


def _method(config: Mapping[str, Any]) -> dict[str, str]:
    merged = experiment_config(config, EXPERIMENT)
    sections = {name: merged.get(name) for name in SECTIONS}
    method = {key: text for key, text in flatten(sections) if not OF_THE_MACHINE & set(key.split("."))}
    for name in ("sft", "grpo"):
        own = merged.get(name, {})
        parts = own.get("per_device_train_batch_size"), own.get("gradient_accumulation_steps")
        if None not in parts:
            method[f"{name}.batch"] = str(math.prod(parts) * configuration.processes(config))
    return method
