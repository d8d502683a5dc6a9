"""Sharing between copies of a prompt changes no value: each family, against the unmodified model and processor."""

import inspect
from types import MethodType

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import processor_of
from trl.trainer import utils
from trl.trainer.utils import add_fused_lm_head

from vision_r1.files import read_jsonl
from vision_r1.models import load_model
from vision_r1.positions import position_once
from vision_r1.processors import prompt_text
from vision_r1.training.fused_head import score_only_completions
from vision_r1.training.packing import Packing
from vision_r1.training.sharing import share_forward, share_processing


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread, as in training: with more, sums of gradients have no fixed order and differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch(place, copies, processor=None):
    """Return the inputs of four prompts, of two lengths, `copies` of each in random order, and random completions."""
    processor = processor or processor_of(place)
    rows = read_jsonl(place / "train.jsonl")[4:]
    order = np.random.default_rng(0).permutation(np.repeat(range(4), copies))
    template = [prompt_text(processor, row["prompt"]) for row in rows]
    images = [Image.open(row["image"]) for row in rows]
    inputs = processor(
        images=[images[number] for number in order],
        text=[template[number] for number in order],
        padding=True,
        return_tensors="pt",
    )
    generator = torch.Generator().manual_seed(0)
    completions = torch.randint(50, 200, (len(order), 6), generator=generator)
    written = torch.arange(6)[None] < torch.randint(1, 7, (len(order), 1), generator=generator)
    return inputs, completions, written.long()


def shared_batch(place, copies):
    """Return the same, with numbers of images in place of pixels, and the pixels."""
    processor = processor_of(place)
    pixels = share_processing(processor)
    return batch(place, copies, processor), pixels


def score(model, inputs, completions, written):
    """Return log-probabilities of the completions, computed as by TRL, and the gradient for each weight."""
    ids = torch.cat([inputs["input_ids"], completions], 1)
    mask = torch.cat([inputs["attention_mask"], written], 1)
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, : -completions.shape[1]] = -100
    types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(completions)], 1)
    images = {name: inputs[name] for name in ("pixel_values", "image_grid_thw")}
    output = model(
        input_ids=ids, attention_mask=mask, mm_token_type_ids=types, **images, labels=labels, fused_lm_head=True
    )
    values = output.log_probs[:, -completions.shape[1] :] * written
    model.zero_grad()
    (values * torch.linspace(-1, 1, len(values))[:, None]).sum().backward()
    return values.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("copies", [1, 5])
def test_log_probabilities_and_gradients_stay_the_same(place, copies, monkeypatch):
    inputs, (numbered, pixels) = batch(place, copies), shared_batch(place, copies)
    plain, shared = load_model(place / "model", "float32"), load_model(place / "model", "float32")
    for model in (plain, shared):
        add_fused_lm_head(model)
    share_forward(shared, pixels)
    packed = []
    original = Packing.pack
    monkeypatch.setattr(Packing, "pack", lambda self, *args: packed.append(self) or original(self, *args))
    (values, gradients), (shared_values, shared_gradients) = score(plain, *inputs), score(shared, *numbered)
    assert len(packed) == (copies > 1)
    if packed:  # no padding, and no completion's last token, from which nothing follows
        assert len(packed[0].first) == 4
        tokens = numbered[0]["attention_mask"][packed[0].first].sum() + (numbered[2].sum(1) - 1).sum()
        assert (packed[0].owner >= 0).sum() == tokens
    assert torch.allclose(values, shared_values, atol=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, shared_gradients[name], atol=1e-5 + 1e-4 * float(gradient.abs().max())), name
    again = score(shared, *numbered)
    assert torch.equal(again[0], shared_values)
    assert all(torch.equal(again[1][name], shared_gradients[name]) for name in gradients)


def test_prompts_skip_the_language_model_head(place, monkeypatch):
    """Only scored tokens pass through it: same values and gradients, in the time of the completions' share."""
    inputs = batch(place, 2)
    seen = []
    original = utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        utils._ChunkedLogProbFunction, "apply", lambda *args: seen.append(len(args[0])) or original(*args)
    )
    model = load_model(place / "model", "float32")
    add_fused_lm_head(model)
    monkeypatch.setattr(utils, "_use_triton", lambda device: False)
    values, gradients = score(model, *inputs)
    score_only_completions()
    compact_values, compact_gradients = score(model, *inputs)
    ids, completions, written = inputs[0]["input_ids"], *inputs[1:]
    assert seen == [len(ids) * (ids.shape[1] + completions.shape[1] - 1), written.sum()]
    assert torch.allclose(values, compact_values, atol=1e-6)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, compact_gradients[name], atol=1e-5 + 1e-4 * float(gradient.abs().max())), name


