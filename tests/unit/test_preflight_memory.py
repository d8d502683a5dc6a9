"""Sizes and memory: exact if they can be known, otherwise compared with estimates by hand."""

import weakref
from dataclasses import asdict, replace

import pytest
from preflight_toys import GRPO, SFT, TOY, setting

from vision_r1.preflight.architecture import PUBLISHED, architecture_of, find_architecture
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.memory import (
    ACCUMULATED,
    BUCKETS,
    GIB,
    LIVE,
    MOMENTS,
    OVERHEAD,
    REFERENCE,
    SUB_GROUP,
    UPDATE,
    Vllm,
    activations,
    checkpoint_bytes,
    estimate,
    generation,
    kv_cache,
    peak,
)

# model.safetensors.index.json of the two repositories: metadata.total_size, all weights in bfloat16.
TOTAL_SIZE = {"Qwen/Qwen2.5-VL-7B-Instruct": 16_584_333_312, "Qwen/Qwen3-VL-8B-Instruct": 17_534_247_392}

ONE = Batches("sft", steps=1, per_device=1, accumulation=1, processes=1, rows=1)


@pytest.mark.parametrize("repository", TOTAL_SIZE)
def test_published_sizes_give_the_weights_on_the_hub(repository):
    model, source = find_architecture({"model": {"source": "hub", "id": repository}}, "nowhere")
    assert 2 * model.parameters == TOTAL_SIZE[repository]
    assert repository in source


def test_every_published_model_is_of_its_family():
    for repository, (family, _) in PUBLISHED.items():
        model, _ = find_architecture({"model": {"source": "hub", "id": repository}}, "nowhere")
        assert model.merge == 4 and model.parameters > 3e9, family
        # LoRA also adapts the vision encoder's linear layers, but not the output head.
        assert (model.hidden, model.vocabulary) not in model.linear


def test_the_miniature_is_counted_exactly():
    from vision_r1.data.worlds import WORLDS
    from vision_r1.miniature.model import make_model
    from vision_r1.miniature.processor import make_processor
    from vision_r1.prompts import DEFAULT

    widths = {"hidden_size": 64, "head_size": 32, "text_layers": 1, "vision_layers": 2}
    made = make_model(make_processor(WORLDS["miniature"]).tokenizer, **widths, seed=0)
    base = {"world": "miniature", "names": [], **widths}
    config = {"model": {"source": "made", "id": None}, "base": base, "templates": asdict(DEFAULT)}
    model, _ = find_architecture(config, "nowhere")
    assert model == architecture_of(made.config)
    assert model.parameters == sum(weight.numel() for weight in made.parameters())
    assert model.vision_parameters == sum(weight.numel() for weight in made.model.visual.parameters())


def test_a_folder_takes_precedence_over_the_published_table(tmp_path):
    from transformers import AutoConfig

    family, sizes = PUBLISHED["Qwen/Qwen2.5-VL-3B-Instruct"]
    AutoConfig.for_model(family, **sizes).save_pretrained(tmp_path)
    config = {"model": {"source": "folder", "id": str(tmp_path)}}
    model, source = find_architecture(config, "nowhere")
    assert model.hidden == 2048 and source == f"{tmp_path}/config.json"


def test_an_unknown_model_is_reported():
    model, source = find_architecture({"model": {"source": "hub", "id": "me/mine"}}, "nowhere")
    assert model is None and source.startswith("me/mine is not here yet")


