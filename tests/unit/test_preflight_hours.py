"""The preflight's hours against published trainings of other groups, whose settings are written out here."""

from dataclasses import replace

import pytest
from configurations import load

from vision_r1.preflight.architecture import find_architecture
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.cost import (
    GATHERED_BYTES,
    LAYER_SECONDS,
    Speed,
    gpu_hours,
    seconds_per_step,
    token_seconds,
    way_of_sampling,
)
from vision_r1.preflight.memory import Setting, Vllm

# One A100, one sequence, 2,048 tokens (Qwen2.5's speed benchmark, see cost.py): tokens per second by layers, and the
# weights that a token reads.
BENCHMARK = {
    "transformers": {(24, 0.49e9): 47.40, (28, 1.54e9): 39.68, (36, 3.09e9): 30.80, (28, 7.62e9): 40.38},
    "vllm": {(24, 0.49e9): 311.55, (28, 1.54e9): 183.33, (36, 3.09e9): 127.61, (28, 7.62e9): 84.28},
}


@pytest.fixture(scope="module")
def a100(root):
    """An A100 with 80 GB (NVIDIA's data sheet), at the fractions of its peaks that config.yaml assumes."""
    card = {"gpu_tflops": 312, "gpu_bandwidth_gb": 2039}
    return Speed.of(load(root, "miniature")["preflight"] | card)


@pytest.fixture(scope="module")
def model():
    return find_architecture({"model": {"source": "hub", "id": "Qwen/Qwen2.5-VL-3B-Instruct"}}, "nowhere")[0]


@pytest.mark.parametrize(
    ("way", "layers", "weights", "measured"),
    [(way, *sizes, speed) for way, speeds in BENCHMARK.items() for sizes, speed in speeds.items()],
)
def test_tokens_per_second_agree_with_the_benchmark_of_the_constants(a100, way, layers, weights, measured):
    seconds = max(layers * LAYER_SECONDS[way], 2 * weights / a100.bytes)
    assert 1 / 1.5 <= seconds * measured <= 1.5


def test_a_token_takes_the_longer_of_launching_the_layers_and_reading_the_weights(model, a100):
    assert token_seconds(model, 8, 1000, "transformers", a100) == 36 * LAYER_SECONDS["transformers"]
    slow = Speed(a100.operations, a100.bytes / 100)
    assert token_seconds(model, 8, 1000, "transformers", slow) == token_seconds(model, 8, 1000, "vllm", slow)


@pytest.mark.parametrize(("mode", "way"), [("ddp", "graphs"), ("zero2", "graphs"), ("zero3", "transformers")])
def test_steps_are_recorded_where_each_gpu_has_all_weights(mode, way):
    setting = Setting(mode, "bfloat16", True, 400, 100, 200)
    assert way_of_sampling(setting) == way
    assert way_of_sampling(replace(setting, vllm=Vllm(1))) == "vllm"


def test_vlm_r1_takes_25_to_30_seconds_per_step(model, a100):
    """VLM-R1, referring expressions, Qwen2.5-VL-3B, 8 x A100 80 GB, 7 completions per prompt: 25 to 30 s per step.

    Source: an author's answer of 2025-02-22, github.com/om-ai-lab/VLM-R1/issues/30. The settings are those of
    run_grpo_rec.sh at commit 9ed36f1 (2025-02-21): one prompt per GPU, 2 accumulated, ZeRO-3, bfloat16, no gradient
    checkpointing, KL, sampling with transformers. A COCO image of 640 x 480 has 391 tokens, the question and the chat
    template 78; answers with their thinking have 97 on average (step 600 of its evaluation logs, counted with Qwen's
    vocabulary). Assumed: at temperature 1 the longest of the 56 completions that wait for each other reaches TRL's
    limit of 256 tokens (with 141, the longest of 56 of those greedy answers, it would be 18 s). The estimate leaves out
    data, image processing and rewards.
    """
    batches = Batches("r1", steps=500, per_device=7, accumulation=2, processes=8, rows=120_000, group=7)
    setting = Setting("zero3", "bfloat16", False, 391, 78, 256, reference=True)
    sampling, training = seconds_per_step(model, batches, setting, (391 + 78, 97), a100)
    assert 1 / 1.5 <= (sampling + training) / 27.5 <= 1.5


