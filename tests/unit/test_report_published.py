"""The paper's numbers stand beside ours only where the configuration is the paper's."""

from pathlib import Path

import configurations
import pytest

from vision_r1.evaluation.anchors import check, read_published
from vision_r1.report.published import departures, paper_numbers
from vision_r1.report.tables import Column, main_table

ROOT = Path(__file__).parents[2]
PAPER = configurations.load(ROOT, "paper")


@pytest.mark.parametrize("name", ["paper", "two_nodes", "released_data"])
def test_the_papers_configuration_on_other_machines_is_still_the_papers(name):
    assert departures(configurations.load(ROOT, name), PAPER) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("miniature", "model.id"),
        ("qwen2_5_vl_3b", "model.id"),
        ("lora_24gb", "lora"),
        ("vllm", "grpo.top_k"),
    ],
)
def test_another_method_is_not(name, key):
    config = configurations.load(ROOT, name)
    assert key in departures(config, PAPER)
    assert paper_numbers(config, PAPER, [{"id": config["model"]["id"]}]) == []


def test_a_threshold_of_its_own_is_named():
    config = configurations.load(ROOT, "paper")
    config["grpo_stage2"]["recall_threshold"] = 0.8
    assert departures(config, PAPER) == ["grpo_stage2.recall_threshold"]


def test_made_up_scores_of_the_papers_model_stand_beside_the_published_ones():
    lines = check(read_published(ROOT / "config/published.yaml"), PAPER["model"]["id"], {})
    columns = [Column("coco", "official-coco", metric) for metric in ("AP", "AP50", "AP75")]
    columns += [Column("odinw13", "official-odinw", "AP"), Column("odinw13", "official-odinw", "AP", "odinw_raccoon")]
    rows = main_table([], ["base", "sft", "official/grpo_stage2"], columns, paper_numbers(PAPER, PAPER, lines))
    shown = {row.checkpoint.name: [str(cell) for cell in row.cells] for row in rows if row.paper}
    assert shown["base"] == ["17.7", "27.3", "18.0", "37.0", "–"]
    assert shown["official/grpo_stage2"] == ["26.6 (+8.9)", "40.0 (+12.7)", "27.8 (+9.8)", "46.0 (+9.0)", "–"]
