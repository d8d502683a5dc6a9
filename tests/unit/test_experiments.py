"""Experiments are overrides; what two of them train alike is one checkpoint."""

import copy

import pytest
from configurations import load

from vision_r1.experiments import (
    STAGES,
    chain_of,
    checkpoint_of,
    checkpoints_of,
    data_of,
    experiment_config,
    final_checkpoint,
    merge,
    parent_checkpoint,
    reference_checkpoint,
    seed_of,
    stages_of,
    training_values,
)


@pytest.fixture
def config(root):
    return load(root, "miniature")


def test_experiments_override_and_leave_the_base_alone(config):
    before = copy.deepcopy(config)
    released_2025 = experiment_config(config, "released_2025_s3")
    assert released_2025["reward"]["criterion"] == "released_2025"
    assert released_2025["grpo"] == config["grpo"]
    assert config == before


def test_parents_and_the_reference_follow_init(config):
    config["experiments"]["longer"] = {"grpo_stage2": {"init": "strict/grpo_stage1"}}
    config["experiments"]["after_sft"] = {"grpo_stage1": {"init": "sft"}}
    assert (
        parent_checkpoint(config, "strict", "grpo_stage1")
        == reference_checkpoint(config, "strict", "grpo_stage1")
        == "base"
    )
    assert parent_checkpoint(config, "strict_s2", "grpo_stage2") == "strict_s2/grpo_stage1"
    assert parent_checkpoint(config, "longer_s2", "grpo_stage2") == "strict_s2/grpo_stage1"
    assert reference_checkpoint(config, "longer_s2", "grpo_stage2") == "base"
    assert parent_checkpoint(config, "after_sft_s1", "grpo_stage1") == "sft_s1"
    assert reference_checkpoint(config, "after_sft_s1", "grpo_stage2") == "sft_s1"


def test_seeds_differ_by_chain_training_seed_and_stage(config):
    other_chain = merge(config, {"seed": 1})
    seeds = [
        seed_of(chain, name, stage)
        for chain in (config, other_chain)
        for name in ("strict", "strict_s1", "strict_s12")
        for stage in ("grpo_stage1", "grpo_stage2")
    ]
    assert len(set(seeds)) == len(seeds)
    # Arms are compared under the same seed, so that they see the same prompts.
    assert seed_of(config, "strict_s1", "grpo_stage1") == seed_of(config, "released_2025_s1", "grpo_stage1")


def test_continuous_stages_share_seed_and_schedule(config):
    def stages(**options):
        changed = merge(config, {"experiments": {"strict": {"grpo": {"refinement": "continuous"}}}, **options})
        return [training_values(changed, "strict_s1", stage) for stage in STAGES]

    first, second = stages()
    assert (first["max_steps"], first["stop_at"], second["max_steps"]) == (200, 100, 200)
    assert first["seed"] == second["seed"] and "stop_at" not in second
    assert [stage["max_steps"] for stage in stages(grpo_stage2={"max_steps": -1})] == [-1, -1]
    restarted = [training_values(config, "strict", stage) for stage in STAGES]
    assert [stage["max_steps"] for stage in restarted] == [100, 100]
    assert restarted[0]["seed"] != restarted[1]["seed"]


def test_a_stage_that_an_experiment_leaves_alone_is_shared(config):
    assert checkpoints_of(config, ["strict", "beginner_only", "without_recall"], [0, 2]) == [
        *("base", "sft", "sft_s2"),
        *("strict/grpo_stage1", "strict/grpo_stage2", "strict_s2/grpo_stage1", "strict_s2/grpo_stage2"),
        *("beginner_only/grpo_stage2", "beginner_only_s2/grpo_stage2"),
        *("without_recall/grpo_stage1", "without_recall/grpo_stage2"),
        *("without_recall_s2/grpo_stage1", "without_recall_s2/grpo_stage2"),
    ]
    assert parent_checkpoint(config, "beginner_only_s2", "grpo_stage2") == "strict_s2/grpo_stage1"
    assert chain_of(config, "beginner_only_s2/grpo_stage2") == ["strict_s2/grpo_stage1", "beginner_only_s2/grpo_stage2"]


def test_what_is_trained_alike_starts_alike(config):
    """Equal words are not enough: the same thresholds after another stage 1 make another model."""
    later = {"grpo_stage1": {"init": "sft"}, "reward": {"criterion": "strict"}}
    config["experiments"] |= {"later": later, "again": {}, "after": {"grpo_stage2": {"init": "later/grpo_stage1"}}}
    assert final_checkpoint(config, "again_s1") == "strict_s1/grpo_stage2"
    assert checkpoint_of(config, "later", "grpo_stage2") == "after_sft/grpo_stage2"  # the same, and before it
    assert checkpoint_of(config, "after", "grpo_stage1") == "strict/grpo_stage1"
    assert checkpoint_of(config, "after", "grpo_stage2") == "after_sft/grpo_stage2"


def test_one_continuous_schedule_is_not_two_that_restart(config):
    assert checkpoint_of(config, "step_1", "grpo_stage1") == "step_1/grpo_stage1"
    paper = merge(config, {"grpo": {"refinement": "continuous"}})
    assert checkpoint_of(paper, "step_1", "grpo_stage1") == "strict/grpo_stage1"
    assert final_checkpoint(paper, "beginner_only") == final_checkpoint(paper, "step_1")


def test_step_is_the_share_of_stage_1(config):
    for name, steps in (("step_1", (100, 100)), ("step_1_2", (100, 100)), ("step_1_3", (67, 133))):
        merged = experiment_config(config, name)
        assert tuple(merged[stage]["max_steps"] for stage in STAGES) == steps
        first, second = (training_values(config, name, stage) for stage in STAGES)
        assert (first["stop_at"], first["max_steps"], second["max_steps"]) == (steps[0], 200, 200)
        assert "step" not in first
    config["grpo_stage2"]["max_steps"] = -1  # epochs decide, and the share of them is not known
    assert experiment_config(config, "step_1_3")["grpo_stage1"]["max_steps"] == 100


def test_an_experiment_can_be_an_sft_baseline(config):
    assert stages_of(config, "sft_matched_s1") == ("sft",) == stages_of(config, "sft_s1")
    assert final_checkpoint(config, "sft_matched_s1") == "sft_matched_s1/sft"
    assert parent_checkpoint(config, "sft_matched", "sft") == "base"
    config["experiments"]["both"] = {"sft": {"max_steps": 7}, "grpo_stage1": {"init": "sft"}}
    assert stages_of(config, "both") == STAGES
    assert chain_of(config, final_checkpoint(config, "both")) == [*("both/sft", "both/grpo_stage1", "both/grpo_stage2")]
    assert reference_checkpoint(config, "both", "grpo_stage2") == "both/sft"
    config["experiments"]["same"] = {"sft": {"max_steps": config["sft"]["max_steps"]}}
    assert final_checkpoint(config, "same_s2") == "sft_s2"


def test_adapters_and_data_make_another_checkpoint(config):
    config["experiments"]["adapters_after_sft"] = {"lora": {"r": 2}, "grpo_stage1": {"init": "sft"}}
    assert parent_checkpoint(config, "adapters_after_sft", "grpo_stage1") == "adapters_after_sft/sft"
    config["experiments"]["other_data"] = {"data": {"order": "instances"}}
    assert checkpoint_of(config, "other_data", "grpo_stage1") == "other_data/grpo_stage1"
    assert (data_of(config, "strict_s1"), data_of(config, "other_data_s1")) == (None, "curriculum")
