"""Asking checkpoints about an image or a folder: JSON in original pixels, drawings, a page; hub, runs and releases."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import predict_image
import pytest
from PIL import Image
from report_factory import config, write
from tiny_models import PIXELS, make_checkpoint, teach

from vision_r1 import asking
from vision_r1.families import FAMILIES, family
from vision_r1.files import UserError, seal_folder
from vision_r1.models import family_of
from vision_r1.processors import load_processor
from vision_r1.prompts import DEFAULT

REVISION = "0" * 40
HOSTILE = "<img src=x onerror=alert(1)>\u202e.png"


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A checkpoint as on the hub that predicts a raccoon at 10 20 40 50 of the resized image, and a photo for it."""
    folder = tmp_path_factory.mktemp("taught")
    Image.new("RGB", (190, 121), "white").save(folder / "photo.png")
    make_checkpoint(folder / "model", "qwen2_5_vl", "older")
    load_processor(folder / "model", family("qwen2_5_vl"), *PIXELS).save_pretrained(folder / "model")
    prompt = "Locate every raccoon in the image and output the coordinates in JSON format."
    answer = DEFAULT.answer([[10, 20, 40, 50]], ["raccoon"])
    teach(folder / "model", "qwen2_5_vl", folder / "photo.png", prompt, answer)
    return folder


def ask(*words, capsys=None):
    """Run the program in this process; return what it printed."""
    predict_image.main([*map(str, words)])
    return json.loads(capsys.readouterr().out)


def test_boxes_of_an_image_are_in_original_pixels_and_standard_output_is_only_json(taught, tmp_path):
    words = [predict_image.__file__, "--checkpoint", taught / "model", "--image", taught / "photo.png"]
    words += ["--ask", "every raccoon", "--output", tmp_path / "boxes.png"]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ((box,),) = [each["boxes"] for each in json.loads(done.stdout)]
    seen = family("qwen2_5_vl").input_size(190, 121, *PIXELS)
    scale = np.array([190 / seen[0], 121 / seen[1]] * 2)
    assert box["label"] == "raccoon" and box["box"] == pytest.approx([10, 20, 40, 50] * scale, abs=0.01)
    drawn = np.asarray(Image.open(tmp_path / "boxes.png").convert("RGB"), int)
    assert max(drawn.shape) == 360
    blue = (np.abs(drawn - (0x00, 0x72, 0xB2)).sum(-1) < 30).nonzero()
    edges = [blue[1].min(), blue[0].min(), blue[1].max(), blue[0].max()]
    assert np.abs(np.array(edges) - np.array(box["box"]) * 360 / 190).max() <= 2


