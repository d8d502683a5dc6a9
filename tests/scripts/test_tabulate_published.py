"""A published table with our numbers, as Markdown."""

import csv
import json

import configurations
import pytest
from tabulate_published import main

from vision_r1.files import UserError, write_json


@pytest.fixture
def table(root, tmp_path):
    def build(name, metrics=(), preset="paper", **changes):
        config = configurations.load(root, preset) | changes
        write_json(tmp_path / "config.json", json.loads(json.dumps(config)))
        for checkpoint, suite, protocol, values in metrics:
            scores = {"mean_score_policies": {"constant": values}, "datasets": {}}
            measured = {"suite": suite, "protocols": {protocol: scores}}
            write_json(tmp_path / f"metrics/{checkpoint}/{suite}.json", measured)
        main(["--run", str(tmp_path), "--config", str(root / "config"), "--table", name])
        tables = tmp_path / "report/tables"
        with (tables / f"{name}.csv").open() as file:
            return list(csv.reader(file)), (tables / f"{name}.md").read_text()

    return build


BASE = ("base", "coco", "released-one-prompt", {"AP": 0.187, "AP50": 0.26, "AP75": 0.18, "AR100": 0.3})


def test_ours_is_below_theirs_with_the_difference(table):
    lines, text = table("table_10", [BASE])
    assert lines[0] == ["", "whose", "COCO mAP", "AP50", "AP75", "AR100"]
    assert lines[1] == ["base model", "published", "0.177", "0.273", "0.188", "0.298"]
    assert lines[2] == ["base model", "ours", "0.187", "0.26", "0.18", "0.3"]
    assert lines[3][:2] == ["base model", "difference"] and float(lines[3][2]) == pytest.approx(0.01)
    assert lines[4:6] == [
        ["STEP = 1/2", "published", "0.233", "0.32", "0.252", "0.289"],
        ["STEP = 1/2", "ours", *["not run"] * 4],
    ]
    assert "| base model | difference | +1.0 | −1.3 | −0.8 | +0.2 |" in text
    assert "base model: AP75: 18.8, where table 1 prints 18.0." in text


def test_a_model_that_we_do_not_have_is_shown_alone(table):
    lines, _ = table("table_1", [BASE])
    assert [line[1] for line in lines if line[0].startswith("Griffon")] == ["published"] * 3
    assert [line[1] for line in lines if line[0] == "Qwen2.5-VL-7B"] == ["published", "ours", "difference"]
    assert lines[1][2:] == ["–", "–", "0.467", "–", "–", "–", "0.55"]


def test_another_model_of_ours_is_shown_without_a_difference(table):
    lines, text = table("table_4", [BASE])
    assert [line[1] for line in lines[1:]] == ["published", "ours, Qwen/Qwen2.5-VL-7B-Instruct"] * 3
    assert "Theirs is trained on detection data alone" in text


def test_a_setting_that_differs_from_the_recipe_is_named(table, root):
    grpo = configurations.load(root, "paper")["grpo"] | {"beta": 0.04}
    _, text = table("table_10", [BASE], grpo=grpo)
    assert "Ours of STEP = 1 is not as recipe paper has it: grpo.beta." in text
    assert "Ours of base model is not" not in text
    assert "is not as recipe" not in table("table_10", [BASE])[1]


def test_without_a_model_from_the_hub_the_table_is_only_theirs(table):
    lines, text = table("table_9", preset="miniature")
    assert {line[1] for line in lines[1:]} == {"published"} and len(lines) == 9
    assert "Not comparable" in text


def test_an_unknown_table(table):
    with pytest.raises(UserError, match="--table: unknown 'table_7'; choose table_1, table_2, table_3"):
        table("table_7")
