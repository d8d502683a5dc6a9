"""Settings of TRL's GRPO objective, before anything is loaded: what contradicts (TRL accepts it), and batch sizes."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from vision_r1.files import UserError


def check_objective(values: Mapping[str, Any], where: str) -> None:
    """Raise UserError, starting with `where` and the key, for the first contradiction among keys of section grpo."""
    for key, message in _contradictions(values):
        raise UserError(f"{where}{key}: {message}")


def generation_period(values: Mapping[str, Any]) -> int:
    """Return after how many optimiser steps completions are sampled again, for keys of section grpo.

    Between such steps the trainer holds sampled completions that no checkpoint keeps.
    """
    return max(1, _lasting(values) // values["gradient_accumulation_steps"])


def check_dropout(dropout: float, values: Mapping[str, Any], where: str) -> None:
    """Raise UserError where adapters' dropout meets prompts that are read once for a group; `where` names its key."""
    if dropout and values.get("share_copies", True) and not values.get("disable_dropout"):
        raise UserError(
            f"{where}: {dropout:g}: copies of a prompt are read once, so they would share the noise that TRL gives "
            "each; give grpo.disable_dropout true, or grpo.share_copies false"
        )


def completion_length(values: Mapping[str, Any]) -> int:
    """Return the longest completion in tokens, where completion_room doesn't give it."""
    return values.get("max_completion_length", 512)  # TRL's default


def micro_steps_at_once(values: Mapping[str, Any]) -> int:
    """Return for how many micro-steps completions are sampled at once: keys of section grpo, TRL's default."""
    return values.get("steps_per_generation") or values["gradient_accumulation_steps"]


def prompts_at_once(completions: int, group: int) -> int:
    """Return of how many prompts one process's `completions` may be, at most, in groups of `group`.

    A group may begin on one process and end on the next.
    """
    return math.ceil((completions + group - math.gcd(completions, group)) / group)


def packing_pays(rows: int, length: float, packed: int, width: float) -> bool:
    """Tell whether `packed` rows of `width` tokens, prompts with all their answers, are worth it for (rows, length).

    They have to leave out a fifth of the tokens, and not to make the mask, (row, token, token), over four times as
    large: with many completions longer than the prompt, attention would cost more than the rest saves.
    """
    return packed * width <= 0.8 * rows * length and packed * width**2 <= 4 * rows * length**2


def _lasting(values: Mapping[str, Any]) -> int:
    """Return for how many micro-steps a generation's completions are used."""
    return micro_steps_at_once(values) * (values.get("num_iterations") or 1)


def _contradictions(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    loss, scale = values.get("loss_type", "dapo"), values.get("scale_rewards", "group")
    low, high, delta = values.get("epsilon", 0.2), values.get("epsilon_high"), values.get("delta")
    if values.get("multi_objective_aggregation") == "normalize_then_sum" and scale != "group":
        yield (
            "scale_rewards",
            f"{scale} has no effect with multi_objective_aggregation: normalize_then_sum (each reward is divided by "
            "its group's deviation, the sum by the batch's); use group, or sum_then_normalize",
        )
    if loss == "luspo" and values.get("importance_sampling_level") != "sequence":
        yield "loss_type", "luspo weights whole completions; it needs importance_sampling_level: sequence"
    if loss == "cispo" and (high is None or high <= 1):
        yield (
            "epsilon_high",
            f"{low if high is None else high}: cispo caps the importance ratio itself, which is 1 before any update, "
            "so this would only shrink the loss; set it above 1 (ScaleRL: 5.0)",
        )
    sampling = values.get("generation_kwargs") or {}
    for key in ("do_sample", "num_return_sequences"):
        if key in sampling:
            yield "generation_kwargs", f"{key!r}: each prompt gets num_generations sampled completions; remove it"
    if sampling.get("num_beams", 1) != 1:
        yield (
            "generation_kwargs",
            "'num_beams': beams aren't samples of the policy, as the objective takes them; remove it",
        )
    for key in ("return_dict_in_generate", "guidance_scale", "prompt_lookup_num_tokens"):
        if sampling.get(key):
            yield "generation_kwargs", f"{key!r}: TRL's trainer can't use it; remove it"
    if values.get("neftune_noise_alpha"):
        yield (
            "neftune_noise_alpha",
            "copies of a prompt are read once, so they would share the noise that TRL gives each; use it in SFT",
        )
    if values.get("bf16") and values.get("fp16"):
        yield "fp16", "true, and bf16 is true, too; train in one of them"
    if loss in ("sapo", "vespo") and (high is not None or delta is not None):
        yield "epsilon_high" if high is not None else "delta", f"{loss} doesn't clip the importance ratio; remove it"
    if loss == "cispo" and delta is not None:
        yield "delta", "cispo has only one cap, epsilon_high; remove it"
    if high is not None and loss not in ("cispo", "sapo", "vespo") and high < low:
        yield "epsilon_high", f"{high} is below epsilon, {low}; it is the upper and wider bound (DAPO: 0.28)"
    if delta is not None and delta <= 1 + (low if high is None else high):
        yield "delta", f"{delta} is not above the clipped ratio's bound, 1 + epsilon_high; raise it (INTELLECT-2: 4.0)"
    lasting, accumulation = _lasting(values), values["gradient_accumulation_steps"]
    if lasting % accumulation and accumulation % lasting:  # the last step of an epoch would come in between
        yield (
            "steps_per_generation",
            f"with num_iterations, completions last {lasting} micro-steps, and an optimiser step takes {accumulation} "
            "(gradient_accumulation_steps): one must divide the other, or no checkpoint could be resumed from exactly",
        )
    mode = values.get("vllm_importance_sampling_mode", "sequence_mask")
    corrected = values.get("use_vllm") and values.get("vllm_importance_sampling_correction", True)
    if loss == "vespo" and corrected and not mode.startswith("token_"):
        yield "vllm_importance_sampling_mode", f"{mode}: vespo needs token_truncate or token_mask"