def test_trl_only_needs_triton_there():
    assert inspect.getsource(utils).count("_use_triton(") == 1


def test_positions_are_computed_once_per_layout(place, monkeypatch):
    inputs, _, _ = batch(place, 3)
    model = load_model(place / "model", "float32")
    options = {name: inputs[name] for name in ("image_grid_thw", "mm_token_type_ids", "attention_mask")}
    seen, original = [], type(model.model).get_rope_index
    counted = MethodType(lambda self, ids, **o: seen.append(len(ids)) or original(self, ids, **o), model.model)
    monkeypatch.setattr(model.model, "get_rope_index", counted)
    plain = model.model.get_rope_index(inputs["input_ids"], **options)
    once = position_once(model).model.get_rope_index(inputs["input_ids"], **options)
    assert all(torch.equal(*pair) for pair in zip(plain, once, strict=True))
    assert seen[0] == 12 and seen[1] <= 4
    monkeypatch.setattr(type(model.model), "get_rope_index", counted.__func__)
    load_model(place / "model", "float32").model.get_rope_index(inputs["input_ids"], **options)
    assert seen[2] == seen[1]


def test_in_bfloat16_sharing_adds_no_error_beyond_rounding(place):
    """Compared with float32 on the rounded weights: packed rows may round differently, but not more."""
    inputs, (numbered, pixels) = batch(place, 5), shared_batch(place, 5)
    exact = load_model(place / "model", "bfloat16").float()
    plain, shared = load_model(place / "model", "bfloat16"), load_model(place / "model", "bfloat16")
    for model in (exact, plain, shared):
        add_fused_lm_head(model)
    share_forward(shared, pixels)
    asked = ((exact, inputs), (plain, inputs), (shared, numbered))
    truth, *rounded = (score(model, *of)[0].float() for model, of in asked)
    without, with_sharing = ((values - truth).pow(2).mean().sqrt() for values in rounded)
    assert 0 < without and with_sharing < 1.5 * without


def test_groups_of_different_sizes(place):
    kept = [row for row in range(20) if row not in (3, 4, 11, 17)]  # as if a generation were split into micro-batches

    def cut(inputs, completions, written):
        patches = inputs["pixel_values"].split(inputs["image_grid_thw"].prod(1).tolist())
        pixels = torch.cat([patches[row] for row in kept])
        own = {name: pixels if name == "pixel_values" else values[kept] for name, values in inputs.items()}
        return own, completions[kept], written[kept]

    numbered, pixels = shared_batch(place, 5)
    plain, shared = load_model(place / "model", "float32"), load_model(place / "model", "float32")
    for model in (plain, shared):
        add_fused_lm_head(model)
    share_forward(shared, pixels)
    values = [score(plain, *cut(*batch(place, 5)))[0], score(shared, *cut(*numbered))[0]]
    assert torch.allclose(*values, atol=1e-5)


def test_generation_stays_the_same(place, monkeypatch):
    (inputs, _, _), ((numbered, _, _), pixels) = batch(place, 3), shared_batch(place, 3)
    plain, shared = load_model(place / "model", "float32").eval(), load_model(place / "model", "float32").eval()
    greedy = {"do_sample": False, "max_new_tokens": 5, "output_logits": True, "return_dict_in_generate": True}
    read = []
    forward = type(shared.model.language_model).forward

    def spy(self, **options):
        read.append(len(options["inputs_embeds"]))
        return forward(self, **options)

    monkeypatch.setattr(type(shared.model.language_model), "forward", spy)
    share_forward(shared, pixels)
    one, other = plain.generate(**inputs, **greedy), shared.generate(**numbered, **greedy)
    assert torch.equal(one.sequences, other.sequences)
    assert read == 5 * [12] + [4] + 4 * [12]  # first each prompt once, then every row
    assert all(torch.allclose(*logits, atol=1e-4) for logits in zip(one.logits, other.logits, strict=True))


def test_blank_images_of_different_shapes_are_different(place):
    plain_processor, processor = processor_of(place), processor_of(place)
    pixels = share_processing(processor)
    images = [Image.new("RGB", size, "white") for size in ((64, 96), (96, 64))]
    asked = {"images": images, "text": [prompt_text(processor, "Locate every circle.")] * 2}
    asked |= {"padding": True, "return_tensors": "pt"}
    plain, shared = load_model(place / "model", "float32").eval(), load_model(place / "model", "float32").eval()
    share_forward(shared, pixels)
    with torch.no_grad():
        torch.testing.assert_close(plain(**plain_processor(**asked)).logits, shared(**processor(**asked)).logits)