@pytest.mark.parametrize(
    ("mode", "dtype", "weights", "gradients", "optimiser", "update"),
    [
        ("single", "float32", 4000, 4000, 8000, 0),
        ("single", "bfloat16", 2000, 2000, 4000, 0),
        ("ddp", "bfloat16", 2000, 4000, 4000, 0),
        ("zero2", "bfloat16", 2000, 500, 3000, 1500),
        ("zero3", "bfloat16", 500, 500, 3000, 1500),
        ("fsdp", "bfloat16", 1000, 0, 2000, 1000 + 6 * 80),
    ],
)
def test_states_of_a_thousand_weights_on_four_gpus(mode, dtype, weights, gradients, optimiser, update):
    parts = estimate(TOY, SFT, setting(mode=mode, dtype=dtype))
    found = [parts.get(name, 0) for name in ("weights", "gradients", "optimiser", UPDATE)]
    assert found == [weights, gradients, optimiser, update]


def test_zero3_widens_gradients_of_a_group_of_weights_at_a_time():
    large, alone = replace(TOY, parameters=3 * SUB_GROUP), replace(SFT, processes=1)
    parts = {mode: estimate(large, alone, setting(mode=mode, dtype="bfloat16")) for mode in ("zero2", "zero3")}
    assert [parts[mode][UPDATE] for mode in parts] == [6 * 3 * SUB_GROUP, 6 * SUB_GROUP]


def test_zero2_accumulates_into_a_part_of_its_own():
    half = setting(mode="zero2", dtype="bfloat16")
    assert estimate(TOY, GRPO, half)[ACCUMULATED] == 2000 / 4
    assert ACCUMULATED not in estimate(TOY, replace(GRPO, accumulation=1), half)


def test_fsdp_accumulates_whole_gradients_and_gathers_the_whole_reference():
    small = setting(mode="fsdp", dtype="bfloat16", reference=True)
    parts = estimate(TOY, replace(GRPO, accumulation=2), small)
    assert (parts[ACCUMULATED], parts[REFERENCE]) == (2000, 2 * 2000)
    assert ACCUMULATED not in estimate(TOY, replace(GRPO, accumulation=1), small)


def test_lora_trains_few_weights_and_needs_no_reference():
    assert TOY.lora_parameters(2) == 2 * (30 + 30)
    parts = estimate(TOY, GRPO, setting(dtype="bfloat16", lora_rank=2, reference=True))
    assert (parts["weights"], parts["gradients"], parts["optimiser"]) == (2000 + 480, 480, 960)
    assert "reference" not in parts
    assert checkpoint_bytes(TOY, setting(lora_rank=2)) == 12 * 120


@pytest.mark.parametrize(("mode", "size"), [("single", 2000), ("zero2", 2000), ("zero3", 500), ("fsdp", 500)])
def test_the_reference_is_split_if_weights_are(mode, size):
    assert estimate(TOY, GRPO, setting(mode=mode, dtype="bfloat16", reference=True))["reference"] == size


def test_kv_cache_of_qwen2_5_vl_7b_is_56_kib_per_token():
    model, _ = find_architecture({"model": {"source": "hub", "id": "Qwen/Qwen2.5-VL-7B-Instruct"}}, "nowhere")
    assert kv_cache(model, 1, 1) == 2 * 28 * 4 * 128 * 2 == 56 * 1024


def test_kv_cache_equals_transformers_cache():
    """The formula against the cache of a real forward pass, in float32 (twice bfloat16's bytes)."""
    import torch

    from vision_r1.data.worlds import WORLDS
    from vision_r1.miniature.model import make_model
    from vision_r1.miniature.processor import make_processor

    tokenizer = make_processor(WORLDS["miniature"]).tokenizer
    made = make_model(tokenizer, hidden_size=32, text_layers=2, vision_layers=1, seed=0)
    with torch.no_grad():
        cache = made(input_ids=torch.ones(3, 7, dtype=torch.long), use_cache=True).past_key_values
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert kept == 2 * kv_cache(architecture_of(made.config), 3, 7)


