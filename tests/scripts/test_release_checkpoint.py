"""A released checkpoint: plain transformers loads it, the hub reads its card, and foreign text stays text."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import release_checkpoint
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from report_factory import comparison, config, write
from tiny_models import PIXELS, make_checkpoint, teach, write_train_file

from vision_r1.families import family
from vision_r1.files import UserError, hash_folder, seal_folder
from vision_r1.processors import load_processor, prompt_text
from vision_r1.prompts import DEFAULT

HOSTILE = "</a><script>alert(1)</script> | `x` \u202e\n# heading\n---\nlicense: mit {{ 7411*7411 }}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder: a model, its base model, and the files from which the card is made."""
    folder = tmp_path_factory.mktemp("release")
    make_checkpoint(folder / "models/sft/model", "qwen2_5_vl", "older")
    (folder / "models/sft/model/.snakemake_timestamp").touch()
    write(folder / "models/sft/metrics.json", {"steps": 150, "samples_seen": 3600, "versions": {"trl": "1.16.0"}})
    shutil.copytree(folder / "models/sft", folder / "models/strict/grpo_stage2")
    (folder / "models/base/model").mkdir(parents=True)
    (folder / "models/base/model/LICENSE").write_text("the base model's licence")
    write(folder / "tables/comparison.json", comparison())
    write(folder / "data/curation.json", curation("scenes_train"))
    write_train_file(folder / "data", "qwen2_5_vl")
    settings = config()
    settings["model"] = {"family": "qwen2_5_vl", "source": "hub", "id": "Qwen/x", "revision": "0" * 40}
    settings["model"] |= {"min_pixels": 784, "max_pixels": 7840, "dtype": "float32"}
    settings |= {"sft": {"learning_rate": 1e-4}}
    settings["templates"] = asdict(DEFAULT)
    settings["grpo"] = {"refinement": "restart", "beta": 0.04}
    for stage in ("grpo_stage1", "grpo_stage2"):
        settings[stage]["max_steps"] = 100
    write(folder / "config.json", settings)
    return folder


def curation(*sources):
    samples = {"detection": {"asked": 1800, "written": 1800}}
    return {"datasets": {name: {"images": 3000} for name in sources}, "rows": 3000, "samples": samples}


