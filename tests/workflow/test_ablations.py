"""Dry runs of target ablations: what is shared is planned once."""

import json

import pytest
from project import SMOKE


def test_what_two_experiments_train_alike_is_trained_once(project):
    """Three experiments x 2 seeds: beginner_only goes on from strict's stage 1; data, base and SFT are everyone's."""
    jobs = project.planned(*SMOKE, "--", "ablations")
    assert {name: jobs[name] for name in jobs if name.startswith(("make_base", "curate", "train"))} == {
        "make_base_model": 1,
        "curate_train": 1,
        "train_sft": 2,
        "train_grpo_stage1": 4,
        "train_grpo_stage2": 6,
    }
    # Programs that read the configuration have to name what is shared as the rules do.
    resolved = json.loads((project.folder / "results/smoke/config.json").read_text())
    assert list(resolved["experiments"])[:2] == ["strict", "step_1"]
    assert jobs["score_suite"] == 2 * (1 + 2 + 6) and jobs["tabulate_ablations"] == 1


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("curriculum", {"curate_experiment": 1, "train_grpo_stage1": 2, "train_grpo_stage2": 2}),
        ("more_negatives", {"curate_experiment": 1, "train_grpo_stage1": 2, "train_grpo_stage2": 2}),
        ("sft_matched", {"train_sft": 2, "train_grpo_stage1": 1, "train_grpo_stage2": 1}),
        ("lora", {"train_sft": 1, "train_grpo_stage1": 2, "train_grpo_stage2": 2}),
        ("group_of_16", {"train_sft": 1, "train_grpo_stage1": 2, "train_grpo_stage2": 2}),
        ("single_advanced", {"train_grpo_stage1_continuous": 1, "train_grpo_stage2_continuous": 1}),
        ("advanced_only", {"train_grpo_stage1": 2, "train_grpo_stage2": 2}),
        ("after_sft", {"train_sft": 1, "train_grpo_stage1": 2, "train_grpo_stage2": 2}),
        ("without_differentiation", {"train_grpo_stage1": 2, "train_grpo_stage2": 2}),
    ],
)
def test_every_kind_of_experiment_is_planned(project, name, own):
    overlay = project.overlay({"ablations": {"experiments": ["strict", name], "training_seeds": [0]}})
    jobs = project.planned(*SMOKE, overlay, "--", "ablations")
    assert {rule: jobs[rule] for rule in own} == own and jobs["curate_train"] == 1
