"""GPU-hours and money, from what the card can do and how much of it is reached, or from a training that was measured.

Sampling with transformers reads all weights and the KV cache for each token, so it is bound by memory bandwidth;
reading prompts and training are bound by arithmetic: 2 operations a weight and token forward, 4 backward (2 where the
weights are frozen), 2 more to recompute activations, 2 for the reference. Both are divided by the share of the card's
peak that is reached, an assumption of the configuration unless it was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vision_r1.files import UserError, read_json
from vision_r1.preflight.architecture import Architecture
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.memory import Setting, kv_cache


@dataclass(frozen=True)
class Speed:
    """What one GPU does: operations and bytes a second that are reached, in training and in sampling."""

    operations: float
    bytes: float

    @classmethod
    def of(cls, preflight: Mapping[str, Any]) -> "Speed":
        """Read section preflight; its card and utilisations must be given."""
        return cls(
            preflight["gpu_tflops"] * 1e12 * preflight["training_utilisation"],
            preflight["gpu_bandwidth_gb"] * 1e9 * preflight["sampling_utilisation"],
        )


def seconds_per_step(
    model: Architecture, batches: Batches, setting: Setting, mean: tuple[float, float], speed: Speed
) -> tuple[float, float]:
    """Return (sampling, training) seconds of an optimiser step. `mean`: prompt and answer tokens of a mean sample."""
    prompt, answer = mean
    text = model.parameters - model.vision_parameters
    forward = 2 * (text * (prompt + answer) + model.vision_parameters * model.merge * setting.image_tokens)
    passes = 2 if setting.lora_rank else 3
    passes += (1 if setting.gradient_checkpointing else 0) + (1 if setting.reference else 0)
    # TRL computes the sampling policy's log-probabilities anew where a generation outlives the optimiser step.
    passes += 1 if batches.accumulation % batches.micro_steps_per_generation else 0
    sequences = batches.per_device * batches.accumulation
    training = passes * forward * sequences / speed.operations
    if batches.group is None:
        return 0.0, training
    # All sequences of a batch wait for its longest, of setting.answer_tokens.
    bytes_a_token = 2 * text + kv_cache(model, batches.sampled_at_once, round(prompt + setting.answer_tokens / 2))
    rounds = batches.accumulation / batches.micro_steps_per_generation
    sampling = rounds * setting.answer_tokens * bytes_a_token / speed.bytes
    return sampling + forward * sequences / speed.operations, training


def measured_seconds(files: Sequence[str]) -> dict[str, float]:
    """Return GPU-seconds a sample by method (`sft`, `grpo`), from metrics.json files of earlier trainings.

    Raises UserError naming a file that holds no such figures.
    """
    found = {}
    for path in files:
        metrics = read_json(path)
        try:
            method = metrics["stage"].partition("_")[0]
            found[method] = metrics["seconds"] * metrics["processes"] / metrics["samples_seen"]
        except (KeyError, TypeError, AttributeError, ZeroDivisionError):
            raise UserError(f"{path}: holds no stage, seconds, processes, samples_seen; name a metrics.json") from None
    return found


def gpu_hours(batches: Batches, seconds: float) -> float:
    """Return the GPU-hours of all steps at `seconds` each."""
    return batches.steps * seconds * batches.processes / 3600
