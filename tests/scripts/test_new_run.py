"""The program that writes a run on the user's data: every label format, both types of split, and what it refuses."""

import json
import shlex
import shutil
from pathlib import Path

import coco_factory
import new_run
import pytest
import yaml
from label_writers import content, write_csv, write_voc, write_yolo

from vision_r1 import configuration, experiments
from vision_r1.files import UserError, read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = [ROOT / file for file in configuration.DEFAULT]
OVER = [str(ROOT / "config" / name) for name in ("paper.yaml", "lora_24gb.yaml")]


@pytest.fixture
def labelled(tmp_path):
    """Twelve images in COCO format."""
    boxes = {number: [(1 + number % 2, [8, 8, 20, 20])] for number in range(1, 13)}
    coco_factory.write(tmp_path, coco_factory.content(boxes, ["red fox", "badger"], size=(64, 48)))
    return ["--annotations", str(tmp_path / "annotations.json"), "--images", str(tmp_path / "images")]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function: arguments -> the configuration that the program writes, merged over the files of --over.

    It works in an empty folder, because a repository may contain results of runs.
    """
    monkeypatch.chdir(tmp_path)

    def run(*words, over=()):
        output = tmp_path / "mine.yaml"
        more = ["--over", *over] if over else []
        new_run.main(["--name", "mine", "--output_config", str(output), *map(str, words), *more])
        return configuration.load([*DEFAULT, *over, output])

    return run


def places(config):
    return [config["datasets"][f"mine_{part}"] for part in ("train", "test")]


def test_a_split_is_two_coco_files_without_a_common_image(labelled, write):
    config = write(*labelled)
    files = [{image["file_name"] for image in read_json(entry["annotations"])["images"]} for entry in places(config)]
    assert [len(each) for each in files] == [10, 2] and not files[0] & files[1]
    assert config["report"]["suites"] == ["mine"] and config["evaluation"]["suites"]["mine"] == ["mine_test"]
    assert config["data"]["train"] == ["mine_train"] and config["data"]["keep_out"] == []


def test_protocols_that_enlarge_images_still_do(labelled, write):
    over = [str(ROOT / f"config/{name}.yaml") for name in ("paper", "upstream_2026")]
    protocol = write(*labelled, over=over)["evaluation"]["protocols"]["one-prompt"]
    assert protocol["max_pixels"] >= protocol["min_pixels"]


@pytest.mark.parametrize("over", [(), OVER])
def test_report_and_data_have_nothing_of_other_runs(labelled, write, over):
    config = write(*labelled, over=over)
    shown = json.dumps([config["report"], config["data"], config["evaluation"]["suite_protocols"]["mine"]]).lower()
    shown = shown.replace("has seen synthetic scenes only", "")  # this is true of the small base model
    for word in ("miniature", "scenes", "shapes", "coarse", "coco", "odinw", "49k", "released"):
        assert word not in shown
    assert (config["report"]["banner"] is None) == bool(over)


def test_a_model_from_the_hub_keeps_the_machines_settings(labelled, write):
    config, before = write(*labelled, over=OVER), configuration.load([*DEFAULT, *OVER])
    for section in ("lora", "compute", "preflight", "guards"):
        assert config[section] == before[section]
    assert config["model"]["id"] == before["model"]["id"] and config["grpo_stage2"]["precision_high"] == 0.9
    assert config["grpo"]["max_completion_length"] <= before["grpo"]["max_completion_length"]


@pytest.mark.parametrize("form", ["voc", "yolo", "csv"])
def test_other_formats_with_a_separate_test_set(tmp_path, write, form):
    coco_factory.write(tmp_path, content())
    images, others = tmp_path / "images", tmp_path / "test/images"
    labels = {
        "voc": lambda: write_voc(tmp_path / "xml", content()),
        "yolo": lambda: write_yolo(tmp_path, content(), images),
        "csv": lambda: write_csv(tmp_path, content()),
    }[form]()
    for name in ("images", "labels"):
        if (tmp_path / name).is_dir():
            shutil.copytree(tmp_path / name, tmp_path / "test" / name)
    config = write("--annotations", labels, "--images", images, "--test_images", others)
    expected = [{"format": form, "annotations": str(labels), "images": str(folder)} for folder in (images, others)]
    assert places(config) == expected


def test_training_images_in_the_test_set(labelled, write, tmp_path, caplog):
    """All of them: nothing would be left to train on. Some: the leak guard keeps them out, and a warning says so."""
    words = [*labelled, "--test_images", tmp_path / "images"]
    with pytest.raises(UserError, match="images: all training images are in the test set; leave it out"):
        write(*words)
    coco = read_json(labelled[1])
    kept = {each["id"] for each in coco["images"][:3]}
    coco["images"] = [each for each in coco["images"] if each["id"] in kept]
    coco["annotations"] = [each for each in coco["annotations"] if each["image_id"] in kept]
    write_json(tmp_path / "three.json", coco)
    write(*words, "--test_annotations", tmp_path / "three.json")
    assert "3 test images are training images, too" in caplog.text


def test_one_file_about_the_images_of_two_folders(labelled, write, tmp_path, caplog):
    """Each part is its folder's images; limits and numbers are those of the training images alone."""
    coco, others = read_json(labelled[1]), tmp_path / "others"
    others.mkdir()
    for image in coco["images"][:4]:
        (tmp_path / "images" / image["file_name"]).rename(others / image["file_name"])
    first = coco["images"][0]["id"]
    more = [
        {**each, "id": 1000 + count} for each in coco["annotations"] if each["image_id"] == first for count in range(9)
    ]
    write_json(Path(labelled[1]), {**coco, "annotations": coco["annotations"] + more})
    config = write(*labelled, "--test_images", others)
    assert "4 of its 12 images are left out: they are not in" in caplog.text
    assert config["data"]["max_instances"] == 1
    assert len(read_json(places(config)[1]["annotations"])["images"]) == 4
    assert "8 images, 8 boxes" in (tmp_path / "mine.yaml").read_text()


