"""Experiments are overrides; each trains its own checkpoints, and starts from others by name."""

import copy

import pytest
from configurations import load

from vision_r1.configuration import presets
from vision_r1.experiments import (
    STAGES,
    chain_of,
    checkpoints_of,
    compared_with,
    data_of,
    experiment_config,
    final_checkpoint,
    merge,
    parent_checkpoint,
    reference_checkpoint,
    resumes,
    seed_of,
    stages_of,
    training_values,
)
from vision_r1.files import UserError


@pytest.fixture
def config(root):
    return load(root, "miniature")


@pytest.mark.parametrize("recipe", ["strict", "paper", "released_2025", "upstream_2026"])
@pytest.mark.parametrize("name", ["single_advanced", "advanced_only"])
def test_advanced_thresholds_hold_in_both_stages_of_every_preset(root, recipe, name):
    config = load(root, "miniature") if recipe == "strict" else presets(root / "config")[recipe]
    keys = ("recall_threshold", "precision_low", "precision_high")
    stages = [training_values(config, f"{name}/{stage}") for stage in STAGES]
    assert len({tuple(values[key] for key in keys) for values in stages}) == 1


def test_experiments_override_without_changing_the_configuration(config):
    before = copy.deepcopy(config)
    released_2025 = experiment_config(config, "released_2025_s3")
    assert released_2025["reward"]["criterion"] == "released_2025"
    assert released_2025["grpo"] == config["grpo"]
    assert config == before


def test_parents_and_the_reference_follow_init(config):
    longer = {"stages": ["grpo_stage2"], "grpo_stage2": {"init": "strict/grpo_stage1"}}
    config["experiments"]["longer"] = longer
    assert parent_checkpoint(config, "strict/grpo_stage1") == "base"
    assert reference_checkpoint(config, "strict/grpo_stage1") == "base"
    assert parent_checkpoint(config, "strict_s2/grpo_stage2") == "strict_s2/grpo_stage1"
    assert parent_checkpoint(config, "longer_s2/grpo_stage2") == "strict_s2/grpo_stage1"
    assert reference_checkpoint(config, "longer_s2/grpo_stage2") == "base"
    assert parent_checkpoint(config, "after_sft_s1/grpo_stage1") == "sft_s1"
    assert reference_checkpoint(config, "after_sft_s1/grpo_stage2") == "sft_s1"


def test_seeds_differ_by_chain_training_seed_and_stage(config):
    other_chain = merge(config, {"seed": 1})
    seeds = [
        seed_of(chain, f"{name}/{stage}")
        for chain in (config, other_chain)
        for name in ("strict", "strict_s1", "strict_s12")
        for stage in ("grpo_stage1", "grpo_stage2")
    ]
    assert len(set(seeds)) == len(seeds)
    # Arms that are compared have the same seed, so that they see the same prompts.
    assert seed_of(config, "strict_s1/grpo_stage1") == seed_of(config, "released_2025_s1/grpo_stage1")


def test_continuous_stages_share_seed_and_schedule(config):
    def stages(**options):
        changed = merge(config, {"experiments": {"strict": {"grpo": {"refinement": "continuous"}}}, **options})
        return [training_values(changed, f"strict_s1/{stage}") for stage in STAGES]

    first, second = stages()
    assert (first["max_steps"], first["stop_at"], second["max_steps"]) == (200, 100, 200)
    assert first["seed"] == second["seed"] and "stop_at" not in second
    continuous = merge(config, {"experiments": {"strict": {"grpo": {"refinement": "continuous"}}}})
    assert seed_of(continuous, "strict_s1/grpo_stage2") == second["seed"], "the report names the seed that was used"
    assert [stage["max_steps"] for stage in stages(grpo_stage2={"max_steps": -1})] == [-1, -1]
    restarted = [training_values(config, f"strict/{stage}") for stage in STAGES]
    assert [stage["max_steps"] for stage in restarted] == [100, 100]
    assert restarted[0]["seed"] != restarted[1]["seed"]