def release(folder, output, checkpoint="sft"):
    """Run the program; return the card."""
    words = ["--run", folder, "--checkpoint", checkpoint, "--output_folder", output]
    release_checkpoint.main(list(map(str, words)))
    return (output / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the run whose files may be changed."""
    return shutil.copytree(folder, tmp_path / "run")


def test_plain_transformers_loads_the_folder(folder, tmp_path):
    release(folder, tmp_path / "sft")
    program = """
from transformers import AutoModelForImageTextToText, AutoTokenizer
model, info = AutoModelForImageTextToText.from_pretrained("sft", output_loading_info=True)
assert not any(info[key] for key in ("missing_keys", "unexpected_keys")), info
print(model.config.model_type, len(AutoTokenizer.from_pretrained("sft")) > 10)
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert loaded.stdout == "qwen2_5_vl True\n", loaded.stderr


def test_the_processor_is_released_with_the_hubs_files(folder, tmp_path):
    release(folder, tmp_path / "sft")
    for name in ("chat_template.json", "vocab.json", "preprocessor_config.json", "video_preprocessor_config.json"):
        assert (tmp_path / "sft" / name).read_bytes() == (folder / "models/sft/model" / name).read_bytes()
    processor = load_processor(tmp_path / "sft", family("qwen2_5_vl"), *PIXELS)
    assert "You are a helpful assistant." in prompt_text(processor, "Where?")


def test_the_card_names_adapters_the_reward_and_the_whole_warning(copied, tmp_path):
    settings = json.loads((copied / "config.json").read_text())
    settings["lora"] = {"r": 16, "alpha": 32}
    settings["report"]["banner"] = f"Not comparable: {'reasons, ' * 60}and the last one."
    settings["experiments"]["strict"] = {"reward": {"criterion": "perception_r1"}}
    write(copied / "config.json", settings)
    text = release(copied, tmp_path / "card", "strict/grpo_stage2")
    assert "| lora.r | 16 |" in text and "and the last one.**" in text
    assert "GRPO with the reward perception\\_r1. Run" in text


def test_weights_are_linked_and_small_files_copied(folder, tmp_path):
    release(folder, tmp_path / "sft")
    trained = folder / "models/sft/model"
    weights, settings = (tmp_path / "sft" / name for name in ("model.safetensors", "config.json"))
    assert weights.samefile(trained / "model.safetensors") and not settings.samefile(trained / "config.json")
    assert (tmp_path / "sft/LICENSE").read_text() == "the base model's licence"
    assert not (tmp_path / "sft/.snakemake_timestamp").exists()


@pytest.mark.parametrize(
    ("checkpoint", "place", "message"),
    [
        ("base", "release", "--checkpoint base: nothing was trained; give a trained one"),
        ("sft", "models/sft/model", "--output_folder .*models/sft/model: the run's own models are there"),
    ],
)
def test_neither_the_base_model_nor_over_a_runs_models(copied, checkpoint, place, message):
    before = sorted(path.name for path in (copied / "models/sft/model").iterdir())
    with pytest.raises(UserError, match=message):
        release(copied, copied / place, checkpoint)
    assert sorted(path.name for path in (copied / "models/sft/model").iterdir()) == before


def test_the_card_has_base_data_method_results_and_licence(folder, tmp_path):
    text = release(folder, tmp_path / "sft")
    data = ModelCard(text).data
    assert (data.license, data.base_model, data.library_name) == ("other", "Qwen/x", "transformers")
    ((result,)) = data.eval_results
    assert (result.dataset_type, result.dataset_config, result.metric_value) == ("odinw13", "released-present", 0.5)
    assert f"Qwen/x at revision {'0' * 40}" in text and "3,000 samples. detection: 1,800." in text
    assert "| scenes\\_train | made here |" in text and "| learning\\_rate | 0.0001 |" in text
    assert "| odinw13 | released-present | 50.0 | 30.0 | +20.0 (+15.0 to +25.0)\\* |" in text
    assert "The base model's licence applies to this model too; its text is in this folder" in text
    assert "not comparable with the paper" in text and "strength of some shifts was chosen" in text


@pytest.mark.parametrize(
    ("source", "licence", "words"),
    [
        ("scenes_train", "apache-2.0", "fall under the pipeline's licence, Apache-2.0."),
        ("mine", "other", "Apache-2.0. The training data's licences are above"),
    ],
)
def test_a_made_model_has_our_licence_unless_it_was_trained_on_photographs(copied, tmp_path, source, licence, words):
    settings = json.loads((copied / "config.json").read_text())
    settings["model"] |= {"source": "made", "id": None, "revision": None}
    settings["data"]["train"] = [source]
    settings["datasets"]["mine"] = {"annotations": "train.json", "images": "images"}
    write(copied / "config.json", settings)
    write(copied / "data/curation.json", curation(source))
    text = release(copied, tmp_path / "card")
    data = ModelCard(text).data
    assert data.license == licence and words in text
    assert getattr(data, "license_name", None) == (None if licence == "apache-2.0" else "as-the-training-data")


def test_the_card_of_a_grpo_stage_has_its_thresholds_and_parent(folder, tmp_path):
    text = release(folder, tmp_path / "strict/grpo_stage2", "strict/grpo_stage2")
    assert "chain seed 0, training seed 0" in text and "| seed of this training (--seed) | 2 |" in text
    assert "| recall\\_threshold | 0.75 |" in text and "was trained from checkpoint strict/grpo\\_stage1" in text
    assert "| coco | released-one-prompt | 51.3 | 36.1 | +15.2 (+13.2 to +17.2)\\* |" in text


def test_the_card_shows_what_was_not_measured(copied, tmp_path):
    compared = comparison()
    compared["lines"] = [{**line, "low": None, "high": None, "significant": False} for line in compared["lines"]]
    write(copied / "tables/comparison.json", compared)
    assert "| 51.3 | 36.1 | +15.2 |" in release(copied, tmp_path / "a", "strict/grpo_stage2")
    write(copied / "tables/comparison.json", {**compared, "lines": []})
    assert "| missing | | | | |" in release(copied, tmp_path / "b", "strict/grpo_stage2")


def test_hostile_text_in_a_card_is_only_text(copied, tmp_path):
    settings = json.loads((copied / "config.json").read_text())
    settings["report"] |= {"title": HOSTILE, "banner": HOSTILE, "disclosures": [HOSTILE]}
    settings["model"]["id"] = HOSTILE
    settings["run"] = HOSTILE
    settings["sft"] = {HOSTILE: HOSTILE}
    compared = comparison()
    for line in compared["lines"]:
        line |= {"suite": HOSTILE, "protocol": HOSTILE}
    settings["datasets"]["scenes_train"] = {"annotations": "a.json", "images": "a", "licence": HOSTILE}
    write(copied / "config.json", settings)
    write(copied / "tables/comparison.json", compared)
    write(copied / "data/curation.json", curation(HOSTILE, "scenes_train"))
    text = release(copied, tmp_path / "sft")
    front, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.S).groups()
    assert yaml.safe_load(front)["license"] == "other" and "\u202e" not in text
    assert "<script" not in body.replace("\\<script", "") and str(7411 * 7411) not in body
    assert "# heading" not in body.splitlines() and "license: mit" not in body.splitlines()
    assert ModelCard(text).data.license == "other"


def test_a_folder_without_weights_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"contains no \.safetensors file"):
        release(folder, tmp_path / "sft", "strict/grpo_stage1")
    assert not (tmp_path / "sft").exists()