def test_a_part_without_boxes_is_named_by_the_user_s_file(labelled, write, tmp_path):
    coco = read_json(labelled[1])
    write_json(Path(labelled[1]), {**coco, "annotations": coco["annotations"][:1]})
    with pytest.raises(UserError, match="annotations.json: no boxes in the 10 images of train; draw others with"):
        write(*labelled)
    shutil.copytree(tmp_path / "images", tmp_path / "others")
    write_json(tmp_path / "none.json", {**coco, "annotations": []})
    with pytest.raises(UserError, match="none.json: no boxes in the 12 images of mine_test; are these the labels of"):
        write(*labelled, "--test_images", tmp_path / "others", "--test_annotations", tmp_path / "none.json")
    with pytest.raises(UserError, match="none.json: no boxes in the 12 images of mine_train; are these the labels of"):
        write("--annotations", tmp_path / "none.json", *labelled[2:])


def test_a_damaged_image_without_a_size_is_left_out(labelled, write, tmp_path, caplog):
    coco = read_json(labelled[1])
    for image in coco["images"]:
        del image["width"], image["height"]
    write_json(Path(labelled[1]), coco)
    damaged = tmp_path / "images" / coco["images"][0]["file_name"]
    damaged.write_bytes(damaged.read_bytes()[:40])
    parts = [read_json(each["annotations"]) for each in places(write(*labelled))]
    assert f"or can't be read, such as {damaged}" in caplog.text
    assert sum(len(part["images"]) for part in parts) == len(coco["images"]) - 1


def test_what_a_conversion_leaves_out_is_told(tmp_path, write, caplog):
    coco_factory.write(tmp_path, content())
    labels = write_csv(tmp_path, content())
    labels.write_text(labels.read_text() + "4.png,64,32,circle,1,2,3,4\n")
    write("--annotations", labels, "--images", tmp_path / "images", "--test_share", "0.4")
    assert "labels.csv: images that are not in the folder, left out: 1" in caplog.text


def test_a_category_with_a_control_character_is_written(labelled, write):
    coco = read_json(labelled[1])
    coco["categories"][0]["name"] = "driver\x92s"  # an apostrophe of Windows, read as Latin-1
    write_json(Path(labelled[1]), coco)
    assert "driver\x92s" in write(*labelled)["base"]["names"]


def test_a_folder_as_the_base_model(labelled, write, tiny_checkpoint):
    config = write(*labelled, "--model", tiny_checkpoint, over=OVER)
    assert (config["model"]["source"], config["model"]["id"]) == ("folder", str(tiny_checkpoint))
    assert config["model"]["revision"] is None


def test_each_value_is_explained(labelled, write, tmp_path):
    write(*labelled)
    text = (tmp_path / "mine.yaml").read_text()
    for key in ("max_pixels", "detection", "max_instances", "max_answer_tokens", "held_out", "max_completion_length"):
        assert any(line.strip().startswith(f"{key}:") and " # " in line for line in text.splitlines()), key
    assert yaml.safe_load(text)["run"] == "mine"


