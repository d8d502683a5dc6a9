"""Sharing between copies of a prompt changes no value: each family, against the unmodified model and processor."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import make_checkpoint, write_train_file
from trl.trainer import utils
from trl.trainer.utils import add_fused_lm_head

from vision_r1.families import FAMILIES, family
from vision_r1.files import UserError, read_json, read_jsonl
from vision_r1.models import load_model
from vision_r1.processors import load_processor, prompt_text
from vision_r1.training.fused_head import score_only_completions
from vision_r1.training.sharing import Packing, share_forward, share_processing, share_reading

PIXELS = (784, 7056)


@pytest.fixture(scope="module", params=FAMILIES)
def place(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make_checkpoint(folder / "model", request.param)
    write_train_file(folder, request.param)
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread, as in training: with more, sums of gradients have no fixed order and differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def processor_of(place):
    return load_processor(place / "model", family(read_json(place / "model/config.json")["model_type"]), *PIXELS)


def batch(place, copies):
    """Return the inputs of four prompts of two lengths, `copies` of each in random order, and random completions."""
    processor = processor_of(place)
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
    inputs = batch(place, copies)
    plain, shared = load_model(place / "model", "float32"), load_model(place / "model", "float32")
    for model in (plain, shared):
        add_fused_lm_head(model)
    share_forward(shared)
    packed = []
    original = Packing.pack
    monkeypatch.setattr(Packing, "pack", lambda self, options: packed.append(self) or original(self, options))
    (values, gradients), (shared_values, shared_gradients) = score(plain, *inputs), score(shared, *inputs)
    assert len(packed) == (copies > 1)
    assert torch.allclose(values, shared_values, atol=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, shared_gradients[name], atol=1e-5 + 1e-4 * float(gradient.abs().max())), name
    again = score(shared, *inputs)
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
    seen = []
    original = type(model.model).get_rope_index
    monkeypatch.setattr(
        type(model.model), "get_rope_index", lambda self, ids, **o: seen.append(len(ids)) or original(self, ids, **o)
    )
    plain = model.model.get_rope_index(inputs["input_ids"], **options)
    share_forward(model)
    shared = model.model.get_rope_index(inputs["input_ids"], **options)
    assert all(torch.equal(*pair) for pair in zip(plain, shared, strict=True))
    assert seen[0] == 12 and seen[1] <= 4


def test_in_bfloat16_sharing_adds_no_error_beyond_rounding(place):
    """Compared with float32 on the rounded weights: packed rows may round differently, but not more."""
    inputs = batch(place, 5)
    exact = load_model(place / "model", "bfloat16").float()
    plain, shared = load_model(place / "model", "bfloat16"), load_model(place / "model", "bfloat16")
    for model in (exact, plain, shared):
        add_fused_lm_head(model)
    share_forward(shared)
    truth, *rounded = (score(model, *inputs)[0].float() for model in (exact, plain, shared))
    without, with_sharing = ((values - truth).pow(2).mean().sqrt() for values in rounded)
    assert 0 < without and with_sharing < 1.5 * without


def test_groups_of_different_sizes(place):
    inputs, completions, written = batch(place, 5)
    kept = [row for row in range(20) if row not in (3, 4, 11, 17)]  # as if a generation were split into micro-batches
    sizes = inputs["image_grid_thw"].prod(1).tolist()
    patches = torch.cat([part for row, part in enumerate(inputs["pixel_values"].split(sizes)) if row in kept])
    inputs = {name: patches if name == "pixel_values" else values[kept] for name, values in inputs.items()}
    plain, shared = load_model(place / "model", "float32"), load_model(place / "model", "float32")
    for model in (plain, shared):
        add_fused_lm_head(model)
    share_forward(shared)
    values = [score(model, inputs, completions[kept], written[kept])[0] for model in (plain, shared)]
    assert torch.allclose(*values, atol=1e-5)


def test_generation_stays_the_same(place, monkeypatch):
    inputs, _, _ = batch(place, 3)
    plain, shared = load_model(place / "model", "float32").eval(), load_model(place / "model", "float32").eval()
    greedy = {"do_sample": False, "max_new_tokens": 5, "output_logits": True, "return_dict_in_generate": True}
    read = []
    forward = type(shared.model.language_model).forward

    def spy(self, **options):
        read.append(len(options["inputs_embeds"]))
        return forward(self, **options)

    monkeypatch.setattr(type(shared.model.language_model), "forward", spy)
    share_forward(shared)
    one, other = plain.generate(**inputs, **greedy), shared.generate(**inputs, **greedy)
    assert torch.equal(one.sequences, other.sequences)
    assert read == 5 * [12] + [4] + 4 * [12]  # first each prompt once, then every row
    assert all(torch.allclose(*logits, atol=1e-4) for logits in zip(one.logits, other.logits, strict=True))


def test_blank_images_of_different_shapes_are_different(place):
    processor = processor_of(place)
    images = [Image.new("RGB", size, "white") for size in ((64, 96), (96, 64))]
    text = [prompt_text(processor, "Locate every circle.")] * 2
    inputs = processor(images=images, text=text, padding=True, return_tensors="pt")
    plain, shared = load_model(place / "model", "float32").eval(), load_model(place / "model", "float32").eval()
    share_forward(shared)
    with torch.no_grad():
        torch.testing.assert_close(plain(**inputs).logits, shared(**inputs).logits)


def test_an_image_is_read_and_processed_once(place, monkeypatch):
    from datasets import Dataset

    paths = [row["image"] for row in read_jsonl(place / "train.jsonl")[:2]]
    images = share_reading(Dataset.from_dict({"image": [paths[0], paths[0], paths[1]]}))[:]["image"]
    assert images[0] is images[1] and images[0].mode == "RGB"

    plain, shared = processor_of(place), processor_of(place)
    share_processing(shared)
    kind = type(plain.image_processor)
    seen = []
    original = kind.preprocess
    monkeypatch.setattr(
        kind, "preprocess", lambda self, images, **o: seen.append(len(images)) or original(self, images, **o)
    )
    text = 3 * ["<|vision_start|><|image_pad|><|vision_end|>Where?"]
    expected = plain(images=images, text=text, return_tensors="pt")
    seen.clear()
    for _ in range(2):
        found = shared(images=images, text=text, return_tensors="pt")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert seen == [2]
    other = shared(images=images[2:], text=text[2:], return_tensors="pt")
    assert torch.equal(other["pixel_values"], expected["pixel_values"][-len(other["pixel_values"]) :])
    assert seen == [2, 1]


def test_an_image_that_is_damaged_during_training_is_named(tmp_path):
    from datasets import Dataset

    Image.effect_noise((84, 84), 50).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-900])
    with pytest.raises(UserError, match=r"cut\.jpg: not a readable image \(image file is truncated"):
        share_reading(Dataset.from_dict({"image": [str(tmp_path / "cut.jpg")]}))[0]


def test_the_saved_processor_is_the_plain_one(place, tmp_path):
    processor = processor_of(place)
    processor.save_pretrained(tmp_path / "plain")
    share_processing(processor)
    processor.save_pretrained(tmp_path / "shared")
    for path in (tmp_path / "plain").iterdir():
        assert path.read_bytes() == (tmp_path / "shared" / path.name).read_bytes(), path.name
