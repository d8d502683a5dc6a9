"""The preflight's seconds and memory against measured steps: of GRPO on one H100 (benchmarks/results/gpu_step.txt), and
under DeepSpeed and FSDP on one H200 (gpu_trainings.txt).

On the H100, each step has 16 prompts, with one image of 391 tokens each, and completions of 512 tokens, or of 128.
"""

import pytest
from configurations import load

from vision_r1.preflight.architecture import find_architecture
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.cost import Speed, seconds_per_step
from vision_r1.preflight.memory import Setting, estimate, peak

# Size, rank of the adapters (0: all weights), completions per prompt, completions per pass, tokens.
SECONDS = {
    ("3B", 16, 4, 8, 512): 19.8,
    ("3B", 16, 8, 8, 512): 28.7,
    ("7B", 16, 4, 8, 512): 22.7,
    ("3B", 0, 4, 8, 512): 13.7,
    ("3B", 0, 4, 32, 512): 11.4,
    ("7B", 0, 4, 8, 512): 17.2,
}
PEAK_MB = {
    ("3B", 16, 4, 8, 128): 10_749,
    ("7B", 16, 4, 8, 512): 22_760,
    ("3B", 0, 4, 8, 512): 33_585,
    ("3B", 0, 4, 32, 512): 41_084,
    ("7B", 0, 4, 8, 512): 69_804,
}


def step(case):
    """Return (model, batches, setting) of a case."""
    size, rank, group, together, tokens = case
    passes = 16 * group // together
    return (
        find_architecture({"model": {"source": "hub", "id": f"Qwen/Qwen2.5-VL-{size}-Instruct"}}, "nowhere")[0],
        Batches("step", 2, together, passes, 1, 16, group, passes, share_copies=True),
        Setting("single", "bfloat16", True, 391, 60, tokens, lora_rank=rank),
    )


@pytest.mark.parametrize(("case", "measured"), SECONDS.items())
def test_seconds(root, case, measured):
    """The card often waited for a slow processor, which the estimate leaves out."""
    card = {"gpu_tflops": 989, "gpu_bandwidth_gb": 3350}
    speed = Speed.of(load(root, "miniature")["preflight"] | card)
    assert 1 / 1.5 <= sum(seconds_per_step(*step(case), (451, case[-1]), speed)) / measured <= 1.5


@pytest.mark.parametrize(("case", "measured"), PEAK_MB.items())
def test_memory(case, measured):
    assert 0.99 <= peak(estimate(*step(case))) / 2**20 / measured <= 1.15


# All weights of 3B, 16 images of 391 tokens a step. GRPO: 4 passes of 16 completions of 64 tokens, 4 of each prompt;
# SFT: 2 passes of 8 samples, with answers of 57 tokens at most.
ENGINES = {
    ("zero2", "grpo"): (6.23, 78_905),
    ("zero2", "sft"): (2.46, 78_950),
    ("zero3", "grpo"): (18.55, 64_102),
    ("zero3", "sft"): (6.83, 64_212),
    ("fsdp", "grpo"): (11.92, 60_199),
    ("fsdp", "sft"): (2.74, 59_229),
}


def step_of_an_engine(mode, method):
    model = step(("3B", 0, 4, 8, 512))[0]
    if method == "sft":
        return model, Batches("sft", 2, 8, 2, 1, 49_000), Setting(mode, "bfloat16", True, 391, 15, 57, autocast=True)
    batches = Batches("step", 2, 16, 4, 1, 49_000, 4, 4, share_copies=True)
    return model, batches, Setting(mode, "bfloat16", True, 391, 15, 64, autocast=True)


@pytest.mark.parametrize(("case", "measured"), ENGINES.items())
def test_engines(root, case, measured):
    """SFT's time under ZeRO-2 and FSDP was mostly that of the processor, which the estimate leaves out."""
    model, batches, setting = step_of_an_engine(*case)
    assert 0.99 <= peak(estimate(model, batches, setting)) / 2**20 / measured[1] <= 1.15
    card = {"gpu_tflops": 989, "gpu_bandwidth_gb": 4800}
    speed = Speed.of(load(root, "miniature")["preflight"] | card)
    answer = 64 if case[1] == "grpo" else 38
    share = sum(seconds_per_step(model, batches, setting, (406, answer), speed)) / measured[0]
    assert 1 / 1.5 <= share <= 1.5 or (case[1] == "sft" and case[0] != "zero3" and 0.3 <= share < 1)