def rex_omni_hours(model, speed, image_tokens):
    batches = Batches("rex", 66_000 // 64, 4, 16, 8, rows=66_000, group=8, micro_steps_per_generation=16)
    setting = Setting("fsdp", "bfloat16", True, image_tokens, 100, 1000, reference=True, vllm=Vllm(1))
    return gpu_hours(batches, sum(seconds_per_step(model, batches, setting, (image_tokens + 100, 150), speed))) / 8


def test_rex_omni_takes_about_24_hours(model, a100):
    """Rex-Omni's GRPO stage, 66K samples, 8 completions per prompt, 8 A100: about 24 hours (arXiv 2510.12798).

    The settings are those of finetuning/scripts/grpo.sh and finetuning/verl/configs/config.yaml in its repository,
    IDEA-Research/Rex-Omni at 478e44f: Qwen2.5-VL-3B's shapes, 64 prompts x 8 completions per step, one epoch,
    micro-batches of 4, gradient checkpointing, KL 0.01, FSDP, sampling with vLLM, log-probabilities computed a second
    time. Not published, and assumed: images of 1,280 tokens on average (half of the 2,560 allowed), questions of 100,
    answers of 150, the longest of a batch 1,000. The images matter most: with COCO's 391 tokens it would be 9 hours,
    and 40 at the limit.
    """
    assert 1 / 1.5 <= rex_omni_hours(model, a100, 1280) / 24 <= 1.5
    assert rex_omni_hours(model, a100, 391) < 24 < rex_omni_hours(model, a100, 2560)


def test_gpus_that_share_vllms_weights_each_read_a_part(model, a100):
    slow, batches = replace(a100, bytes=1e11), Batches("x", 1, 4, 2, 8, rows=100, group=4, micro_steps_per_generation=2)
    one, four = (
        seconds_per_step(
            model,
            batches,
            Setting("zero2", "bfloat16", False, 400, 100, 200, vllm=Vllm(1, together=together)),
            (500, 200),
            slow,
        )[0]
        for together in (1, 4)
    )
    text = model.parameters - model.vision_parameters
    assert one - four == pytest.approx(200 * 2 * text * (1 - 1 / 4) / slow.bytes)


def test_vllm_costs_one_more_pass(model, a100):
    batches = Batches("x", 1, 4, 2, 8, rows=100, group=4, micro_steps_per_generation=2)
    setting = Setting("zero2", "bfloat16", False, 400, 100, 200)
    with_vllm = Setting("zero2", "bfloat16", False, 400, 100, 200, vllm=Vllm(1))
    once = seconds_per_step(model, batches, setting, (500, 200), a100)[1] / 3
    assert seconds_per_step(model, batches, with_vllm, (500, 200), a100)[1] == pytest.approx(4 * once)


@pytest.mark.parametrize(
    ("mode", "vllm", "times"),
    [("ddp", None, 0), ("zero2", None, 0), ("zero3", None, 1), ("zero3", Vllm(1), 1), ("fsdp", Vllm(1), 1)],
)
def test_split_weights_are_gathered_once_per_generation(model, a100, mode, vllm, times):
    assert gathering(model, a100, mode, vllm) == pytest.approx(times * 2 * model.parameters / GATHERED_BYTES)


def test_fsdp_gathers_the_weights_for_every_token_that_transformers_generates(model, a100):
    assert gathering(model, a100, "fsdp", None) == pytest.approx(200 * 2 * model.parameters / GATHERED_BYTES)


def gathering(model, speed, mode, vllm):
    """Return by how much sampling takes longer in a mode than with whole weights, on a card that reads slowly."""
    speed = replace(speed, bytes=1e11)
    batches = Batches("x", 1, 4, 2, 8, rows=100, group=4, micro_steps_per_generation=2)
    seconds = [
        seconds_per_step(model, batches, Setting(each, "bfloat16", False, 400, 100, 200, vllm=vllm), (500, 200), speed)[
            0
        ]
        for each in (mode, "single")
    ]
    return seconds[0] - seconds[1]
