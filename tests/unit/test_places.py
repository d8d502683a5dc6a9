"""Paths of data, derived from the configuration alone."""

import os

import pytest
from configurations import load

from vision_r1 import flags
from vision_r1.data import places
from vision_r1.files import UserError
from vision_r1.run_folder import Run


def test_scenes_are_in_the_runs_folder_and_downloads_beside_it(root):
    run = Run("elsewhere", load(root, "miniature"))
    assert run.place("thermal", "annotations") == "elsewhere/data/scenes/thermal/annotations.json"
    assert run.place("thermal", "images") == "elsewhere/data/scenes/thermal/images"
    assert run.place("selection", "annotations") == "elsewhere/data/selection.json"
    coco = "results/downloads/coco_annotations/annotations/instances_val2017.json"
    assert run.place("coco_val2017", "annotations") == coco
    assert places.source_files(run.config, run.folder, "coco_val2017") == [
        *("results/downloads/coco_annotations.json", "results/downloads/coco_val2017.json")
    ]


def test_data_that_was_not_made_here_is_checked_before_it_is_used(root):
    config = load(root, "miniature")
    config["datasets"]["mine"] = {"annotations": "my/a.json", "images": "my/images"}
    assert places.ready_files(config, "run", ["thermal", "mine"]) == [
        *("my/a.json", "my/images", "run/data/checked/mine.json"),
        *("run/data/scenes/thermal/annotations.json", "run/data/scenes/thermal/images"),
    ]


def test_a_missing_path_is_named(root):
    config = load(root, "miniature")
    config["datasets"]["mine"] = {"annotations": "my/a.json", "images": "my/images"}
    with pytest.raises(UserError, match=r"datasets\.mine\.annotations: no such path 'my/a\.json'"):
        places.check_exist(config, ["thermal", "mine"])


def test_annotations_in_another_format_are_converted_in_the_run(root):
    config = load(root, "miniature")
    config["datasets"]["mine"] = {"annotations": "my/xml", "images": "my/images", "format": "voc"}
    assert places.place(config, "run", "mine", "annotations") == "run/data/converted/mine.json"
    assert places.source_files(config, "run", "mine") == ["run/data/converted/mine.json", "my/images"]
    assert places.given_files(config, "mine", ["annotations", "images"]) == ["my/xml", "my/images"]
    assert flags.of_conversion(config, "mine") == [
        *("--format", "voc", "--annotations", "my/xml", "--images", "my/images")
    ]
    config["datasets"]["mine"]["format"] = "coco"
    assert places.place(config, "run", "mine", "annotations") == "my/xml"


def test_a_data_set_inherits_its_archives_licence(root):
    config = load(root, "paper")
    known = places.licences(config, ["coco_train2017", "scenes_train"])
    assert known["scenes_train"] == "made here"
    assert known["coco_train2017"] == config["datasets"]["coco_train2017"]["licence"]
    config["archives"]["theirs"] = {"url": "https://example.org/a.zip", "licence": "MIT"}
    config["datasets"]["theirs"] = {"annotations": {"archive": "theirs", "path": "a.json"}, "images": "images"}
    config["datasets"]["mine"] = {"annotations": "my/a.json", "images": "my/images"}
    assert places.licences(config, ["theirs", "mine"]) == {"theirs": "MIT"}


def test_label_files_are_found_where_the_reader_finds_them(root, tmp_path):
    config, images, labels = (
        load(root, "miniature"),
        tmp_path / "images/my_images_raw",
        tmp_path / "labels/my_images_raw",
    )
    config["datasets"]["mine"] = {"annotations": str(tmp_path / "data.yaml"), "images": str(images), "format": "yolo"}
    for folder in (images, labels):
        folder.mkdir(parents=True)
    assert not places.label_files(config, "mine")
    (labels / "1.txt").write_text("0 0.5 0.5 0.1 0.1")
    before = places.states(places.label_files(config, "mine"))
    (labels / "1.txt").write_text("0 0.5 0.5 0.1 0.25")
    assert before.count("1.txt") == 1 and places.states(places.label_files(config, "mine")) != before


def test_a_file_that_an_older_one_replaced_is_another(root, tmp_path):
    config, file = load(root, "miniature"), tmp_path / "a.json"
    config["datasets"]["mine"] = {"annotations": str(file), "images": str(tmp_path)}
    file.write_text("[1]")
    before = places.states(places.annotation_files(config, "mine"))
    os.utime(file, (1e9, 1e9))
    assert before.count("a.json") == 1 and places.states(places.annotation_files(config, "mine")) != before
