"""Dry runs of target `ablations`: work that experiments share is planned once."""

import pytest
from configurations import load
from project import SMOKE

from vision_r1.experiments import chain_of


def test_shared_work_is_planned_once(project):
    """Three experiments x 2 seeds: beginner_only starts from strict's stage 1; all share data, base model and SFT."""
    jobs = project.planned(*SMOKE, "--", "ablations")
    assert {name: jobs[name] for name in jobs if name.startswith(("make_base", "curate", "train"))} == {
        "make_base_model": 1,
        "curate_train": 1,
        "train_sft": 2,
        "train_grpo": 2 * (2 + 1 + 2),
    }
    assert jobs["score_suite"] == 2 * (1 + 2 + 6) and jobs["tabulate_ablations"] == 1


def test_all_experiments_at_once(project, root):
    """Every experiment trains its own stages once and finds the shared ones; all are reported and compared."""
    config = load(root, "smoke")
    names = list(config["experiments"])
    trained = [checkpoint for name in names for checkpoint in chain_of(config, name) if checkpoint != "sft"]
    every = {"experiments": names, "training_seeds": [0]}
    jobs = project.planned(*SMOKE, project.overlay({"report": every, "ablations": every}), "--", "all", "ablations")
    grpo = {checkpoint for checkpoint in trained if not checkpoint.endswith("/sft")}
    assert (jobs["train_sft"], jobs["train_grpo"]) == (2, len(grpo)) and len(grpo) == 2 * (len(names) - 1) - 2
    assert jobs["curate_experiment"] == 2 and jobs["predict_suite"] == 2 * (2 + len(set(trained)))


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("curriculum", {"curate_experiment": 1, "train_grpo": 4}),
        ("more_negatives", {"curate_experiment": 1, "train_grpo": 4}),
        ("sft_matched", {"train_sft": 2, "train_grpo": 2}),
        ("lora", {"train_sft": 1, "train_grpo": 4}),
        ("group_of_16", {"train_sft": 1, "train_grpo": 4}),
        ("single_advanced", {"train_grpo": 4}),
        ("advanced_only", {"train_grpo": 4}),
        ("after_sft", {"train_sft": 1, "train_grpo": 4}),
        ("without_differentiation", {"train_grpo": 4}),
    ],
)
@pytest.mark.slow  # test_all_experiments_at_once plans them together
def test_every_type_of_experiment_is_planned(project, name, own):
    overlay = project.overlay({"ablations": {"experiments": ["strict", name], "training_seeds": [0]}})
    jobs = project.planned(*SMOKE, overlay, "--", "ablations")
    assert {rule: jobs[rule] for rule in own} == own and jobs["curate_train"] == 1