def test_a_folder_is_drawn_image_by_image(taught, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("b.png", "a.PNG"):
        shutil.copy(taught / "photo.png", photos / name)
    (photos / "notes.txt").write_text("no image")
    drawn = tmp_path / "drawn.v2"
    drawn.mkdir()
    words = ["--checkpoint", taught / "model", "--image", photos, "--ask", "raccoon", "--output", drawn]
    found = ask(*words, capsys=capsys)
    assert [each["image"] for each in found] == [str(photos / "a.PNG"), str(photos / "b.png")]
    assert {path.name for path in drawn.iterdir()} == {"a.PNG.png", "b.png.png"}


def test_checkpoints_are_side_by_side_on_a_self_contained_page(taught, tiny_checkpoint, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(taught / "photo.png", photos / HOSTILE)
    words = ["--checkpoint", tiny_checkpoint, "--checkpoint", taught / "model", "--image", photos]
    words += ["--ask", "<script>alert(1)</script>", "--max_new_tokens", 60, "--output", tmp_path / "page.html"]
    found = ask(*words, capsys=capsys)
    assert [each["checkpoint"] for each in found] == [str(tiny_checkpoint), str(taught / "model")]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(addresses) == 2 and all(address.startswith("data:image/webp;") for address in addresses)
    assert "<script" not in page and "<img src=x" not in page and "\u202e" not in page
    assert page.count("raw completion") == 2 and "default-src 'none'" in page


@pytest.mark.parametrize(
    ("text", "task", "expected"),
    [
        ("every raccoon", None, ("grounding", ["raccoon"])),
        ("traffic light", None, ("grounding", ["traffic light"])),
        ("cat, Every dog, everything,", None, ("detection", ["cat", "dog", "everything"])),
        ("raccoon", "detection", ("detection", ["raccoon"])),
        ("man, on the left", "rec", ("rec", ["man, on the left"])),
    ],
)
def test_a_text_becomes_a_question(text, task, expected):
    assert predict_image.question(text, task) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--checkpoint": "no/such/folder"}, "no/such/folder: neither a folder nor a repository of the hub"),
        ({"--image": "nowhere.png"}, "nowhere.png: not a readable image"),
        ({"--image": "empty"}, "empty: no image in this folder"),
        ({"--image": "named"}, "named: '\\udce9.png' can't be written as UTF-8 in one line; rename the file"),
        ({"--image": "torn.png"}, "torn.png: not a readable image"),
        ({"--ask": "every "}, "--ask 'every ': say what to look for"),
        ({"--ask": "<|image_pad|>"}, "--ask '<|image_pad|>': a special token of the model"),
        ({"--ask": "caf\udce9"}, "of the model, or not one line of text; name it otherwise"),
        ({"--output": "photo.png"}, "photo.png: would replace --image"),
        ({"--output": "boxes.gif"}, "a name that ends in .png"),
        ({"--min_pixels": "90000000"}, "min_pixels 90000000 is above max_pixels"),
        ({"--templates": "{}"}, "templates: give system"),
    ],
)
def test_mistakes_are_reported_in_one_line_and_nothing_is_written(taught, tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    shutil.copy(taught / "photo.png", "photo.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.png").write_bytes((taught / "photo.png").read_bytes()[:60])
    (tmp_path / "named").mkdir()
    shutil.copy("photo.png", "named/\udce9.png")
    before = sorted(tmp_path.rglob("*"))
    flags = {
        "--checkpoint": taught / "model",
        "--image": "photo.png",
        "--ask": "every raccoon",
        "--output": "boxes.png",
    }
    words = [str(word) for pair in (flags | changes).items() for word in pair]
    with pytest.raises(UserError, match=re.escape(message)) as error:
        predict_image.main(words)
    assert "\n" not in str(error.value) and sorted(tmp_path.rglob("*")) == before


def test_several_checkpoints_or_images_are_not_drawn_to_one_file(taught, tmp_path):
    for words, message in (
        (["--checkpoint", "a/b", "--image", taught / "photo.png"], "give page.html"),
        (["--image", taught], "drawn to a folder"),
    ):
        words += ["--checkpoint", taught / "model", "--ask", "raccoon", "--output", tmp_path / "boxes.png"]
        with pytest.raises(UserError, match=message):
            predict_image.main(list(map(str, words)))


def test_a_model_from_the_hub_is_downloaded_once(taught, tmp_path, monkeypatch, capsys, hub):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(taught / "model", tmp_path / "me/vl")
    words = ["--checkpoint", f"me/vl@{REVISION}", "--image", taught / "photo.png", "--ask", "every raccoon"]
    for _ in range(2):
        (found,) = ask(*words, capsys=capsys)
        assert found["boxes"][0]["label"] == "raccoon" and found["checkpoint"] == f"me/vl@{REVISION}"
    assert len(hub) == 2, "small files, then weights"
    assert (tmp_path / f"results/downloads/models/me--vl@{REVISION}/model.safetensors").is_file()


def test_without_the_hub_one_line_names_the_model(taught, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    words = ["--checkpoint", "me/nothing", "--image", str(taught / "photo.png"), "--ask", "raccoon"]
    with pytest.raises(UserError, match="me/nothing at its newest commit: can't be downloaded") as error:
        predict_image.main(words)
    assert "\n" not in str(error.value)


def own_words():
    return asdict(DEFAULT) | {"grounding": "Find {phrase}."}


def test_a_runs_checkpoint_and_a_release_get_the_prompts_of_their_training(taught, tmp_path, capsys):
    settings = config() | {"templates": own_words()}
    settings["model"] |= {"dtype": "float32", "min_pixels": PIXELS[0], "max_pixels": PIXELS[1]}
    model = tmp_path / "run/models/strict/grpo_stage2/model"
    shutil.copytree(taught / "model", model)
    write(tmp_path / "run/config.json", settings)
    release = shutil.copytree(taught / "model", tmp_path / "release")
    write(release / "vision_r1.json", asking.of_run(settings) | {"max_new_tokens": 5})
    words = ["--checkpoint", model, "--checkpoint", release, "--image", taught / "photo.png", "--ask", "every raccoon"]
    of_run, of_release = ask(*words, capsys=capsys)
    assert of_run["answers"][0]["prompt"] == of_release["answers"][0]["prompt"] == "Find raccoon."
    assert of_release["answers"][0]["truncated"]
    overridden = ask(*words, "--templates", json.dumps(asdict(DEFAULT)), capsys=capsys)
    assert overridden[1]["answers"][0]["prompt"].startswith("Locate every raccoon")


def test_a_damaged_checkpoint_is_refused_but_may_have_images_beside_it(taught, tmp_path, capsys):
    release = shutil.copytree(taught / "model", tmp_path / "release")
    seal_folder(release)
    shutil.copy(taught / "photo.png", release / "photo.png")
    words = ["--checkpoint", release, "--image", release / "photo.png", "--ask", "every raccoon"]
    assert ask(*words, capsys=capsys)[0]["boxes"]
    with (release / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(UserError, match=r"model\.safetensors: damaged or edited"):
        ask(*words)


def test_a_run_of_another_version_is_one_line(taught, tmp_path):
    model = shutil.copytree(taught / "model", tmp_path / "run/models/base/model")
    write(tmp_path / "run/config.json", config())  # without templates
    with pytest.raises(UserError, match=r"run/config\.json: written by another version of this pipeline"):
        asking.of_checkpoint(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_processor_type": "x", "size": [1]}, "size of its image processor: not a JSON object"),
        ({"image_processor_type": "x", "size": {"height": 4, "width": 4}}, "sets no limits; give --min_pixels"),
    ],
)
def test_a_processor_that_says_no_limits(taught, tmp_path, settings, message):
    model = shutil.copytree(taught / "model", tmp_path / "model")
    for name in ("processor_config.json", "preprocessor_config.json"):
        (model / name).unlink(missing_ok=True)
    write(model / "preprocessor_config.json", settings)
    with pytest.raises(UserError, match=message):
        ask("--checkpoint", model, "--image", taught / "photo.png", "--ask", "every raccoon")


@pytest.mark.parametrize("config", [{}, {"model_type": ["qwen2_5_vl"]}])
def test_an_unknown_family_is_reported_in_one_line(tmp_path, config):
    write(tmp_path / "config.json", config)
    with pytest.raises(UserError, match=f"a model of family .*; known: {', '.join(FAMILIES)}"):
        family_of(tmp_path)


def test_other_checkpoints_use_the_limits_of_their_processor(tmp_path):
    make_checkpoint(tmp_path / "model", "qwen3_vl", "older")
    assert asking.of_checkpoint(tmp_path / "model") == {
        **{"max_new_tokens": asking.MAX_NEW_TOKENS, "min_pixels": 65536, "max_pixels": 16777216}
    }
    write(tmp_path / "model/vision_r1.json", {"prompts": "all-in-one"})
    with pytest.raises(UserError, match=r"vision_r1\.json: unknown key 'prompts'"):
        asking.of_checkpoint(tmp_path / "model")
    write(tmp_path / "model/vision_r1.json", [])
    with pytest.raises(UserError, match=r"vision_r1\.json: not a JSON object"):
        asking.of_checkpoint(tmp_path / "model")