@pytest.mark.parametrize("over", [(), OVER])
def test_the_matched_baseline_has_as_many_updates_as_strict(labelled, write, over):
    config = write(*labelled, over=over)
    before = config["sft"]["max_steps"] if config["grpo_stage1"]["init"] == "sft" else 0
    matched = experiments.training_values(config, "sft_matched/sft")["max_steps"]
    assert matched == before + sum(config[stage]["max_steps"] for stage in experiments.STAGES)
    assert bool(before) != bool(over)


def test_the_small_base_knows_the_categories(labelled, write, tmp_path):
    """A name is one token: the right answer of one box takes six, and the end of the text one."""
    config = write(*labelled)
    assert config["base"]["names"] == ["badger", "red fox"]
    assert config["data"]["max_answer_tokens"] == 7
    assert "the longest right answer has 7 tokens" in (tmp_path / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "my run"], "lower-case letters, digits and _ only"),
        (["--name", "miniature"], "config/config.yaml has a run of this name, and they would share results/miniature"),
        (["--name", "paper_released_data"], "config/released_data.yaml has a run of this name"),
        (["--name", "downloads"], "config: run: 'downloads' is not allowed"),  # refused by the schema
        (["--model", "./typo", "--over", *OVER], r"--model \./typo: neither a folder nor a repository of the hub"),
        (["--name", "shapes"], "already names a data set, suite"),
        (["--name", "sft"], "'sft' already names a data set, suite, experiment or checkpoint"),
        (["--name", "a" * 300], "at most 60"),
        (["--annotations", "missing.json"], "missing.json: no such file"),
        (["--annotations", "empty.json"], "empty.json: lists no images; was the export empty"),
        (["--over", "empty.json"], "empty.json: unknown key 'annotations'"),
        (["--images", "missing"], "missing: no such image folder"),
        (["--test_share", "0.01"], "can't be split"),
        (["--test_annotations", "other.json"], "--test_images"),
        (["--model", "Qwen/Qwen2.5-VL-3B-Instruct"], "give --over"),
    ],
)
def test_refused_arguments_leave_no_file(labelled, write, tmp_path, words, message):
    write_json(tmp_path / "empty.json", {"images": [], "annotations": [], "categories": [{"id": 1, "name": "fox"}]})
    with pytest.raises(UserError, match=message):
        write(*labelled, *words)
    assert not (tmp_path / "mine.yaml").exists() and not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["2024", "on", "null", "0x1f", "2024_"])
def test_a_name_that_looks_like_yaml_stays_text(labelled, write, name):
    config = write(*labelled, "--name", name)
    assert config["run"] == name and config["report"]["suites"] == [name]
    assert config["evaluation"]["suites"][name] == [f"{name}_test"]
    assert config["evaluation"]["suite_protocols"][name][0] == "one-prompt"


def test_the_command_can_be_pasted_whatever_the_folder_s_name(labelled, tmp_path, capsys):
    output = tmp_path / "my runs/it's.yaml"
    new_run.main(["--name", "mine", *labelled, "--output_config", str(output)])
    command = f"snakemake --cores all --configfile {shlex.quote(str(output))}"
    assert f"  {command}\n" in capsys.readouterr().out and f"#   {command}\n" in output.read_text()


def test_a_configuration_without_its_suffix_is_refused(labelled, write, tmp_path):
    with pytest.raises(UserError, match="give a name that ends in .yaml"):
        write(*labelled, "--output_config", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_folder_without_a_model_is_refused(labelled, write, tmp_path):
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="config.json: not a JSON object"):
        write(*labelled, "--model", tmp_path, over=OVER)


def test_nothing_is_overwritten(labelled, write):
    write(*labelled)
    with pytest.raises(UserError, match="mine.yaml: exists already; move it elsewhere to write it anew"):
        write(*labelled)


def test_after_a_change_of_labels_the_configuration_is_written_anew(labelled, write, tmp_path, monkeypatch, caplog):
    """With the results of the run in place: what stays the same is not made again."""
    monkeypatch.chdir(tmp_path)
    write(*labelled)
    text = (tmp_path / "mine.yaml").read_text()
    assert text.count(f" # from {labelled[1]}\n") == 2
    assert "# Copied. When labels change, move the copies and this file elsewhere, and run new_run.py." in text
    (tmp_path / "results/mine").mkdir(parents=True)
    (tmp_path / "mine.yaml").rename(tmp_path / "old.yaml")
    (tmp_path / "mine").rename(tmp_path / "old")
    write(*labelled)
    assert "results/mine: exists already; what the new configuration makes in the same way is used" in caplog.text
    assert (tmp_path / "mine.yaml").read_text() == text
