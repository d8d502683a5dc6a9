"""Errors in a model's folder are reported in one line, before any weights are read."""

import json

import pytest
import torch
from hub_layouts import write_processor
from safetensors.torch import save_file

from vision_r1.files import UserError
from vision_r1.model_folder import INDEX, WEIGHTS, check_model, check_weights, pixel_limits, weight_files

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3982638488\n"
SHARDS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]


@pytest.fixture
def folder(tmp_path):
    """A model's folder with weights in two shards."""
    folder = tmp_path / "my model"
    write_processor(folder, "qwen2_5_vl", "older")
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    for number, name in enumerate(SHARDS):
        save_file({f"layer.{number}": torch.zeros(8, 8)}, folder / name)
    index = {"metadata": {}, "weight_map": {f"layer.{number}": name for number, name in enumerate(SHARDS)}}
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def check(folder):
    check_model(folder)
    check_weights(folder, weight_files(folder))


def test_a_complete_folder_is_accepted(folder):
    check(folder)
    assert weight_files(folder) == [INDEX, *SHARDS]
    (folder / WEIGHTS).write_bytes((folder / SHARDS[0]).read_bytes())
    assert weight_files(folder) == [WEIGHTS], "like transformers, which looks for it first"
    check(folder)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("layer.0", torch.int8, "layer.0 is of type I8: quantised weights; take those in full precision"),
        ("base_model.model.layer.0", torch.float32, "base_model.model.layer.0: PEFT's adapters, .*; merge them first"),
        ("q.lora_A.default.weight", torch.float32, "q.lora_A.default.weight: PEFT's adapters"),
    ],
)
def test_weights_that_are_none(folder, name, kind, message):
    save_file({name: torch.zeros(8, 8, dtype=kind)}, folder / SHARDS[0])
    with pytest.raises(UserError, match=f"{SHARDS[0]}: {message}"):
        check(folder)


def quantised(folder, settings):
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl", "quantization_config": settings}))


def damage(name, content):
    return lambda folder: (folder / name).write_text(content)


def cut(folder):
    path = folder / SHARDS[1]
    path.write_bytes(path.read_bytes()[:-1])


def cut_in_its_header(folder):
    path = folder / SHARDS[1]
    path.write_bytes(path.read_bytes()[:20])


def dangling(folder):
    (folder / SHARDS[1]).unlink()
    (folder / SHARDS[1]).symlink_to("../../blobs/4d7a")


def without(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (without("config.json"), "my model/config.json: no such file; take the model's whole folder"),
        (damage("config.json", "[]"), "my model/config.json: not a JSON object"),
        (damage("generation_config.json", "[]"), "my model/generation_config.json: not a JSON object"),
        (damage("tokenizer_config.json", POINTER), "tokenizer_config.json: a Git LFS pointer .* run `git lfs pull` in"),
        (damage(SHARDS[0], POINTER), f"{SHARDS[0]}: a Git LFS pointer in place of the file; run `git lfs pull` in"),
        (damage(INDEX, POINTER), "safetensors.index.json: a Git LFS pointer"),
        (without(SHARDS[1]), f"my model/{SHARDS[1]}: no such file; .* fetch it again"),
        (dangling, f"my model/{SHARDS[1]}: a link to a file that is gone"),
        (cut, f"my model/{SHARDS[1]}: cut off or damaged .*; fetch it again"),
        (cut_in_its_header, f"my model/{SHARDS[1]}: cut off or damaged"),
        (without(INDEX), "my model: neither model.safetensors nor model.safetensors.index.json"),
        (damage(INDEX, '{"weight_map": {"a": "../other/model.safetensors"}}'), "its weight_map doesn't name files"),
        (damage(INDEX, "{}"), "its weight_map doesn't name files"),
        (without("vocab.json", "merges.txt"), "my model: no tokenizer.json, nor vocab.json and merges.txt"),
        (without("merges.txt"), "my model: no tokenizer.json, nor vocab.json and merges.txt"),
        (without("preprocessor_config.json"), "my model: no preprocessor_config.json"),
        (
            lambda folder: quantised(folder, {"quant_method": "awq", "bits": 4}),
            "a quantised model \\(awq\\); take",
        ),
        (damage("config.json", '{"text_config": {"quantization_config": "x"}}'), "a quantised model \\(x\\)"),
        (
            damage("config.json", '{"_attn_implementation": "flash_attention_2"}'),
            "_attn_implementation is not the model's to say; remove that line",
        ),
        (
            damage("config.json", '{"transformers_weights": "../other.safetensors"}'),
            "transformers_weights is not the model's to say; remove that line",
        ),
        (
            damage("adapter_config.json", "{}"),
            "my model: adapters beside a whole model; if they are merged",
        ),
        (
            damage("preprocessor_config.json", '{"image_processor_type": "Qwen2_5_VLImageProcessor"}'),
            "transformers no longer has Qwen2_5_VLImageProcessor; .* change image_processor_type to Qwen2VLImageProc",
        ),
        (lambda folder: quantised(folder, {"quant_method": "gptq"}), "my model/config.json: a quantised model \\(gptq"),
        (lambda folder: quantised(folder, {"quant_method": "bitsandbytes"}), "a quantised model \\(bitsandbytes\\)"),
    ],
)
def test_what_is_wrong_is_named(folder, harm, message):
    harm(folder)
    with pytest.raises(UserError, match=message) as refusal:
        check(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({"size": {"shortest_edge": 3136, "longest_edge": 99}}, (3136, 99)),
        ({"size": {"shortest_edge": 3136, "longest_edge": 99}, "min_pixels": 784, "max_pixels": None}, (784, 99)),
        ({"size": {"min_pixels": 784, "max_pixels": 99}}, (784, 99)),
        ({"max_pixels": 99}, None),
    ],
)
def test_limits_of_pixels_are_those_that_transformers_takes(folder, settings, limits):
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    assert pixel_limits(folder) == limits