def test_the_card_of_a_miniature_claims_no_benchmark(copied, tmp_path):
    settings = json.loads((copied / "config.json").read_text())
    settings["model"] |= {"source": "made", "id": None, "revision": None}
    write(copied / "config.json", settings)
    text = release(copied, tmp_path / "sft")
    assert "model-index" not in text and "| odinw13 | released-present | 50.0" in text


def test_a_release_has_a_seal_and_damaged_models_are_not_released(folder, tmp_path):
    release(folder, tmp_path / "release")
    assert hash_folder(tmp_path / "release").keys() >= {"model.safetensors", "config.json", "LICENSE"}
    (tmp_path / "release/README.md").write_text("a card of my own")
    hash_folder(tmp_path / "release")
    (tmp_path / "release/config.json").write_text("{}")
    with pytest.raises(UserError, match="release/config.json: damaged or edited since it was written"):
        hash_folder(tmp_path / "release")
    seal_folder(folder / "models/sft/model")
    template = next((folder / "models/sft/model").glob("chat_template.*"))
    before = template.read_bytes()
    template.write_bytes(before + b" ")
    with pytest.raises(UserError, match=f"{template.name}: damaged or edited since it was written"):
        release(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    template.write_bytes(before)
    (folder / "models/sft/model/seal.sha256").unlink()


@pytest.mark.parametrize(("name", "layout"), [("qwen2_5_vl", None), ("qwen2_5_vl", "older"), ("qwen3_vl", "newer")])
def test_the_card_s_program_runs_as_printed_and_draws_the_boxes(folder, tmp_path, name, layout):
    run = tmp_path / "run"
    shutil.copytree(folder, run, ignore=shutil.ignore_patterns("models"))
    write(run / "models/sft/metrics.json", {"steps": 1})
    model, photo = run / "models/sft/model", tmp_path / "photo.jpg"
    make_checkpoint(model, name, layout)
    load_processor(model, family(name), *PIXELS).save_pretrained(model)  # as a training does
    (run / "models/base/model").mkdir(parents=True)
    settings = json.loads((run / "config.json").read_text())
    settings["model"] |= {"family": name, "min_pixels": PIXELS[0], "max_pixels": PIXELS[1]}
    settings["evaluation"]["protocols"]["all-categories"]["max_new_tokens"] = 100
    write(run / "config.json", settings)
    Image.new("RGB", (90, 61), "white").save(photo)
    box = [10, 20, 40, 50] if name == "qwen2_5_vl" else [100, 200, 400, 500]
    right = DEFAULT.answer([box], ["circle"])
    released = tmp_path / "released"
    text = release(run, released)
    assert text.index("pip install torch") < text.index("```python")
    shutil.copy(photo, released)
    (question,) = re.findall(r"question = '(.*)'", text)
    teach(released, name, photo, question, right)
    (program,) = re.findall(r"```python\n(.*?\n)```\n", text, re.S)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=released)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == right
    drawn = np.asarray(Image.open(released / "boxes.png"), int)
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 60)
    ys, xs = red.nonzero()
    seen = family(name).input_size(90, 61, *PIXELS) if name == "qwen2_5_vl" else (1000, 1000)
    expected = [box[0] * 90 / seen[0], box[1] * 61 / seen[1], box[2] * 90 / seen[0], box[3] * 61 / seen[1]]
    assert np.abs(np.array([xs.min(), ys.min(), xs.max(), ys.max()]) - expected).max() <= 3


def test_the_cards_example_asks_for_labels_of_the_training(folder, tmp_path):
    text = release(folder, tmp_path / "sft")
    (question,) = re.findall(r"question = '(.*)'", text)
    rows = [json.loads(line) for line in (folder / "data/train.jsonl").open()]
    asked = question.split("includes ")[1].rstrip(".").split(", ")
    assert asked == next(row["categories"] for row in rows if row["task"] == "detection") and "cat" not in asked


def test_a_label_in_the_card_s_program_is_only_text(copied, tmp_path):
    path = copied / "data/train.jsonl"
    rows = [json.loads(line) for line in path.open()]
    for row in rows:
        row["objects"] = [{"label": "'\n```\nimport os # \u202e \U0001f600", "bbox": [1, 1, 9, 9]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = release(copied, tmp_path / "sft")
    (program,) = re.findall(r"```python\n(.*?\n)```\n", text, re.S)
    compile(program, "card", "exec")
    assert "\nimport os" not in text.replace("import os\n", "") and "\u202e" not in text


def test_a_release_records_how_to_prompt_it(folder, tmp_path):
    release(folder, tmp_path / "sft")
    asked = json.loads((tmp_path / "sft/vision_r1.json").read_text())
    assert asked["templates"] == asdict(DEFAULT) and asked["dtype"] == "float32"
    assert (asked["min_pixels"], asked["max_pixels"], asked["max_new_tokens"]) == (784, 7840, 40)
