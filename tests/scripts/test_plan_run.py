"""The plan program: what it hands to the page."""

import plan_run
import pytest
from configurations import load

from vision_r1.files import UserError, write_json
from vision_r1.preflight.plan import Job


def test_predictions_are_estimated_from_the_annotations_that_are_here(root, tmp_path, monkeypatch, capsys):
    config, file = load(root, "lora_80gb"), tmp_path / "coco.json"
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
    image = {"id": 1, "file_name": "1.png", "width": 100, "height": 56}
    write_json(file, {"images": [image], "categories": [{"id": 1, "name": "cat"}], "annotations": [box]})
    config["datasets"]["coco_val2017"] = {"annotations": str(file), "images": str(tmp_path)}
    monkeypatch.chdir(root)
    monkeypatch.setattr(
        plan_run, "dry_run", lambda words: [Job("predict_suite", "Missing output files: x", 1, None, {})]
    )
    monkeypatch.setattr(plan_run, "resolved", lambda words: config)
    plan_run.main([])
    text = capsys.readouterr().out
    assert "predict_suite x 1: 0.0" in text and "GPU-hours (preflight)" in text and "unknown" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--configfile", "nope.yaml"], "nope.yaml: no such file"),
        (["--configfile", "empty.yaml"], "empty.yaml: not a mapping of keys in YAML"),
        (["--config", "grpo.max_steps=3"], "--config: .*; nested keys go into a file for --configfile"),
        (["--config", "seed"], "--config: .*Unparsable value: 'seed'.$"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--cores", "x"], "Error parsing number of cores"),
    ],
)
def test_a_wrong_word_is_named_in_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(UserError, match=message):
        plan_run.main(words)


def test_an_error_of_several_lines_keeps_its_first():
    error = "Write-protected output files for rule train_sft:\n    output: a/b\n    affected files:\n        a/b\n"
    assert plan_run.last_words("1", "", error) == ("Write-protected output files for rule train_sft: a/b")
    assert plan_run.last_words("x\nerror: config: seed: no number\n", error) == "config: seed: no number"


def test_snakemakes_version_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        plan_run.main(["--version"])
    assert not end.value.code


def test_files_of_the_workflow_are_found_from_another_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = plan_run.resolved(["--configfile", str(root / "config/paper.yaml"), "--config", "seed=1"])
    assert (config["recipe"], config["seed"]) == ("paper", 1)
    assert str(root / "config/accelerate/zero3.yaml") in config["compute"]["launch"]
