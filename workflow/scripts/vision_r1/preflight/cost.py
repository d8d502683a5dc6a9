"""GPU-hours and money, from a card's peak speed and the share of it that is reached, or from a measured training.

Sampling writes one token for all sequences at a time. That takes as long as launching the kernels of all layers
(LAYER_SECONDS, assumed for any card; as CUDA graphs where each GPU has all weights), or as reading all weights and the
KV cache, whichever is longer. Where the weights are split, they are gathered first (GATHERED_BYTES): once a generation
under ZeRO-3 and for vLLM; under FSDP, transformers gathers them for every token. Reading prompts and training are bound
by arithmetic: per weight and token 2 operations forward, 4 backward (2 where the weights are frozen), 2 more to
recompute activations; and once for each generation, 2 for the reference and 2 for the sampling policy's
log-probabilities where TRL recomputes them. ZeRO-3 adds the time of its hooks (ZERO3_LAYER_SECONDS). Copies of an image
and a prompt count as often as they are read. The shares of the card's peaks that are reached are assumptions of the
configuration; tests hold the whole against two published trainings, and against steps measured on an H100 and an H200.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vision_r1.files import UserError, read_json
from vision_r1.launcher.modes import SPLIT_WEIGHTS
from vision_r1.preflight.architecture import Architecture
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.memory import Setting, kv_cache

# Seconds per layer and token, by the way of sampling. transformers and vLLM: from Qwen2.5's speed benchmark (one
# A100, one sequence, bfloat16; github QwenLM/Qwen2.5, docs/source/benchmark/speed_benchmark.rst): transformers writes
# 47.4, 39.7, 30.8 and 40.4 tokens a second with 24, 28, 36 and 28 layers (0.5B, 1.5B, 3B, 7B): 0.88 to 0.90 ms. vLLM
# with CUDA graphs: 0.13 to 0.22 ms up to 3B; at 7B and 14B, 84.3 and 46.3 tokens a second are 63 and 67 % of the
# card's bandwidth. graphs: transformers with cuda_graphs.py, a generation of 64 completions x 512 tokens on one H100
# (docs/gpu.md): 0.31 ms (3B) and 0.48 ms (7B), with adapters 0.51 and 0.73 ms.
LAYER_SECONDS = {"transformers": 0.9e-3, "graphs": 0.4e-3, "graphs_lora": 0.6e-3, "vllm": 0.2e-3}
# Seconds that ZeRO-3's hooks on each module take per layer, of both towers, in each forward pass, recomputation and
# backward pass. From 3B on one H200 (docs/gpu.md): 11 ms (SFT) and 14 ms (GRPO) more than under ZeRO-2. Added in full,
# as if the GPU waited meanwhile; not measured where arithmetic takes longer.
ZERO3_LAYER_SECONDS = 12e-3
# Bytes per second at which a GPU receives weights that the others hold: an assumption, on the low side for NVLink.
GATHERED_BYTES = 100e9


@dataclass(frozen=True)
class Speed:
    """The speed that one GPU reaches: operations and bytes per second, in training and in sampling."""

    operations: float
    bytes: float

    @classmethod
    def of(cls, preflight: Mapping[str, Any]) -> "Speed":
        """Read section preflight; its card and utilisations must be given."""
        return cls(
            preflight["gpu_tflops"] * 1e12 * preflight["training_utilisation"],
            preflight["gpu_bandwidth_gb"] * 1e9 * preflight["sampling_utilisation"],
        )


def way_of_sampling(setting: Setting) -> str:
    """Return the key of LAYER_SECONDS for a training's sampling, with transformers' default cache."""
    if setting.vllm:
        return "vllm"
    if setting.mode in SPLIT_WEIGHTS:  # so steps can't be recorded
        return "transformers"
    return "graphs_lora" if setting.lora_rank else "graphs"


def token_seconds(model: Architecture, sequences: int, tokens: int, way: str, speed: Speed, together: int = 1) -> float:
    """Return the seconds that a token of all of a GPU's `sequences` takes; `way`: a key of LAYER_SECONDS.

    tokens: length of a sequence so far. together: GPUs that share one copy of the weights; their communication is left
    out.
    """
    text = model.parameters - model.vision_parameters
    reading = (2 * text / together + kv_cache(model, sequences, tokens)) / speed.bytes
    return max(model.layers * LAYER_SECONDS[way], reading)


def seconds_per_step(
    model: Architecture, batches: Batches, setting: Setting, mean: tuple[float, float], speed: Speed
) -> tuple[float, float]:
    """Return (sampling, training) seconds of an optimiser step.

    setting: with the tokens of a mean image, and of the answer that a batch waits for. mean: prompt and answer tokens
    of a mean sample.
    """
    prompt, answer = mean
    way, together = way_of_sampling(setting), setting.vllm.together if setting.vllm else 1
    text = model.parameters - model.vision_parameters
    image = model.vision_parameters * model.merge * setting.image_tokens
    rows, length = batches.rows_of_a_pass(prompt, answer)
    forward = 2 * (text * rows * length + image * batches.images)
    passes = (2 if setting.lora_rank else 3) + setting.gradient_checkpointing
    # TRL computes the sampling policy's log-probabilities again where a generation outlives the optimiser step, and
    # where vLLM sampled, whose numbers differ.
    lasting = batches.micro_steps_per_generation * batches.iterations  # micro-steps of one generation
    again = batches.accumulation % lasting > 0 or way == "vllm"
    scored = (setting.reference + again) / batches.iterations
    a_pass = (passes + scored) * forward / speed.operations
    if setting.mode == "zero3":
        traversals = 2 + setting.gradient_checkpointing + scored
        a_pass += traversals * (model.layers + model.vision_layers) * ZERO3_LAYER_SECONDS
    training = a_pass * batches.accumulation
    if batches.group is None:
        return 0.0, training
    sequences, prompts = batches.sampled_at_once, batches.prompts_at_once
    reading = 2 * (text * (prompts * prompt + sequences * answer) + image * prompts)
    # All sequences of a batch wait for its longest, of setting.answer_tokens.
    longest = round(prompt + setting.answer_tokens / 2)
    token = token_seconds(model, sequences, longest, way, speed, together)
    gathering = 2 * model.parameters / GATHERED_BYTES if setting.mode in SPLIT_WEIGHTS else 0.0
    gatherings = setting.answer_tokens if (setting.mode, way) == ("fsdp", "transformers") else 1
    rounds = batches.accumulation / lasting
    sampling = rounds * (setting.answer_tokens * token + gatherings * gathering)
    return sampling + rounds * reading / speed.operations, training


def seconds_per_sample(files: Sequence[str]) -> dict[str, float]:
    """Return GPU-seconds per sample by method (`sft`, `grpo`), from metrics.json files of earlier trainings.

    Raises UserError naming a file without these numbers.
    """
    found = {}
    for path in files:
        metrics = read_json(path)
        try:
            method = metrics["stage"].partition("_")[0]
            found[method] = metrics["seconds"] * metrics["processes"] / metrics["samples_seen"]
        except (KeyError, TypeError, AttributeError, ZeroDivisionError):
            raise UserError(f"{path}: has no stage, seconds, processes, samples_seen; name a metrics.json") from None
    return found


def gpu_hours(batches: Batches, seconds: float) -> float:
    """Return the GPU-hours of all steps at `seconds` each."""
    return batches.steps * seconds * batches.processes / 3600
