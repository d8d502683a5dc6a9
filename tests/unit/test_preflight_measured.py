"""The preflight's seconds and memory against GRPO steps measured on one H100: benchmarks/results/gpu_step.txt.

Each step has 16 prompts, with one image of 391 tokens each, and completions of 512 tokens, or of 128.
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
