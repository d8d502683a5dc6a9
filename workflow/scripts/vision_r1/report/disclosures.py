"""What a reader has to know with a run's numbers."""

from collections.abc import Mapping
from typing import Any

from vision_r1.data.mixture import training_sources


def disclosures(config: Mapping[str, Any]) -> list[str]:
    """Return report.disclosures, after what the labels of a base model that is made here were like."""
    coarse = coarse_labels(config)
    return [*([coarse] if coarse else []), *config["report"]["disclosures"]]


def coarse_labels(config: Mapping[str, Any]) -> str | None:
    """Return how coarse the last labels of a base model made here were, and what that means; None if all were exact."""
    base, kinds = config["base"], []
    if base["grow"]:
        kinds.append(f"edges of boxes {100 * base['grow']:g} % of the side too far out")
    if base["jitter"]:
        kinds.append(f"{100 * base['jitter']:g} % jitter")
    if base["drop"]:
        kinds.append(f"{100 * base['drop']:g} % of objects unlabelled")
    steps = base["steps"] - base["exact_steps"]
    if config["model"]["source"] != "made" or steps <= 0 or not kinds:
        return None
    told = (
        f"The base model's training ends with {steps:,} steps on coarse labels, on purpose ({', '.join(kinds)}), after "
        f"{base['exact_steps']:,} steps on exact ones."
    )
    if all("scenes" in config["datasets"].get(name, {}) for name in training_sources(config)):
        told += " GRPO and the evaluation use exact boxes, so GRPO corrects a bias that the base was given."
    return told