def test_activations_by_hand():
    # 10 tokens and 20 patches per sequence; bytes per layer: 16 h + 10 q + 10 k + 8 i per token, 30 h + 8 i per patch.
    # In each layer, a mask of 10 x 10 pairs of tokens in 2 bytes.
    text, vision = 10 * (160 + 100 + 50 + 160) + 2 * 10**2, 20 * (180 + 96)
    assert activations(TOY, SFT, setting(dtype="bfloat16")) == 2 * (2 * text + 3 * vision)
    kept = 10 * 2 * 2 * 10 + 20 * 2 * 3 * 6
    checkpointed = setting(dtype="bfloat16", gradient_checkpointing=True)
    mask = 2 * 10**2  # one byte for each pair, for all layers and in any format
    assert activations(TOY, SFT, checkpointed) == 2 * (kept + max(text, vision)) + mask
    float32 = setting(gradient_checkpointing=True)
    assert activations(TOY, SFT, float32) - mask == 2 * (activations(TOY, SFT, checkpointed) - mask)


def test_copies_that_are_shared_count_once():
    """4 completions a pass, 2 of each prompt: the vision encoder sees 2 images, and the language model 2 prompts.

    8 completions sampled in two passes are shuffled: a pass may have 4 prompts of the 2 x 2, each with its image.
    """
    alone = Batches("strict/grpo_stage1", 7, 4, 1, 1, 100, group=2)
    one_pass, two_passes = replace(alone, share_copies=True), replace(GRPO, share_copies=True)
    half = setting(dtype="bfloat16")
    text, vision = 160 + 100 + 50 + 160, 20 * (180 + 96)
    masks = [2 * 2 * rows * length**2 for rows, length in ((4, 10), (2, 12))]  # of 2 layers, in 2 bytes
    assert activations(TOY, alone, half) == 4 * (2 * 10 * text + 3 * vision) + masks[0]
    assert activations(TOY, one_pass, half) == 2 * (2 * 8 + 2 * 2 * 2) * text + 2 * 3 * vision + masks[1]
    assert activations(TOY, two_passes, half) == 4 * 2 * 10 * text + 2 * 3 * vision + masks[0]
    assert [batches.prompts_at_once for batches in (alone, one_pass, GRPO, two_passes)] == [4, 2, 8, 2]
    assert replace(one_pass, group=3).prompts_at_once == 2  # of 4 completions on each of 3 devices: 3 + 1, 2 + 2, 1 + 3
    longer = replace(half, answer_tokens=50)  # sharing prompts would save less than a fifth: they are not shared
    assert activations(TOY, one_pass, longer) == 2 * 4 * 58 * text + 2 * 3 * vision + 2 * 2 * 4 * 58**2
    buffers = [generation(TOY, batches, half)["sampling buffers"] for batches in (alone, one_pass)]
    assert buffers[0] - buffers[1] == 2 * max(2 * (40 + 60) * 8, 2 * (24 + 36) * 20)


@pytest.mark.parametrize(
    ("copies", "prompt", "answer", "shared"),
    [(2, 8, 2, True), (2, 8, 12, True), (2, 8, 20, False), (2, 40, 50, True), (12, 9, 8, True), (24, 9, 8, False)],
)
def test_prompts_count_once_where_training_packs_them(copies, prompt, answer, shared):
    """Not where that saves little, nor where the mask of many completions in a row would be large."""
    import torch

    from vision_r1.training.packing import Packing

    ids = torch.arange(2).repeat_interleave(copies)[:, None].expand(-1, prompt + answer)  # 2 prompts' completions
    assert (Packing.of(ids, torch.ones_like(ids), prompt, ids[:, 0].tolist()) is not None) == shared
    half = setting(dtype="bfloat16", image_tokens=0, text_tokens=prompt, answer_tokens=answer)
    one_pass = Batches("strict/grpo_stage1", 7, 2 * copies, 1, 1, 100, group=copies, share_copies=True)
    apart = activations(TOY, replace(one_pass, share_copies=False), half)
    assert (activations(TOY, one_pass, half) != apart) == shared


