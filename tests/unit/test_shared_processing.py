"""What copies of a prompt share before the model: an image is read and processed once, a prompt rendered once."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import processor_of
from transformers import processing_utils

from vision_r1.files import UserError, read_jsonl
from vision_r1.processors import prompt_text
from vision_r1.training.sharing import share_processing, share_reading


def looked_up(pixels, inputs):
    """Return a copy of the inputs of a processor under share_processing, with pixels in the place of their numbers."""
    grids = np.asarray(inputs["image_grid_thw"]).prod(1)
    numbers = np.asarray(inputs["pixel_values"])[grids.cumsum() - grids, 0]
    return {**inputs, "pixel_values": torch.cat([pixels[number] for number in numbers.tolist()])}


def test_an_image_is_read_and_processed_once(place, monkeypatch):
    from datasets import Dataset

    paths = [row["image"] for row in read_jsonl(place / "train.jsonl")[:2]]
    images = share_reading(Dataset.from_dict({"image": [paths[0], paths[0], paths[1]]}), kept=1)[:]["image"]
    assert images[0] is images[1] and images[0].mode == "RGB"

    plain, shared = processor_of(place), processor_of(place)
    pixels = share_processing(shared)
    kind = type(plain.image_processor)
    seen = []
    original = kind.preprocess
    monkeypatch.setattr(
        kind, "preprocess", lambda self, images, **o: seen.append(len(images)) or original(self, images, **o)
    )
    text = 2 * ["<|vision_start|><|image_pad|><|vision_end|>Where?"] + ["<|vision_start|><|image_pad|><|vision_end|>"]
    expected = plain(images=images, text=text, padding=True, return_tensors="pt")
    seen.clear()
    for _ in range(2):
        numbered = shared(images=images, text=text, padding=True, return_tensors="pt")
        found = looked_up(pixels, numbered)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert seen == [2]
    other = looked_up(pixels, shared(images=images[2:], text=text[2:], return_tensors="pt"))
    assert torch.equal(other["pixel_values"], expected["pixel_values"][-len(other["pixel_values"]) :])
    assert seen == [2, 1]
    with pytest.raises(KeyError):  # of the call before: never another image's
        looked_up(pixels, numbered)


def test_two_prompts_about_an_image_share_it(place):
    processor = processor_of(place)
    pixels = share_processing(processor)
    image = Image.new("RGB", (64, 96), "white")
    text = [prompt_text(processor, f"Locate every {name}.") for name in ("circle", "square")]
    inputs = processor(images=[image, image], text=text, padding=True, return_tensors="pt")
    assert len(pixels) == 1 and inputs["pixel_values"].unique().numel() == 1
    assert inputs["input_ids"][0].tolist() != inputs["input_ids"][1].tolist()


def test_a_prompt_is_rendered_once(place, monkeypatch):
    """As TRL asks: all copies in one call, then text for one after the other."""
    plain, shared = processor_of(place), processor_of(place)
    pixels = share_processing(shared)
    images = [Image.new("RGB", (64, 96), colour) for colour in ("white", "red")]

    def turn(image, words):
        return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": words}]}]

    asked = [("circle", 0), ("circle", 0), ("circle", 1), ("square", 1), ("square", 1)]
    turns = [turn(images[number], f"Locate every {words}.") for words, number in asked]
    batched = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
    one_by_one = {"add_generation_prompt": True, "tokenize": False}
    expected = plain.apply_chat_template(turns, **batched)
    texts = [plain.apply_chat_template(each, **one_by_one) for each in turns]
    rendered = []
    original = processing_utils.render_jinja_template

    def render(conversations, **options):
        rendered.append(len(conversations))
        return original(conversations=conversations, **options)

    monkeypatch.setattr(processing_utils, "render_jinja_template", render)
    found = looked_up(pixels, shared.apply_chat_template(turns, **batched))
    assert found.keys() == expected.keys() and len(pixels) == 2
    assert all(np.array_equal(found[name], expected[name]) for name in ("pixel_values", "image_grid_thw"))
    assert found["input_ids"] == expected["input_ids"]
    assert [shared.apply_chat_template(each, **one_by_one) for each in turns] == texts
    assert rendered == [3, 1, 1, 1]
    assert shared.apply_chat_template(turns[0], add_generation_prompt=False) != texts[0]


def test_an_image_that_is_damaged_while_training_reads_is_named(tmp_path):
    from datasets import Dataset

    Image.effect_noise((84, 84), 50).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-900])
    with pytest.raises(UserError, match=r"cut\.jpg: not a readable image \(image file is truncated"):
        share_reading(Dataset.from_dict({"image": [str(tmp_path / "cut.jpg")]}), kept=1)[0]


def test_the_saved_processor_is_the_plain_one(place, tmp_path):
    processor = processor_of(place)
    processor.save_pretrained(tmp_path / "plain")
    share_processing(processor)
    processor.save_pretrained(tmp_path / "shared")
    for path in (tmp_path / "plain").iterdir():
        assert path.read_bytes() == (tmp_path / "shared" / path.name).read_bytes(), path.name
