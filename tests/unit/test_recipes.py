"""The presets against the known facts of their recipes, from tests/data/recipes.yaml."""

import re
from math import prod
from pathlib import Path

import pytest
import yaml

from vision_r1 import configuration
from vision_r1.data.mixture import samples_asked_for
from vision_r1.experiments import experiment_config
from vision_r1.launcher.modes import processes

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
        return prod(parts) * processes(config, f"train_{key.partition('.')[0]}")
    if key == "share_of_stage1":
        first, second = config["grpo_stage1"]["max_steps"], config["grpo_stage2"]["max_steps"]
        return round(first / (first + second), 4)
    if key == "data.samples":
        return samples_asked_for(config)
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize(("recipe", "fact"), [(recipe, fact) for recipe in FACTS for fact in FACTS[recipe]])
def test_a_preset_agrees_with_its_recipe(recipe, fact):
    expected = FACTS[recipe][fact]
    assert value_of(PRESETS[recipe], fact) == (
        pytest.approx(expected, abs=2e-4) if isinstance(expected, float) else expected
    )


def deviations():
    """Yield (recipe, key, value) from the rows of docs/reproduction.md that name a key."""
    _, _, table = (ROOT / "docs/reproduction.md").read_text().partition("## Deviations")
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 5 and cells[4] and cells[0] not in ("recipe", "---"):
            yield from (
                (recipe, cells[4], cells[3]) for recipe in (PRESETS if cells[0] == "all" else cells[0].split(", "))
            )


@pytest.mark.parametrize(("recipe", "key", "value"), list(deviations()))
def test_documented_deviations_agree_with_the_preset(recipe, key, value):
    assert value_of(PRESETS[recipe], key) == yaml.safe_load(value)


def test_deviations_marked_in_a_preset_are_documented():
    named = {key.rpartition(".")[2] for _, key, _ in deviations()} | {"layout", "rounding"}
    for name in ("paper", "released_2025", "upstream_2026"):
        for line in (ROOT / f"config/{name}.yaml").read_text().splitlines():
            text, _, comment = line.partition(" # ")
            if comment.startswith("ours"):
                key = text.strip().partition(":")[0]
                assert key in named or key in ("sft",), f"config/{name}.yaml: {line}"


def test_every_recipe_has_facts_a_preset_and_a_criterion():
    from vision_r1.rewards import CRITERIA

    assert set(FACTS) == set(PRESETS) == set(CRITERIA) - {"strict"}


def test_no_preset_has_disclosures_that_only_apply_to_another():
    """A preset that changes the SFT arm or the limit of answers must not inherit paper.yaml's sentences about them."""
    for name in ("released_2025", "upstream_2026"):
        config = PRESETS[name]
        text = " ".join(config["report"]["disclosures"])
        assert ("512 tokens" in text) == (config["grpo"]["max_completion_length"] == 512)
        assert ("batch of 128" in text) == (value_of(config, "sft.batch") == 128)


def test_links_in_the_docs_exist():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks/results").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"
