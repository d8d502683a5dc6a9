"""A run's folder: what the configuration names, at its place."""

import json
from pathlib import Path

import pytest
from configurations import load

from vision_r1.files import UserError
from vision_r1.run_folder import Run


def test_it_names_what_the_configuration_asks_for(root):
    config = load(root, "smoke")
    run = Run("results/smoke", config)
    assert run.suites == ["shapes", "shapes13"]
    assert run.checkpoints == ["base", "sft", "strict/grpo_stage1", "strict/grpo_stage2"]
    assert run.ends("report") == ["sft", "strict/grpo_stage2"]
    assert run.ends("ablations")[-1] == "beginner_only_s1/grpo_stage2"
    assert run.metrics("sft_s1", "shapes") == Path("results/smoke/metrics/sft_s1/shapes.json")
    assert run.benchmarks[0] == ("shapes", config["evaluation"]["suite_protocols"]["shapes"][0])


def test_jobs_of_a_shared_stage_are_those_of_who_trains_it(root):
    rules = [
        (rule, str(log.relative_to("results/smoke/logs")))
        for rule, _, log in Run("results/smoke", load(root, "smoke")).jobs("beginner_only_s1/grpo_stage2")
    ]
    assert rules[:3] == [
        ("train_grpo", "train_grpo/strict_s1/grpo_stage1.log"),
        ("train_grpo", "train_grpo/beginner_only_s1/grpo_stage2.log"),
        ("predict_suite", "predict_suite/beginner_only_s1/grpo_stage2/shapes.log"),
    ]
    assert len(rules) == 6


def test_it_is_read_from_its_folder(tmp_path):
    with pytest.raises(UserError, match="no config.json in it"):
        Run.read(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"report": {"suites": ["shapes"]}}))
    assert Run.read(tmp_path).suites == ["shapes"]
