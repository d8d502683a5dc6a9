"""The configuration as command-line arguments of the programs."""

import json

from configurations import load

from vision_r1 import flags
from vision_r1.experiments import experiment_config
from vision_r1.run_folder import Run


def test_null_is_left_out_and_lists_become_several_arguments():
    assert flags.of_values({"a": 1.0e-6, "b": None, "c": ["x y", 2], "d": False}) == [
        *("--a", "1e-06"),
        *("--c", "x y", "2"),
        *("--d", "False"),
    ]


def test_a_stage_gets_its_thresholds_and_if_it_is_continued_the_step_to_stop_at(root):
    config = load(root, "paper")
    words = flags.of_stage(config, "step_1_2/grpo_stage2")
    assert words[words.index("--precision_high") + 1] == str(
        experiment_config(config, "step_1_2")["grpo_stage2"]["precision_high"]
    )
    assert "--stop_at" not in words and "--init" not in words
    assert "--stop_at" in flags.of_stage(config, "step_1/grpo_stage1")


def test_words_that_are_files_are_told_by_content(tmp_path):
    file = tmp_path / "zero.json"
    file.write_text("{}")
    before = flags.files_among(["launch", f"--config_file={file}", "2", "x" * 300, "--stop=[" + "1, " * 200])
    file.write_text("[]")
    assert before.keys() == {str(file)} and flags.files_among([str(file)]) != before


def test_only_scoring_gets_the_reader_of_answers(root):
    config = load(root, "paper")
    suite = config["report"]["suites"][0]
    run = Run("results/paper", config)
    predicted, read = flags.of_prediction(run, suite), flags.of_scoring(run, suite)
    entries = [
        {words[place + 1]: json.loads(words[place + 2]) for place, word in enumerate(words) if word == "--protocol"}
        for words in (predicted, read)
    ]
    assert entries[0].keys() == entries[1].keys() != set()
    assert all("reader" not in entry and "templates" in entry for entry in entries[0].values())
    assert all(entry.keys() <= {"reader", "score", "names"} for entry in entries[1].values())


def test_each_type_of_source_names_its_files(root):
    run = Run("results/paper", load(root, "paper"))
    coco = "results/downloads/coco_annotations/annotations/instances_train2017.json"
    assert flags.of_sources(run, "--source", ["grefcoco", "coco_train2017"]) == [
        *("--source", "references", "grefcoco", run.place("grefcoco", "references")),
        *("results/downloads/coco_train2017/train2017", run.place("grefcoco", "instances")),
        *("--source", "coco", "coco_train2017", coco, "results/downloads/coco_train2017/train2017"),
    ]