def test_a_stage_is_shared_by_its_name(config):
    assert checkpoints_of(config, ["strict", "beginner_only", "without_recall"], [0, 2]) == [
        *("base", "sft", "sft_s2"),
        *("strict/grpo_stage1", "strict/grpo_stage2", "strict_s2/grpo_stage1", "strict_s2/grpo_stage2"),
        *("beginner_only/grpo_stage2", "beginner_only_s2/grpo_stage2"),
        *("without_recall/grpo_stage1", "without_recall/grpo_stage2"),
        *("without_recall_s2/grpo_stage1", "without_recall_s2/grpo_stage2"),
    ]
    assert parent_checkpoint(config, "beginner_only_s2/grpo_stage2") == "strict_s2/grpo_stage1"
    # Even alone it needs strict's stage 1.
    assert checkpoints_of(config, ["beginner_only"], [0]) == ["base", "sft", *chain_of(config, "beginner_only")]
    assert chain_of(config, "beginner_only_s2") == ["strict_s2/grpo_stage1", "beginner_only_s2/grpo_stage2"]
    with pytest.raises(UserError, match="experiments.beginner_only: trains grpo_stage2, .*ask for strict/grpo_stage1"):
        training_values(config, "beginner_only/grpo_stage1")


def test_a_shared_stage_keeps_its_experiment_whatever_the_order(config):
    """A user's experiment with the settings of another one neither renames it nor takes its name."""
    names = config["experiments"]
    config["experiments"] = {"again": names["strict"], **dict(reversed(names.items()))}
    assert final_checkpoint(config, "again_s1") == "again_s1/grpo_stage2"
    assert final_checkpoint(config, "strict") == "strict/grpo_stage2"


def test_a_schedule_can_only_be_continued_with_its_settings(config):
    assert resumes(config, "step_1_2/grpo_stage2") and not resumes(config, "step_1/grpo_stage1")
    assert not resumes(config, "strict/grpo_stage2")
    first, second = (training_values(config, name) for name in ("step_1/grpo_stage1", "step_1_2/grpo_stage2"))
    same = first.keys() - {"stop_at", "recall_threshold", "precision_low", "precision_high"}
    assert {key: first[key] for key in same} == {key: second[key] for key in same}
    config["grpo_stage1"]["max_steps"] = 120  # step_1 stops there, but half of 220 is 110
    with pytest.raises(UserError, match="experiments.step_1_2: .* another end of stage 1"):
        training_values(config, "step_1_2/grpo_stage2")


def test_step_is_the_share_of_stage_1(config):
    for name, steps in (("step_1", (100, 100)), ("step_1_2", (100, 100)), ("step_1_3", (67, 133))):
        merged = experiment_config(config, name)
        assert tuple(merged[stage]["max_steps"] for stage in STAGES) == steps
        first, second = (training_values(config, checkpoint) for checkpoint in chain_of(config, name))
        assert (first["stop_at"], first["max_steps"], second["max_steps"]) == (steps[0], 200, 200)
        assert "step" not in first
    config["grpo_stage2"]["max_steps"] = -1  # epochs decide, so the share in steps is unknown
    assert experiment_config(config, "step_1_3")["grpo_stage1"]["max_steps"] == 100


def test_an_experiment_can_be_an_sft_baseline(config):
    assert stages_of(config, "sft_matched_s1") == ["sft"] == stages_of(config, "sft_s1")
    assert final_checkpoint(config, "sft_matched_s1") == "sft_matched_s1/sft"
    assert parent_checkpoint(config, "sft_matched/sft") == "base"
    own = {"stages": ["grpo_stage1", "sft", "grpo_stage2"], "grpo_stage1": {"init": "sft"}}
    config["experiments"]["both"] = own
    assert chain_of(config, "both") == ["both/sft", "both/grpo_stage1", "both/grpo_stage2"]
    assert reference_checkpoint(config, "both/grpo_stage2") == "both/sft"
    assert compared_with(config, "both/grpo_stage2") == ["base", "both/grpo_stage1", "both/sft", "sft"]
    assert chain_of(config, "after_sft_s1")[0] == "sft_s1"  # without its own SFT it uses the baseline


def test_a_training_file_belongs_to_the_experiment_that_overrides_it(config):
    assert data_of(config, "curriculum_s1") == "curriculum"
    assert data_of(config, "strict") is data_of(config, "sft") is None
