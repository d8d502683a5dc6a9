"""From predictions to scores to the comparison, as in the workflow."""

import csv

import coco_factory
import pytest
import score_suite
from compare_checkpoints import main
from test_score_suite import right_answers

from vision_r1.files import UserError, read_json, write_json, write_jsonl


@pytest.fixture
def scored(tmp_path):
    boxes = {number: [(1 + number % 3, [5 + number, 10, 20 + number, 30])] for number in range(1, 21)}
    annotations = coco_factory.write(tmp_path, coco_factory.content(boxes))[0]
    right = right_answers(annotations)
    answers = {"base": [*right[:10], *({**each, "completion": "[]"} for each in right[10:])], "sft": right}
    report = {"experiments": [], "training_seeds": [0], "suites": ["coco"]}
    write_json(tmp_path / "config.json", {"report": report, "experiments": {}})
    for name, lines in answers.items():
        files = [str(tmp_path / f"metrics/{name}/coco.{kind}") for kind in ("json", "resamples.npz")]
        write_jsonl(tmp_path / f"{name}.jsonl", lines)
        score_suite.main(
            ["--suite", "coco", "--dataset", "set", annotations, "--predictions", str(tmp_path / f"{name}.jsonl")]
            + [
                "--protocol",
                "all",
                "{}",
                "--output_metrics",
                files[0],
                "--output_resamples",
                files[1],
                "--resamples",
                "200",
            ]
        )
    return ["--run", str(tmp_path), "--output_json", str(tmp_path / "c.json"), "--output_csv", str(tmp_path / "c.csv")]


def test_better_and_worse(scored, tmp_path, caplog):
    main(scored)
    content = read_json(tmp_path / "c.json")
    assert "not the randomness of training" in content["note"].replace("\n", " ")
    better = content["lines"][0]
    assert (better["checkpoint"], better["reference"]) == ("sft", "base")
    assert better["significant"] and 0 < better["low"] < better["difference"] < better["high"]
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["dataset"] for row in rows] == ["mean", "mean", "mean", "set"] and rows[0]["p_holm"] == str(
        better["p_holm"]
    )
    main(["--reference", "sft", *scored])
    assert read_json(tmp_path / "c.json")["lines"][3]["regression"]
    assert "REGRESSION: base against sft on set, all: AP -0." in caplog.text


def test_an_unknown_reference(scored):
    with pytest.raises(UserError, match="unknown checkpoint 'best'; choose base, sft"):
        main(["--reference", "best", *scored])


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json in it; give the folder of a run"):
        main(["--run", str(tmp_path), "--output_json", "c.json", "--output_csv", "c.csv"])
