"""Processors of both families, in the hub's layouts of several years, load without torchvision."""

import json
import pickle

import numpy as np
import pytest
import torch
from hub_layouts import IMAGES, LAYOUTS, SYSTEM, template, write_processor
from PIL import Image

from vision_r1.data.tokens import ProcessorTokens
from vision_r1.families import FAMILIES, family
from vision_r1.files import UserError, read_json
from vision_r1.model_folder import image_settings
from vision_r1.processors import load_processor, prompt_text

LIMITS = (784, 200704)


def load(folder, name, limits=LIMITS):
    return load_processor(folder, family(name), *limits)


@pytest.fixture(scope="module", params=[(name, layout) for name in FAMILIES for layout in LAYOUTS])
def place(request, tmp_path_factory):
    """(folder, family) with a processor as on the hub."""
    name, layout = request.param
    folder = tmp_path_factory.mktemp(name) / layout
    write_processor(folder, name, layout)
    return folder, name


def photograph():
    """Return a smooth image that has to be shrunk in one direction and enlarged in the other."""
    rows, columns = np.mgrid[:300, :451]
    waves = [np.sin(columns / scale) * np.cos(rows / (scale + 5)) for scale in (9, 17, 31)]
    return Image.fromarray(np.uint8(127.5 + 127.5 * np.stack(waves, axis=-1)))


def inputs(processor):
    text = prompt_text(processor, "Where is it?")
    return processor(images=[photograph()], text=[text], return_tensors="pt")


def test_text_and_image_tokens_are_the_familys(place):
    folder, name = place
    processor = load(folder, name)
    text = prompt_text(processor, "Where is it?")
    turn = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Where is it?<|im_end|>\n"
    assert text == (SYSTEM if name == "qwen2_5_vl" else "") + turn + "<|im_start|>assistant\n"
    assert processor.chat_template == template(name)
    found = inputs(processor)
    (_, height, width), cell = found["image_grid_thw"][0].tolist(), IMAGES[name]["patch_size"]
    assert (width * cell, height * cell) == family(name).input_size(451, 300, *LIMITS)
    assert int((found["input_ids"] == processor.image_token_id).sum()) == width * height // 4
    assert int(found["mm_token_type_ids"].sum()) == width * height // 4
    assert found["pixel_values"].shape == (width * height, 3 * 2 * cell * cell)
    mean, std = (np.array(IMAGES[name][key]) for key in ("image_mean", "image_std"))
    pixels = found["pixel_values"].view(-1, 3, 2, cell, cell).mean((0, 2, 3, 4)).numpy() * std + mean
    assert np.allclose(pixels, np.asarray(photograph()).mean((0, 1)) / 255, atol=0.01)


def test_both_sides_of_a_resize_are_within_the_limits(place):
    folder, name = place
    grid = inputs(load(folder, name, (784, 7056)))["image_grid_thw"][0]
    assert grid.prod() * IMAGES[name]["patch_size"] ** 2 <= 7056


def test_limits_that_contradict_each_other_are_refused(place):
    with pytest.raises(UserError, match="--min_pixels 7840: above --max_pixels 784; lower it"):
        load(*place, (7840, 784))


def test_the_system_message_of_the_template_is_counted(place):
    folder, name = place
    processor = load(folder, name)
    sizes = {"width": 451, "height": 300, "input_width": 448, "input_height": 308}
    row = {"system": None, "prompt": "Where is it?", "answer": "[]", "frame": family(name).frame, **sizes}
    ((prompt, _),) = ProcessorTokens(processor).count([row])
    found = inputs(processor)["input_ids"][0].tolist()
    assert prompt == len(found) - found.count(processor.image_token_id) + 1
    assert (SYSTEM in processor.tokenizer.decode(found)) == (name == "qwen2_5_vl")


def test_a_recipes_system_message_replaces_the_templates(place):
    processor = load(*place)
    text = prompt_text(processor, "Where is it?", "Answer in JSON.")
    assert "Answer in JSON." in text and SYSTEM not in text and text.index("JSON") < text.index("Where")


def test_a_saved_processor_has_the_hubs_files_with_other_limits(place, tmp_path):
    folder, name = place
    load(folder, name, (784, 7056)).save_pretrained(tmp_path / "once")
    load(tmp_path / "once", name, (1000, 8000)).save_pretrained(tmp_path / "twice")
    before = {path.name: path.read_text() for path in folder.iterdir()}
    after = {path.name: path.read_text() for path in (tmp_path / "twice").iterdir()}
    assert after.keys() == before.keys()
    changed = [file for file in before if after[file] != before[file]]
    assert changed in (["preprocessor_config.json"], ["processor_config.json"])
    old, new = image_settings(folder), image_settings(tmp_path / "twice")
    assert new.pop("size") == {"shortest_edge": 1000, "longest_edge": 8000}
    if "min_pixels" in old:
        assert (new["min_pixels"], new["max_pixels"]) == (1000, 8000)
    assert {**new, "size": 0, "min_pixels": 0, "max_pixels": 0} == {**old, "size": 0, "min_pixels": 0, "max_pixels": 0}
    names = [read_json(tmp_path / "twice" / file).get("processor_class") for file in changed]
    assert names == [family(name).processor]


