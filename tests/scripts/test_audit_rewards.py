"""The audit program on synthetic rows: table, figure, loopholes, summary, and errors that name the row."""

import csv
import json

import audit_rewards
import pytest
from unit.test_audit import make_rows

from vision_r1.audit import STRENGTHS
from vision_r1.cli import run
from vision_r1.files import UserError
from vision_r1.perturbations import ERROR_FAMILIES
from vision_r1.report.audit_figure import labels

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
    assert len(table) == len(ERROR_FAMILIES) * len(STRENGTHS) * (2 + 6)
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
        ({"frame": "guess"}, "row 1: frame: unknown 'guess'"),
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


def test_the_figure_is_svg_or_png(tmp_path, capsys):
    with pytest.raises(SystemExit):
        audit_rewards.main(arguments(tmp_path, make_rows(5), figure="audit.doc"))
    assert "audit.doc': give a path that ends in .svg or .png" in capsys.readouterr().err


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
def test_an_invalid_reward_is_named(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        audit_rewards.main([*arguments(tmp_path, make_rows(5)), "--criterion", "mine", words])


def test_a_constant_reward_has_no_correlation(tmp_path, caplog):
    """Only an IoU above 1 would be rewarded, which is impossible."""
    never = criterion("mine/grpo_stage1", recall_threshold=1.0, reward_weights=[0, 1, 0])
    with caplog.at_level("INFO"):
        audit_rewards.main([*arguments(tmp_path, make_rows(5)), *never])
    assert json.loads((tmp_path / "audit.json").read_text())["rewards"][0]["spearman"] is None
    assert "Spearman's correlation with AP: none for mine/grpo_stage1" in caplog.text


def test_titles_of_the_figure_are_no_wider_than_their_panels(tmp_path, monkeypatch):
    """The longest name in config/experiments.yaml, one of two checkpoints, and one that is too long for any panel."""
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    names = ("without_recall_with_count/grpo_stage1", "x/grpo_stage2", f"{'longer_and_' * 6}longer/grpo_stage1")
    words = [word for name in names[:2] for word in criterion(name, criterion="released_2025")] + criterion(names[2])
    references = ["--output_references", str(tmp_path / "references.png")]
    audit_rewards.main([*arguments(tmp_path, make_rows(5)), *words, *references])
    monkeypatch.undo()
    own, others = drawn
    panels = [panel for figure in drawn for panel in figure.axes if panel.get_title(loc="left")]
    assert len(own.axes) == 2 and len(panels) == 2 + 5
    for panel in panels:
        title, place = panel._left_title.get_window_extent(), panel.get_window_extent()
        assert title.x1 <= place.x1 + 0.1 * place.width, panel.get_title(loc="left")
    assert "without_recall_with_count" in panels[0].get_title(loc="left")
    pyplot.close("all")


def test_loopholes_at_the_same_height_share_a_label():
    records = [
        {"family": family, "strength": 1.0, "ap": ap, "reward": reward}
        for family, ap, reward in [("wrong_labels", 0.2, 3.0), ("spam", 0.1, 2.95), ("jitter", 0.5, 2.0), ("x", 0, 0)]
    ]
    found = labels(records, [record for record in records if record["family"] != "x"])
    assert found == [(0.5, 2.0, "jitter"), (0.1, 3.0, "spam, wrong labels")]
