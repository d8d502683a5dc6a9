"""Target ablations: what is shared is planned once, and an experiment that fails doesn't take the others with it."""

import json
import shutil

import pytest
from project import SMOKE, Project


@pytest.fixture
def finished(chain, tmp_path):
    """A copy of the finished chain of tests/smoke.yaml."""
    shutil.copytree(chain.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


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
    assert list(resolved["experiments"])[:2] == ["strict", "official"]
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


def test_an_experiment_of_one_s_own_trains_only_what_is_new(finished):
    """Snakemake puts the experiments of an overlay in front of the shipped ones."""
    mine = {"experiments": {"mine": {"grpo_stage2": {"recall_threshold": 0.6}}}}
    overlay = finished.overlay({**mine, "ablations": {"experiments": ["strict", "mine"], "training_seeds": [0]}})
    jobs = finished.planned(*SMOKE, overlay, "--", "ablations")
    assert {name: jobs[name] for name in jobs if name.startswith("train")} == {"train_grpo_stage2": 1}


def test_a_failed_experiment_is_in_the_table_and_leaves_it_with_its_name(finished):
    """A learning rate that no model survives; then the experiment is taken off the list."""
    broken = {"experiments": {"broken": {"grpo": {"learning_rate": 1.0e30}}}}
    overlay = finished.overlay({**broken, "ablations": {"experiments": ["strict", "broken"], "training_seeds": [0]}})
    words = [*SMOKE, overlay, "--keep-going", "--", "ablations"]
    assert "train_grpo_stage2" in finished.planned(*words) and "train_sft" not in finished.planned(*words)
    failed = finished.snakemake(*words, check=False)
    table = finished.folder / "results/smoke/tables/ablations.md"
    assert failed.returncode == 1 and "Some arms failed: results/smoke/tables/ablations.md" in failed.stdout
    assert "| broken | 0 | train\\_grpo\\_stage1: RuntimeError: probability tensor" in table.read_text()
    assert "| strict | strict | yes | yes | yes | yes | 0.5 to 0.75 | 1 |" in table.read_text()
    logs = finished.folder / "results/smoke/logs/train_grpo_stage1/broken.log"
    finished.overlay({**broken, "ablations": {"experiments": ["strict"], "training_seeds": [0]}})
    assert finished.planned(*words) == {"tabulate_ablations": 1, "ablations": 1}
    finished.snakemake(*words)
    assert "broken" not in table.read_text() and logs.is_file()
    assert finished.planned(*words) == {}
