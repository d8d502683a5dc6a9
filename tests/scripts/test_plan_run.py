"""The plan program: what it hands to the page."""

from pathlib import Path

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
    monkeypatch.setattr(plan_run, "resolved", lambda words: (config, root))
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
    config, folder = plan_run.resolved(["--configfile", str(root / "config/paper.yaml"), "--config", "seed=1"])
    assert (config["recipe"], config["seed"], folder) == ("paper", 1, tmp_path)
    assert str(root / "config/accelerate/zero3.yaml") in config["compute"]["launch"]


def test_records_are_read_in_the_working_folder_and_overlays_in_the_current_one(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("run: mine\nsft: { max_steps: 6000 }\ngrpo_stage1: { max_steps: 70 }\n")
    (tmp_path / "work/config").mkdir(parents=True)
    (tmp_path / "work/config/config.yaml").write_text("seed: 3\n")
    monkeypatch.setattr(plan_run, "MEASURED", tmp_path / "none.json")
    config, folder = plan_run.resolved(["-d", "work", "--configfile", "mine.yaml"])
    assert (config["run"], config["seed"], folder) == ("mine", 3, tmp_path / "work")

    record, given = Path("results/mine/models/sft/metrics.json"), []
    write_json(folder / record, {"seconds": 9.0, "steps": 10})

    def dry_run(words):
        given[:] = words
        reason = "Params have changed since last execution"
        # without_recall is an ablation, not in the report
        stage = {"experiment": "without_recall_s1", "stage": "grpo_stage1"}
        other = {"experiment": "strict", "stage": "grpo_stage1"}
        return [
            Job("train_sft", reason, 2, None, {"sft": "sft"}, record),
            Job("train_grpo", reason, 1, None, stage, record),
            Job("train_grpo", "Missing output files: x", 1, None, other),
        ]

    monkeypatch.setattr(plan_run, "dry_run", dry_run)
    plan_run.main(["-d", "work", "--configfile", "mine.yaml"])
    assert given == ["--snakefile", str(root / "Snakefile"), "-d", "work", "--configfile", "mine.yaml"]
    text = capsys.readouterr().out
    assert "train_sft x 1: 3.00 GPU-hours (time per step of its last run)" in text
    # 70 steps each: one by its own record, one by its sibling's
    assert "train_grpo x 2: 0.04 GPU-hours (time per step of its last run, time per step of other runs" in text
    (tmp_path / "Snakefile").touch()
    plan_run.main(["-d", "work", "--configfile", "mine.yaml"])
    assert given[0] == "-d"
