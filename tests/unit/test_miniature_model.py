"""The miniature model, its processor and its pretraining, in sizes that take seconds."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vision_r1.data.scenes import Style, draw_scenes
from vision_r1.data.worlds import WORLDS
from vision_r1.families import family
from vision_r1.files import UserError
from vision_r1.miniature.model import make_model
from vision_r1.miniature.pretrain import (
    Batches,
    coarsen,
    collate,
    draw_question,
    model_inputs,
    pretrain,
    prompt_encoder,
    style_at,
)
from vision_r1.miniature.processor import MIN_PIXELS, make_processor, patchify
from vision_r1.miniature.recipe import Recipe

RECIPE = Recipe(
    world="miniature",
    hidden_size=32,
    head_size=16,
    text_layers=1,
    vision_layers=1,
    number_waves=0,
    steps=15,
    exact_steps=0,
    filling_steps=0,
    batch_size=4,
    muon_learning_rate=0.02,
    adamw_learning_rate=0.01,
    weight_decay=0.05,
    warmup_steps=3,
    grow=0.08,
    jitter=0.05,
    drop=0.3,
    detection_share=0.5,
    grounding_share=0.3,
    negative_share=0.2,
    device="cpu",
    workers=0,
)
EXACT = replace(RECIPE, grow=0.0, jitter=0.0, drop=0.0)


@pytest.fixture(scope="module")
def processor():
    return make_processor(WORLDS["miniature"])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_model(processor):
    return make_model(processor.tokenizer, 32, 1, 1, seed=0)


def batch_of(processor):
    rng = np.random.default_rng(3)
    questions = [draw_question(EXACT, rng) for _ in range(4)]
    return model_inputs(collate(questions, processor, prompt_encoder(processor)))


def test_patchify_equals_the_image_processor(processor):
    for style in (Style(), Style(width=112, height=56)):
        images = np.stack([scene.image for scene in draw_scenes(style, 3, seed=1)])
        slow = processor.image_processor([Image.fromarray(image) for image in images], return_tensors="pt")
        assert torch.equal(patchify(torch.from_numpy(images)), slow["pixel_values"])


def test_collate_equals_the_processor_on_the_whole_conversation(processor):
    question = draw_question(EXACT, np.random.default_rng(5))
    batch = model_inputs(collate([question], processor, prompt_encoder(processor)))
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": Image.fromarray(question["image"])},
                {"type": "text", "text": question["prompt"]},
            ],
        },
        {"role": "assistant", "content": question["answer"]},
    ]
    whole = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    length = batch["input_ids"].shape[1]
    # The template ends with a line break after the end token.
    assert torch.equal(whole["input_ids"][:, :length], batch["input_ids"]) and whole["input_ids"].shape[1] == length + 1
    assert torch.equal(whole["pixel_values"], batch["pixel_values"])
    assert torch.equal(whole["image_grid_thw"], batch["image_grid_thw"])
    learned = batch["labels"][0][batch["labels"][0] >= 0]
    assert processor.tokenizer.decode(learned) == question["answer"] + "<|im_end|>"


def test_padding_does_not_change_the_loss(processor):
    model = small_model(processor).eval()
    rng = np.random.default_rng(6)
    encoder = prompt_encoder(processor)
    questions = [draw_question(EXACT, rng) for _ in range(4)]
    together = model_inputs(collate(questions, processor, encoder))
    assert len({len(question["answer"]) for question in questions}) > 1
    with torch.no_grad():
        logits = model(**together).logits
        for row, question in enumerate(questions):
            alone = model_inputs(collate([question], processor, encoder))
            own = model(**alone).logits[0]
            torch.testing.assert_close(logits[row, : len(own)], own, atol=1e-5, rtol=1e-4)


def test_a_few_steps_lower_the_loss_and_repeat(processor, monkeypatch, caplog):
    monkeypatch.setattr("vision_r1.progress.PAUSE", 0)
    caplog.set_level(logging.INFO)
    batch = batch_of(processor)
    weights = []
    for _ in range(2):
        model = small_model(processor)
        with torch.no_grad():
            before = model(**batch).loss
        history = pretrain(model, processor, RECIPE, seed=0)
        with torch.no_grad():
            assert model(**batch).loss < before - 1
        assert history[-1]["step"] == RECIPE.steps
        assert f"progress 1/{RECIPE.steps} steps" in caplog.text  # not only at steps that history records
        weights.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    assert torch.equal(*weights)


def test_plain_transformers_loads_a_saved_model_with_the_same_logits(processor, tmp_path):
    from transformers import AutoModelForImageTextToText

    from vision_r1.processors import load_processor

    model = small_model(processor).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, its_processor = (
        AutoModelForImageTextToText.from_pretrained(tmp_path),
        load_processor(tmp_path, family("qwen2_5_vl"), MIN_PIXELS, WORLDS["miniature"].max_pixels),
    )
    assert type(its_processor) is type(processor)
    scene = next(draw_scenes(Style(), 1, seed=2))
    content = [{"type": "image", "image": Image.fromarray(scene.image)}, {"type": "text", "text": "Locate every dog."}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    inputs = [each.apply_chat_template([{"role": "user", "content": content}], **options)
              for each in (processor, its_processor)]  # fmt: skip
    with torch.no_grad():
        assert torch.equal(model(**inputs[0]).logits, again(**inputs[1]).logits)


def test_coarse_boxes_are_larger_stay_inside_and_at_least_one_is_kept():
    rng = np.random.default_rng(0)
    objects = [
        {"label": "circle", "bbox": [10.0, 20.0, 30.0, 60.0]},
        {"label": "square", "bbox": [0.0, 0.0, 84.0, 84.0]},
    ]
    assert coarsen(objects, 84, 84, EXACT, rng) == sorted(objects, key=lambda item: item["bbox"][:2])
    grown = coarsen(objects[:1], 84, 84, replace(EXACT, grow=0.1), rng)
    assert grown == [{"label": "circle", "bbox": [8.0, 16.0, 32.0, 64.0]}]
    for _ in range(50):
        coarse = coarsen(objects, 84, 84, replace(RECIPE, drop=0.9), rng)
        assert 1 <= len(coarse) <= 2
        assert all(0 <= value <= 84 for item in coarse for value in item["bbox"])
    assert coarsen([], 84, 84, RECIPE, rng) == []


def test_questions_are_of_three_tasks_and_negatives_have_empty_answers():
    rng = np.random.default_rng(0)
    questions = [draw_question(RECIPE, rng) for _ in range(100)]
    empty = [question for question in questions if question["answer"] == "```json\n[]\n```"]
    lists = [question for question in questions if "category list" in question["prompt"]]
    assert 10 <= len(empty) <= 32 and 35 <= len(lists) <= 65
    assert not any("category list" in question["prompt"] for question in empty)


@pytest.mark.parametrize("wrong", [{"hidden_size": 24}, {"negative_share": 0.5}, {"drop": 1.5}, {"steps": 0}])
def test_invalid_settings_are_named(wrong):
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
        replace(RECIPE, **wrong)


def test_two_processes_learn_the_same_as_one(processor):
    recipe = replace(RECIPE, batch_size=5)  # an odd number: three rows and two
    histories, weights = [], []
    for processes in (1, 2):
        model = small_model(processor)
        histories.append(pretrain(model, processor, recipe, seed=0, processes=processes))
        weights.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    assert histories[1][-1]["loss"] == pytest.approx(histories[0][-1]["loss"], abs=1e-4)
    moved = weights[0] - torch.cat([value.flatten() for value in small_model(processor).state_dict().values()])
    assert (weights[1] - weights[0]).abs().max() < 1e-3 * moved.abs().max()
    assert not torch.distributed.is_initialized()


def test_near_coordinates_can_start_with_similar_embeddings(processor):
    tokenizer = processor.tokenizer
    random, smooth = (make_model(tokenizer, 64, 1, 1, seed=0, number_waves=waves) for waves in (0, 32))
    before, after = (model.get_input_embeddings().weight.detach() for model in (random, smooth))
    numbers = torch.tensor([tokenizer.convert_tokens_to_ids(f",Ġ{number}") for number in range(128)])
    firsts = torch.tensor([tokenizer.convert_tokens_to_ids(str(number)) for number in range(128)])
    assert {*numbers.tolist(), *firsts.tolist()} == set((after != before).any(1).nonzero().flatten().tolist())
    likeness = torch.nn.functional.cosine_similarity(after[numbers][:, None], after[numbers][None], dim=2)
    near, further, far = (likeness.diagonal(distance).mean() for distance in (1, 8, 64))
    assert near > further + 0.1 > far + 0.2
    assert after[numbers].std() == pytest.approx(before.std().item(), rel=0.2)
    assert torch.equal(smooth.lm_head.weight, after)  # the head shares them


def test_scenes_fill_up_from_few_objects_to_the_worlds_most():
    recipe = replace(RECIPE, world="midi", filling_steps=10)
    assert [style_at(step, recipe).objects[1] for step in (0, 5, 9, 10, 12)] == [3, 11, 18, 20, 20]
    assert style_at(0, replace(recipe, filling_steps=0)).objects == (1, 20)
    assert style_at(0, replace(RECIPE, filling_steps=10)).objects == (1, 3)  # the miniature has no more


def test_batches_do_not_depend_on_the_number_of_workers(processor):
    streams = [iter(DataLoader(Batches(processor, RECIPE, 0), batch_size=None, num_workers=n)) for n in (0, 2)]
    for _ in range(5):
        one, other = (next(stream) for stream in streams)
        assert all(torch.equal(one[name], other[name]) for name in one)
