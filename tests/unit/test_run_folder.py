"""A run's folder: the paths of everything that the configuration names."""

import json
from pathlib import Path

import pytest
from configurations import load

from vision_r1.files import UserError
from vision_r1.run_folder import Run


def test_paths_follow_from_the_configuration(root):
    config = load(root, "smoke")
    run = Run("results/smoke", config)
    assert run.suites == ["shapes", "shapes13"]
    assert run.checkpoints == ["base", "sft", "strict/grpo_stage1", "strict/grpo_stage2"]
    assert run.ends("report") == ["sft", "strict/grpo_stage2"]
    assert run.ends("ablations")[-1] == "beginner_only_s1/grpo_stage2"
    assert run.metrics("sft_s1", "shapes") == Path("results/smoke/metrics/sft_s1/shapes.json")
    assert run.scored(["base"]) == [("base", "shapes"), ("base", "shapes13")]
    assert run.gallery[:3] == [("base", "shapes"), ("sft", "shapes"), ("strict/grpo_stage2", "shapes")]
    assert run.benchmarks[0] == ("shapes", config["evaluation"]["suite_protocols"]["shapes"][0])


def test_jobs_of_a_shared_stage_belong_to_the_experiment_that_trains_it(root):
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


def test_an_experiments_own_data_has_its_own_folder(root):
    config = load(root, "smoke")
    run = Run("results/smoke", config)
    assert "data" in config["experiments"]["more_negatives"]
    assert run.train_file("strict_s1") == run.train_file() == Path("results/smoke/data/train.jsonl")
    assert run.train_file("more_negatives_s1") == Path("results/smoke/data/of/more_negatives/train.jsonl")
    assert run.curation("more_negatives") == Path("results/smoke/data/of/more_negatives/curation.json")


def test_benchmarks_but_not_the_selection_split_are_kept_out_of_training(root):
    config = load(root, "miniature")
    config["report"]["suites"] = ["shapes", "selection"]
    run = Run("results/miniature", config)
    assert run.trained_on == ["scenes_train"]
    assert run.tested == ["scenes_test", "selection"] and run.kept_out == ["scenes_test"]


@pytest.mark.parametrize("config", [{"model_type": "bert"}, [], {"evaluation": {}}])
def test_a_folder_with_another_configuration_is_not_a_checkpoints_run(tmp_path, config):
    folder = tmp_path / "models/mine/model"
    folder.mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = Run.of_model(folder)
    assert (found.config if found else None) == (config if "evaluation" in config else None)


def test_a_continuous_stage_2_resumes_stage_1s_trainer(root):
    paper = Run("results/paper", load(root, "paper"))
    assert paper.resumed("step_1_2/grpo_stage2") == ["results/paper/models/step_1/grpo_stage1/checkpoint"]
    assert Run("results/smoke", load(root, "smoke")).resumed("strict/grpo_stage2") == []


def test_a_published_table_needs_measurements_of_the_runs_arms_only(root):
    run = Run("results/paper", load(root, "paper"))
    wanted = [("base", "coco"), ("sft", "coco"), ("base", "coco"), ("elsewhere/grpo_stage1", "coco"), ("base", "lvis")]
    assert run.measurable(wanted) == [("base", "coco"), ("sft", "coco")]


def test_a_run_is_read_from_its_folder(tmp_path):
    with pytest.raises(UserError, match="no config.json in it"):
        Run.read(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"report": {"suites": ["shapes"]}}))
    assert Run.read(tmp_path).suites == ["shapes"]


@pytest.mark.parametrize(("place", "found"), [("models/mine/model", True), ("other/mine/model", False)])
def test_a_checkpoints_run_is_above_its_folder_models(tmp_path, place, found):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    assert Run.of_model(folder) is None
    (tmp_path / "config.json").write_text(json.dumps({"evaluation": {}}))
    assert (Run.of_model(folder) is not None) == found
