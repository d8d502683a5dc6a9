"""The presets against what is known of the recipes, from tests/data/recipes.yaml."""

from math import prod
from pathlib import Path

import pytest
import yaml

from vision_r1 import configuration
from vision_r1.experiments import experiment_config

ROOT = Path(__file__).parents[2]
FACTS = yaml.safe_load((ROOT / "tests/data/recipes.yaml").read_text())
PRESETS = configuration.presets(ROOT / "config")


def value_of(config, fact):
    """Return the value at a dotted key; some are sums over several keys."""
    experiment, _, key = fact.rpartition(":")
    config = experiment_config(config, experiment) if experiment else config
    if key in ("sft.batch", "grpo.batch"):
        section = config[key.partition(".")[0]]
        parts = section["per_device_train_batch_size"], section["gradient_accumulation_steps"]
        return prod(parts) * configuration.processes(config)
    if key == "share_of_stage1":
        first, second = config["grpo_stage1"]["max_steps"], config["grpo_stage2"]["max_steps"]
        return round(first / (first + second), 4)
    if key == "data.samples":
        return sum(config["data"][task] for task in ("detection", "grounding", "rec", "negative"))
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize(("recipe", "fact"), [(recipe, fact) for recipe in FACTS for fact in FACTS[recipe]])
def test_a_preset_is_its_recipe(recipe, fact):
    expected = FACTS[recipe][fact]
    assert value_of(PRESETS[recipe], fact) == (
        pytest.approx(expected, abs=2e-4) if isinstance(expected, float) else expected
    )


def test_every_recipe_has_facts_a_preset_and_a_criterion():
    from vision_r1.rewards import CRITERIA

    assert set(FACTS) == set(PRESETS) == set(CRITERIA) - {"strict"}