def test_workers_get_the_same_processor(place):
    folder, name = place
    processor = load(folder, name)
    again = pickle.loads(pickle.dumps(processor))
    assert type(again) is type(processor) and again.files == processor.files
    assert all(torch.equal(inputs(processor)[key], inputs(again)[key]) for key in inputs(processor))


def test_torchvision_and_pillow_process_an_image_alike(place, tmp_path):
    """vLLM, and users of a released checkpoint, have transformers' processor."""
    pytest.importorskip("torchvision")
    from transformers import AutoProcessor

    folder, name = place
    processor = load(folder, name)
    processor.save_pretrained(tmp_path / "ours")
    real = AutoProcessor.from_pretrained(tmp_path / "ours")
    assert type(real).__module__.startswith("transformers.") and type(real).__name__ == family(name).processor
    assert type(real.image_processor).__name__ == "Qwen2VLImageProcessor" and real.video_processor is not None
    one, other = inputs(processor), inputs(real)
    assert one.keys() == other.keys()
    for key in one:
        if key != "pixel_values":
            assert torch.equal(one[key], other[key]), key
    # In steps of 255. The two round at different points.
    steps = (one["pixel_values"] - other["pixel_values"]).abs() * min(IMAGES[name]["image_std"]) * 255
    assert steps.mean() < 0.1 and steps.max() < 4

    real.save_pretrained(tmp_path / "theirs")  # transformers' current layout
    assert all(torch.equal(inputs(load(tmp_path / "theirs", name))[key], one[key]) for key in one)


@pytest.fixture
def broken(tmp_path):
    write_processor(tmp_path, "qwen2_5_vl", "older")
    return tmp_path


def test_a_processor_of_another_family_is_named(broken):
    with pytest.raises(UserError, match="an image token of its processor is 28 pixels wide, one of qwen3_vl 32; fix"):
        load(broken, "qwen3_vl")


def test_a_folder_without_a_template_is_named(broken):
    (broken / "chat_template.json").unlink()
    settings = read_json(broken / "tokenizer_config.json")
    del settings["chat_template"]
    (broken / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="no chat template; take the folder of an instruct model"):
        load(broken, "qwen2_5_vl")


def test_a_template_that_leaves_the_image_out_is_named(broken):
    template = {"chat_template": "{% for turn in messages %}{{ turn.content[-1].text }}{% endfor %}"}
    (broken / "chat_template.json").write_text(json.dumps(template))
    with pytest.raises(UserError, match=r"chat template has no <\|image_pad\|> for the image; take"):
        load(broken, "qwen2_5_vl")


@pytest.mark.parametrize(
    "text", ["{% for turn in messages %}{{ 'user: ' + turn.content }}{% endfor %}", "{{ 1 // 0 }}"]
)
def test_a_template_that_can_t_be_run_is_named(broken, text):
    template = {"chat_template": text}
    (broken / "chat_template.json").write_text(json.dumps(template))
    with pytest.raises(UserError, match="its chat template can't be used .*; take the template of a vision-language"):
        load(broken, "qwen2_5_vl")


def test_a_thinking_model_is_refused(broken):
    settings = read_json(broken / "chat_template.json")
    (broken / "chat_template.json").write_text(json.dumps({"chat_template": settings["chat_template"] + "<think>\n"}))
    with pytest.raises(UserError, match="begins every answer with a thought; take the instruct model"):
        load(broken, "qwen2_5_vl")


def test_another_type_of_model_is_reported_in_one_line(broken):
    settings = {"image_processor_type": "CLIPImageProcessor", "processor_class": "LlavaProcessor"}
    (broken / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"no processor can be built from its files \(.*CLIP.*\); fetch it again, or"):
        load(broken, "qwen2_5_vl")


@pytest.mark.parametrize("name", ["vocab.json", "preprocessor_config.json"])
def test_a_damaged_file_is_reported_in_one_line(broken, name):
    (broken / name).write_text((broken / name).read_text()[:40])
    with pytest.raises(UserError, match=r"^[^\n]*(no processor can be built from its files|not valid JSON)[^\n]*$"):
        load(broken, "qwen2_5_vl")


def test_settings_in_both_files_get_the_same_limits(broken, tmp_path):
    settings = {"processor_class": "Qwen2_5_VLProcessor", "image_processor": IMAGES["qwen2_5_vl"]}
    (broken / "processor_config.json").write_text(json.dumps(settings))
    load(broken, "qwen2_5_vl", (784, 7056)).save_pretrained(tmp_path / "saved")
    sizes = [read_json(tmp_path / "saved/preprocessor_config.json")["size"]]
    sizes.append(read_json(tmp_path / "saved/processor_config.json")["image_processor"]["size"])
    assert sizes == 2 * [{"shortest_edge": 784, "longest_edge": 7056}]
