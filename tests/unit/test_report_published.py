"""Published numbers are shown beside ours only if an arm is trained and measured in the same way."""

from pathlib import Path

import configurations
import pytest

from vision_r1 import configuration
from vision_r1.evaluation.anchors import check
from vision_r1.evaluation.published import read_published
from vision_r1.report.comparability import banner, departures, judged, published_numbers
from vision_r1.report.tables import Column, main_table

ROOT = Path(__file__).parents[2]
PRESETS = configuration.presets(ROOT / "config")
PAPER = PRESETS["paper"]
PUBLISHED = read_published(ROOT / "config/published.yaml")


def lines_of(config):
    return published_numbers(config, PRESETS, check(PUBLISHED, config["model"]["id"], {}))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_no_departures_from_its_recipe(name):
    config = configurations.load(ROOT, name)
    for arm in ("base", "sft", *config["experiments"]):
        assert departures(config, PRESETS[name], arm) == [], arm
    assert banner(config, PRESETS) is None


@pytest.mark.parametrize("name", ["two_nodes", "released_data"])
def test_the_papers_configuration_on_other_machines_is_still_the_papers(name):
    config = configurations.load(ROOT, name)
    assert departures(config, PAPER, "step_1") == []
    checkpoints = {line["checkpoint"] for line in lines_of(config)}
    assert {"base", "sft", "step_1/grpo_stage2"} <= checkpoints


@pytest.mark.parametrize(
    ("name", "key"),
    [("miniature", "model.id"), ("qwen2_5_vl_3b", "model.id"), ("lora_24gb", "lora"), ("vllm", "grpo.top_k")],
)
def test_another_method_is_not_the_papers(name, key):
    config = configurations.load(ROOT, name)
    assert key in departures(config, PAPER, "step_1")
    assert "step_1/grpo_stage2" not in {line["checkpoint"] for line in lines_of(config)}


def test_the_released_code_shares_the_papers_base_only():
    config = configurations.load(ROOT, "released_2025")
    data = {"data.grounding.odinw_train", "data.negative.odinw_train", "data.negative"}
    assert {*departures(config, PAPER, "step_1_2")} == {*data, "reward.criterion", "grpo.beta"}
    assert {*departures(config, PAPER, "sft")} == data
    assert {line["checkpoint"] for line in lines_of(config)} == {"base"}


def test_a_changed_setting_is_named():
    config = configurations.load(ROOT, "paper")
    config["grpo_stage2"]["recall_threshold"] = 0.8
    assert departures(config, PAPER, "paper") == ["grpo_stage2.recall_threshold"]
    assert departures(config, PAPER, "step_1") == departures(config, PAPER, "sft") == []
    config["grpo"]["beta"] = 0.04
    assert departures(config, PAPER, "step_1") == ["grpo.beta"]
    assert banner(config, PRESETS) == (
        "Not comparable with the numbers of recipe paper: configured otherwise (grpo.beta)."
    )
    assert {line["checkpoint"] for line in lines_of(config)} == {"base", "sft"}


def test_a_long_list_is_compared_to_its_end():
    config = configurations.load(ROOT, "upstream_2026")
    config["evaluation"]["suites"]["odinw13"] = [*config["evaluation"]["suites"]["odinw13"], "coco_val"]
    assert departures(config, PRESETS["upstream_2026"], "base") == ["evaluation.suites.odinw13"]


def test_an_arm_that_is_trained_otherwise_reproduces_nothing():
    def statuses(name):
        config = configurations.load(ROOT, name)
        lines = [{**line, "status": "reproduced"} for line in check(PUBLISHED, config["model"]["id"], {})]
        found = judged(config, PRESETS, [line for line in lines if line["recipe"] == "paper"])
        return {line["checkpoint"]: line["status"] for line in found}

    assert set(statuses("paper").values()) == {"reproduced"}
    lora = statuses("lora_80gb")
    assert (lora["base"], lora["step_1/grpo_stage2"]) == ("reproduced", "trained otherwise")


def test_scores_of_the_papers_model_are_shown_beside_the_published_ones():
    columns = [Column("coco", "released-one-prompt", metric) for metric in ("AP", "AP50", "AP75")]
    columns += [Column("odinw13", "released-present", "AP")]
    rows = main_table([], ["base", "sft", "step_1/grpo_stage2"], columns, lines_of(PAPER))
    shown = {row.checkpoint.name: [str(cell) for cell in row.cells] for row in rows if row.published}
    assert shown["base"] == ["17.7", "27.3", "18.0", "37.0"]
    assert shown["step_1/grpo_stage2"] == ["26.6 (+8.9)", "40.0 (+12.7)", "27.8 (+9.8)", "46.0 (+9.0)"]