def test_a_packed_row_is_as_wide_as_the_largest_group():
    """6 completions a pass in groups of 4 are a row of 4 and one of 2. Packing leaves out the last token of each."""
    import torch

    from vision_r1.training.packing import Packing

    ids = torch.tensor([0, 0, 0, 0, 1, 1])[:, None].expand(-1, 100 + 20)
    packed = Packing.of(ids, torch.ones_like(ids), 100, ids[:, 0].tolist())
    assert packed.source.shape == (2, 100 + 4 * 19)
    batches = Batches("strict/grpo_stage1", 7, 6, 1, 2, 100, group=4, share_copies=True)
    assert batches.rows_of_a_pass(100, 20) == (2, 100 + 4 * 20)


def test_autocast_halves_activations_and_copies_weights():
    plain, autocast = (estimate(TOY, SFT, setting(autocast=on)) for on in (False, True))
    assert 2 * activations(TOY, SFT, setting(autocast=True)) == activations(TOY, SFT, setting())
    assert autocast["activations"] < plain["activations"] and autocast["weights"] == plain["weights"]
    assert autocast["copies of weights in bfloat16"] == 2 * TOY.parameters
    half = setting(autocast=True, dtype="bfloat16")
    assert estimate(TOY, SFT, half) == estimate(TOY, SFT, setting(dtype="bfloat16"))


@pytest.mark.parametrize("repository", ["Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3-VL-8B-Instruct"])
@pytest.mark.parametrize(("autocast", "most"), [(False, 1.01), (True, 1.17)])
def test_activations_agree_with_what_autograd_keeps(repository, autocast, most):
    """Four more layers of a narrow model keep what the formula gives, or up to 38 % less; by autocast a sixth more."""
    numbers = {"dtype": "float32" if autocast else "bfloat16", "autocast": autocast}
    kept = {
        layers: [kept_bytes(repository, tower, layers, **numbers) for tower in ("text", "vision")] for layers in (2, 6)
    }
    sizes = architecture_of(narrow(repository, 4, 4))
    tokens = setting(**numbers, image_tokens=0, text_tokens=50, answer_tokens=0)
    patches = setting(**numbers, image_tokens=16, text_tokens=-16, answer_tokens=0)  # no text beside the image
    for tower, formula in enumerate((activations(sizes, ONE, tokens), activations(sizes, ONE, patches))):
        measured = kept[6][tower] - kept[2][tower]
        assert 0.62 * formula <= measured <= most * formula, (repository, tower, measured / formula)


def test_each_layer_keeps_a_mask_of_its_own():
    repository = "Qwen/Qwen2.5-VL-7B-Instruct"
    padded, plain = (
        [kept_bytes(repository, "text", layers, "bfloat16", False, rows=2, padding=padding) for layers in (2, 6)]
        for padding in (3, 0)
    )
    assert (padded[1] - padded[0]) - (plain[1] - plain[0]) == 4 * 2 * 2 * 50**2  # layers x bytes x rows x pairs


def test_checkpointing_keeps_one_mask_of_booleans_for_all_layers():
    import torch
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_config(narrow("Qwen/Qwen2.5-VL-7B-Instruct", 3, 1)).model.train()
    model.activation_checkpointing_enable()
    masks = []
    for layer in model.language_model.layers:
        layer.register_forward_pre_hook(
            lambda _, args, options: masks.append(weakref.ref(options["attention_mask"])), with_kwargs=True
        )
    mask = torch.ones(2, 50, dtype=torch.long)
    mask[0, :3] = 0
    output = model(input_ids=torch.ones_like(mask), attention_mask=mask).last_hidden_state
    kept = {id(each()): each().nbytes for each in masks}
    assert output.requires_grad and len(masks) == 3
    assert list(kept.values()) == [2 * 50**2]


