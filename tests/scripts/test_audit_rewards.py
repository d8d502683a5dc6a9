"""The audit program on made rows: table, figure, loopholes and summary, and errors that name the row."""

import csv
import json

import audit_rewards
import pytest
from unit.test_audit import make_rows

from vision_r1.audit import FAMILIES, STRENGTHS
from vision_r1.cli import run
from vision_r1.files import UserError

pytest.importorskip("matplotlib")


def arguments(folder, rows, figure="audit.svg"):
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    outputs = {"table": "audit.csv", "figure": figure, "loopholes": "loopholes.md", "summary": "audit.json"}
    flags = [text for name, file in outputs.items() for text in (f"--output_{name}", str(folder / file))]
    return ["--train_file", str(folder / "train.jsonl"), "--samples", "15", *flags]


STRICT = {"criterion": "strict", "recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75}


def criterion(name, **changes):
    return ["--criterion", name, json.dumps(STRICT | changes)]


def test_outputs(tmp_path):
    more = [
        *criterion("strict/grpo_stage1"),
        *criterion("step_1/grpo_stage1"),
        *criterion("x/grpo_stage2", parser="paper"),
    ]
    audit_rewards.main([*arguments(tmp_path, make_rows(20)), *more])
    with open(tmp_path / "audit.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(FAMILIES) * len(STRENGTHS) * (2 + 6)
    assert {row["role"] for row in table} == {"configured", "reference"}
    assert all(0 <= float(row["ap"]) <= 1 and 0 <= float(row["reward"]) <= 3 for row in table)
    summary = json.loads((tmp_path / "audit.json").read_text())
    assert summary["samples"] == 15
    rewards = {entry["name"]: entry for entry in summary["rewards"]}
    assert rewards["strict/grpo_stage1"]["checkpoints"] == ["strict/grpo_stage1", "step_1/grpo_stage1"]
    assert rewards["x/grpo_stage2"]["criterion"]["parser"] == "paper"
    assert rewards["strict/grpo_stage1"]["spearman"] > rewards["released_2025, stage1"]["spearman"]
    repeated = {found["criterion"].split(",")[0] for found in summary["loopholes"] if found["family"] == "duplicates"}
    assert repeated == {"paper", "released_2025"}
    assert "| released_2025, stage1 | reference | duplicates |" in (tmp_path / "loopholes.md").read_text()
    assert "<svg" in (tmp_path / "audit.svg").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": "guess"}, "row 1: frame: 'guess'"),
        ({"objects": None}, "row 1: objects: not a list"),
        ({"objects": []}, "no row has objects"),
        ({"categories": None}, "row 1: categories: "),
    ],
)
def test_bad_rows_are_named(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        audit_rewards.main(arguments(tmp_path, [make_rows(2)[1] | change]))
    with pytest.raises(SystemExit, match="row 1: width: the field is missing"):
        row = {name: value for name, value in make_rows(2)[1].items() if name != "width"}
        run(audit_rewards.main, arguments(tmp_path, [row]))


def test_the_figure_is_svg_or_png(tmp_path):
    with pytest.raises(UserError, match="svg or .png"):
        audit_rewards.main(arguments(tmp_path, make_rows(5), figure="audit.doc"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{", "--criterion mine: Expecting"),
        ("3", "--criterion mine: 'int' object"),
        ('{"criterion": "loose"}', "--criterion mine: criterion: unknown 'loose'; choose paper"),
        (
            '{"criterion": "strict", "beta": 1}',
            "--criterion mine: unknown: beta; missing: precision_high, precision_low",
        ),
        (json.dumps(STRICT | {"precision_low": 0.9}), "--criterion mine: precision_low, precision_high: "),
    ],
)
def test_an_impossible_reward_is_named(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        audit_rewards.main([*arguments(tmp_path, make_rows(5)), "--criterion", "mine", words])
