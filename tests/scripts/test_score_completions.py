"""Offline scoring: one line out for each line in; errors name the line and the field."""

import io
import json
import sys

import pytest
import score_completions

from vision_r1.cli import run
from vision_r1.files import UserError

ROW = {
    "id": "x1",
    "completion": '```json\n[{"bbox_2d": [28, 28, 56, 84], "label": "dog"}]\n```',
    "solution": [["dog", [10, 10, 20, 30]]],
    "width": 100,
    "height": 100,
    "input_width": 280,
    "input_height": 280,
}


def score(tmp_path, *lines, options=("--criterion", "strict", "--stage", "stage1")):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    score_completions.main([*options, str(source), str(target)])
    return [json.loads(line) for line in target.read_text("utf-8").splitlines()]


def test_one_line_out_per_line_in(tmp_path):
    perfect = {"id": "x1", "dual_format": 1.0, "recall": 1.0, "precision": 1.0, "verdict": "fenced"}
    text = ROW | {"id": 2, "solution": json.dumps(ROW["solution"]), "completion": "none", "target_id_map": {"dog": 1}}
    objects = {key: value for key, value in ROW.items() if key != "solution"}
    objects |= {"objects": [{"label": "dog", "bbox": [10, 10, 20, 30]}], "categories": ["cat"], "frame": "pixel"}
    assert score(tmp_path, ROW, "", text, objects) == [
        perfect,
        {"id": 2, "dual_format": 0.0, "recall": 0.0, "precision": 0.0, "verdict": "not_json"},
        perfect | {"verdict": "unknown_label"},
    ]


def test_a_byte_order_mark_is_read_over_and_an_empty_file_is_none_of_completions(tmp_path):
    assert len(score(tmp_path, "\ufeff" + json.dumps(ROW), ROW)) == 2
    for lines in ([], ["", " "], ["\ufeff"]):
        with pytest.raises(UserError, match="in.jsonl: no completions; it is empty"):
            score(tmp_path, *lines)


def test_criterion_stage_and_frame_are_chosen(tmp_path):
    wrong_label = ROW | {"solution": [["cat", [10, 10, 20, 30]]]}
    assert score(tmp_path, wrong_label)[0]["precision"] == 0
    released_2025 = ["--criterion", "released_2025", "--stage", "raw"]
    assert score(tmp_path, wrong_label, options=released_2025)[0]["precision"] == pytest.approx(1)
    assert score(tmp_path, wrong_label, options=[*released_2025, "--frame", "rel1000"])[0]["precision"] < 0.1


def test_rewards_of_other_methods_have_other_parts_and_no_stage(tmp_path):
    (scored,) = score(tmp_path, ROW, options=["--criterion", "vlm_r1_od_ap"])
    assert scored == {"id": "x1", "format": 1, "ap": 1, "verdict": "fenced"}
    for words, message in [
        (["--criterion", "vlm_r1_od_ap", "--stage", "raw"], "--stage: vlm_r1_od_ap has none: leave it out"),
        (["--criterion", "strict"], "--stage: strict has one: give it"),
    ]:
        with pytest.raises(UserError, match=message):
            score(tmp_path, ROW, options=words)


def test_an_input_or_a_folder_that_holds_it_is_not_replaced(tmp_path):
    read = tmp_path / "in.jsonl"
    read.write_text(json.dumps(ROW))
    for target in (read, tmp_path / "elsewhere/../in.jsonl", tmp_path):
        with pytest.raises(UserError, match=r"output .*: would replace input .*in.jsonl; give another name"):
            score_completions.main(["--criterion", "strict", "--stage", "raw", str(read), str(target)])
    assert json.loads(read.read_text()) == ROW


def test_standard_input(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(ROW).encode())))
    score_completions.main(["--criterion", "strict", "--stage", "raw", "-", str(tmp_path / "out.jsonl")])
    assert json.loads((tmp_path / "out.jsonl").read_text())["recall"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "while decoding a JSON array"),
        (ROW | {"completion": None}, "completion: not text"),
        (ROW | {"solution": "[["}, "solution: not a list"),
        (ROW | {"solution": [["dog", [1, 2, 3]]]}, "solution: not a list"),
        (ROW | {"solution": [["dog", [300, 200, 80, 60]]]}, "box [300.0, 200.0, 80.0, 60.0] is not x1 y1 x2 y2"),
        (ROW | {"width": "wide"}, "width: 'wide'"),
        (ROW | {"id": float("nan")}, "id: can't be written"),
        (ROW | {"id": "\ud800"}, "id: can't be written"),
        (ROW | {"input_height": 0}, "input_height: 0"),
        (ROW | {"frame": "guess"}, "frame: unknown 'guess'"),
        (ROW | {"categories": "dog"}, "categories: not a list"),
        (ROW | {"num_instances": 3}, "num_instances: 3, but the ground truth has 1"),
        *[
            ({k: v for k, v in ROW.items() if k != name}, f"{name}: the field is missing")
            for name in ROW
            if name != "solution"
        ],
        ({k: v for k, v in ROW.items() if k != "solution"}, "objects: the field is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 99 else "",
)
def test_a_bad_line_is_named(tmp_path, line, message):
    with pytest.raises(UserError, match=r"in\.jsonl: line 2: ") as error:
        score(tmp_path, ROW, line)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_bad_files_end_in_one_line(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b"{}\n\xff\n")
    arguments = ["--criterion", "strict", "--stage", "raw"]
    with pytest.raises(SystemExit, match="no.jsonl: No such file"):
        run(score_completions.main, [*arguments, str(tmp_path / "no.jsonl"), str(tmp_path / "out.jsonl")])
    with pytest.raises(SystemExit, match="line 1: completion: the field is missing"):
        run(score_completions.main, [*arguments, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")])
    (tmp_path / "in.jsonl").write_bytes(b"\n\xff\n")
    with pytest.raises(SystemExit, match="line 2: not UTF-8"):
        run(score_completions.main, [*arguments, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")])