def narrow(repository, text_layers, vision_layers):
    """Return the configuration of a family's model with few, narrow layers."""
    from transformers import AutoConfig

    family, _ = PUBLISHED[repository]
    widths = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 2, "num_key_value_heads": 1}
    text = {**widths, "head_dim": 128, "num_hidden_layers": text_layers, "vocab_size": 152000}
    vision = {"hidden_size": 160, "depth": vision_layers, "num_heads": 4, "out_hidden_size": 256}
    vision |= {"intermediate_size": 420, "deepstack_visual_indexes": [], "fullatt_block_indexes": list(range(6))}
    return AutoConfig.for_model(family, text_config=text, vision_config=vision)


def kept_bytes(repository, tower, layers, dtype, autocast, rows=1, padding=0):
    """Return the bytes that autograd keeps for 50 tokens or 64 patches, without weights and their copies.

    rows: of text; the first of them begins with `padding`.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    config = narrow(repository, layers if tower == "text" else 1, layers if tower == "vision" else 1)
    model = AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype)).model
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    shapes = {weight.shape for weight in model.parameters() if weight.ndim == 2}
    kept, alive = {}, []

    def keep(tensor):
        alive.append(tensor)  # so that no address is reused
        if autocast and {tensor.shape, tensor.mT.shape if tensor.ndim == 2 else None} & shapes:
            return tensor
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    side = config.vision_config.patch_size
    cast = torch.autocast("cpu", torch.bfloat16, enabled=autocast)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), cast:
        if tower == "text":
            mask = torch.ones(rows, 50, dtype=torch.long)
            mask[0, :padding] = 0
            model(input_ids=torch.ones_like(mask), attention_mask=mask)
        else:
            pixels = torch.randn(64, 3 * 2 * side**2, dtype=model.dtype)
            model.visual(pixels, grid_thw=torch.tensor([[1, 8, 8]]))
    return sum(size for address, size in kept.items() if address not in weights)


def test_sampling_backward_and_update_take_turns():
    zero3 = setting(mode="zero3", dtype="bfloat16")
    parts = estimate(TOY, GRPO, zero3)
    sampling = generation(TOY, GRPO, zero3)
    assert sampling["weights gathered to sample"] == parts[LIVE] == 2000
    assert sampling["KV cache"] == kv_cache(TOY, 8, 10)
    turns = [*sampling, "activations", LIVE, BUCKETS, UPDATE]
    always = sum(size for name, size in parts.items() if name not in turns)
    backward = parts["activations"] + parts[LIVE] + parts[BUCKETS]
    assert peak(parts) == always + max(sum(sampling.values()), backward, parts[UPDATE])
    assert peak(parts | {UPDATE: 10**10}) == always + 10**10
    assert parts["gradient bucket"] == parts[BUCKETS] == 1_000_000_000
    assert estimate(TOY, GRPO, setting(mode="zero2", dtype="bfloat16"))[BUCKETS] == 2_000_000_000
    assert parts["CUDA context, workspaces, fragmentation"] == OVERHEAD == 2 * GIB


def test_zero3_of_one_process_gathers_nothing():
    parts = estimate(TOY, replace(GRPO, processes=1), setting(mode="zero3", dtype="bfloat16"))
    assert not {LIVE, "weights gathered to sample"} & parts.keys()


def test_vllms_share_replaces_the_sampling_parts():
    parts = estimate(TOY, GRPO, setting(vllm=Vllm(12345)))
    assert parts["vLLM"] == 12345 and "KV cache" not in parts
    server = estimate(TOY, GRPO, setting(vllm=Vllm()))
    assert peak(parts) == peak(server) + 12345 and not set(MOMENTS[0]) & {*server}


def test_a_sleeping_vllm_adds_memory_only_if_training_needs_less():
    nothing = estimate(TOY, GRPO, setting(vllm=Vllm()))
    small, large = (estimate(TOY, GRPO, setting(vllm=Vllm(size, sleeps=True))) for size in (1, 10**9))
    assert peak(small) == peak(nothing)
    assert peak(large) == peak(nothing) - nothing["activations"] + 10**9
