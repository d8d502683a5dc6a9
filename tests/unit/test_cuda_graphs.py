"""Recorded and replayed decoding steps give the same text as usual decoding (here on the CPU, without a graph)."""

import pytest
import torch
from tiny_models import make_checkpoint
from transformers import DynamicCache

from vision_r1 import cuda_graphs
from vision_r1.cuda_graphs import replay_decoding
from vision_r1.families import FAMILIES
from vision_r1.models import load_model
from vision_r1.training.sharing import Pixels, share_forward


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make_checkpoint(folder, request.param)
    return folder


@pytest.fixture
def recorded(monkeypatch):
    """Record on the CPU, in blocks of four tokens; return the numbers of steps that each recording was used for."""
    served = []

    def record(step):
        served.append(0)

        def replay():
            served[-1] += 1
            return step()

        return replay

    monkeypatch.setattr(cuda_graphs, "RECORDERS", {"cpu": record})
    monkeypatch.setattr(cuda_graphs, "BLOCK", 4)
    return served


def prompts(padded=True):
    """Return three text prompts, each twice, of different lengths (padded on the left) or all of the same length."""
    ids = torch.randint(50, 200, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9)[None] >= torch.tensor([[0], [3], [5]]) * padded
    return {"input_ids": ids.repeat_interleave(2, 0), "attention_mask": mask.long().repeat_interleave(2, 0)}


def written(model, padded, **options):
    torch.manual_seed(1)
    with torch.no_grad():
        return model.generate(**prompts(padded), max_new_tokens=11, min_new_tokens=11, **options)


@pytest.mark.parametrize("options", [{"do_sample": False}, {"do_sample": True, "top_k": 0}])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_the_same_tokens_are_generated(checkpoint, recorded, padded, shared, options):
    usual = load_model(checkpoint, "float32")
    expected = written(usual, padded, **options)
    model = load_model(checkpoint, "float32")
    replay_decoding(model)
    if shared:
        share_forward(model, Pixels())
    for _ in range(2):  # nothing is carried over to the next generation
        assert torch.equal(written(model, padded, **options), expected)
    assert recorded == [4, 4, 2] * 2  # the first of the 11 tokens follows from the prompt


def test_other_passes_are_not_recorded(checkpoint, recorded):
    model = load_model(checkpoint, "float32")
    replay_decoding(model)
    inputs = prompts()
    cache = DynamicCache()
    with torch.no_grad():
        model(**inputs, past_key_values=cache)
    longer = torch.cat([inputs["attention_mask"], torch.ones(6, 1, dtype=torch.long)], 1)
    one = {"input_ids": inputs["input_ids"][:, -1:], "attention_mask": longer, "past_key_values": cache}
    model(**one)  # with gradients
    assert recorded == []


@pytest.mark.parametrize("changes", [{}, {"offloading": True}])
def test_a_cache_that_moves_to_the_processor_is_not_recorded(checkpoint, recorded, changes):
    model = load_model(checkpoint, "float32")
    inputs, cache = prompts(), DynamicCache()
    with torch.no_grad():
        model(**inputs, past_key_values=cache)
        vars(cache).update(changes)
        step = {"inputs_embeds": torch.zeros(6, 1, 8), "position_ids": torch.zeros(4, 6, 1), "attention_mask": None}
        language_model = model.model.language_model
        assert cuda_graphs._is_a_step(language_model, step | {"past_key_values": cache}) == (not changes)


def test_weights_that_fsdp_splits_are_not_recorded(checkpoint, recorded, tmp_path):
    """During a forward pass, FSDP holds the embeddings as a plain tensor, and the layers in parts."""
    from torch import distributed
    from torch.distributed.fsdp import fully_shard

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = load_model(checkpoint, "float32")
        replay_decoding(model)
        mesh = distributed.init_device_mesh("cpu", (1,))
        for layer in model.model.language_model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        written(model, padded=True, do_sample=False)
    finally:
        distributed.destroy_process_group()
    assert recorded == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_graph_gives_the_same_text_on_a_gpu(checkpoint, monkeypatch, adapters, autocast):
    recorder, recorded = cuda_graphs.RECORDERS["cuda"], []
    monkeypatch.setattr(cuda_graphs, "BLOCK", 8)
    monkeypatch.setitem(cuda_graphs.RECORDERS, "cuda", lambda step: (recorded.append(step), recorder(step))[1])
    texts = []
    for replayed in (False, True):
        model = load_model(checkpoint, "float32").cuda()
        if replayed:
            replay_decoding(model)
            share_forward(model, Pixels())
        if adapters:
            from peft import LoraConfig, get_peft_model

            torch.manual_seed(0)
            model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
        inputs = {name: value.cuda() for name, value in prompts().items()}
        for _ in range(2):
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=autocast):
                output = model.generate(
                    **inputs, do_sample=False, max_new_tokens=30, min_new_tokens=30,
                    return_dict_in_generate=True, output_logits=True,
                )  # fmt: skip
            texts.append(torch.stack(output.logits))
    assert len(recorded) == 2 * 4
    assert torch.equal(texts[2], texts[3])  # a replay repeats bit for bit
    likely = texts[0].argmax(-1) == texts[2].argmax(-1)
    same = likely.cumprod(0).bool()[..., None]  # up to the first tie that was broken differently
    assert likely[0].all()
    assert same.float().mean() > (0.5 if autocast else 0.99)
    assert ((texts[0] - texts[2]) * same).abs().max() < (0.1 if autocast else 1e-3)
