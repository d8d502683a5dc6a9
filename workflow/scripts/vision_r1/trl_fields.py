"""Which fields of TRL's configurations are keys of the configuration, and why the others are not.

`make docs` writes them from the pinned TRL to config/trl_fields.yaml, so that reading a configuration imports no torch.
"""

import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

# Keys of section grpo that a stage can't have of its own.
OF_BOTH_STAGES = ("refinement", "reward_weights", "step", "updates_per_generation")
# Section of the configuration -> TRL's dataclass.
SECTIONS = {"sft": "SFTConfig", "grpo": "GRPOConfig"}

# Reason -> the fields, or beginnings of their names, that it keeps out of the configuration.
_NOT_RESUMED_EXACTLY = {
    "a checkpoint has to hold all that an exact resume needs": (
        *("save_only_model", "ignore_data_skip", "enable_jit_checkpoint", "restore_callback_states_from_checkpoint"),
        # A loader whose workers persist draws from the global random numbers once, and once more after a resume.
        *("dataloader_in_order", "dataloader_persistent_workers"),
    ),
    "the reference model's changed weights are in no checkpoint, so that it can't be resumed exactly": (
        *("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"),
    ),
}
_REASONS = {
    "the pipeline sets it": (
        *("output_dir", "seed", "data_seed", "resume_from_checkpoint", "remove_unused_columns", "label_names", "do_"),
        *("local_rank", "ddp_backend", "save_strategy", "save_total_limit", "save_on_each_node", "disable_tqdm"),
        *("logging_strategy", "logging_nan_inf_filter", "log_level", "log_level_replica", "log_on_each_node"),
        *("model_init_kwargs", "trust_remote_code"),
        "dataloader_multiprocessing_context",
        *("generation_batch_size", "accelerator_config", "train_sampling_strategy", "length_column_name"),
    ),
    "section logging says what is logged, and completions.jsonl has the completions": (
        *("report_to", "run_name", "project", "trackio_", "log_completions", "log_completions_", "log_multimodal"),
        *("log_unique_prompts", "num_completions_to_print", "include_num_input_tokens_seen"),
    ),
    **_NOT_RESUMED_EXACTLY,
    "the batch that fits would depend on the machine": ("auto_find_batch_size",),
    "checkpoints are evaluated by jobs of their own: section evaluation": (
        *("eval_", "per_device_eval_batch_size", "prediction_loss_only", "include_for_metrics", "batch_eval_metrics"),
        *("bf16_full_eval", "fp16_full_eval", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
        "num_generations_eval",
    ),
    "push_to_hub.py uploads a release": ("push_to_hub", "hub_"),
    "compute.launch says it, as options of accelerate launch": ("fsdp", "fsdp_config", "parallelism_config"),
    "section templates and the model say how a conversation is written": (
        *("chat_template_path", "dataset_text_field", "dataset_kwargs", "dataset_num_proc", "eos_token", "pad_token"),
        "assistant_only_loss",
    ),
    "TRL has it for texts without images only": (
        *("packing", "packing_strategy", "padding_free", "use_transformers_continuous_batching"),
        *("transformers_continuous_batching_config", "max_tool_calling_iterations"),
    ),
    "deprecated; give activation_checkpointing_kwargs": ("gradient_checkpointing_kwargs",),
    "deprecated; give vllm_importance_sampling_clip_max": ("vllm_importance_sampling_cap",),
    "deprecated": ("use_transformers_paged",),
    "TRL's SFT samples images at random either way": ("sft.shuffle_dataset",),
    "TRL's GRPO doesn't read it; grpo.loss_type says what is averaged over": ("grpo.average_tokens_across_devices",),
}
_SHARE, _NOT_NEGATIVE, _POSITIVE = {"minimum": 0, "maximum": 1}, {"minimum": 0}, {"exclusiveMinimum": 0}
_AT_LEAST_1 = {"minimum": 1}
# TRL and transformers take any number; many would end a training in a traceback, or in silence. A test asks for a bound
# of each numeric field, here or in config/schema.yaml.
_BOUNDS = {
    **{"adam_beta1": {"minimum": 0, "exclusiveMaximum": 1}, "adam_epsilon": _POSITIVE},
    **dict.fromkeys(("label_smoothing_factor", "min_p", "top_entropy_quantile"), _SHARE),
    **dict.fromkeys(("neftune_noise_alpha", "dataloader_num_workers", "router_aux_loss_coef"), _NOT_NEGATIVE),
    **dict.fromkeys(("torch_empty_cache_steps", "dataloader_prefetch_factor", "ddp_bucket_cap_mb"), _AT_LEAST_1),
    **dict.fromkeys(("ddp_timeout", "pad_to_multiple_of", "max_length"), _AT_LEAST_1),
    **dict.fromkeys(("repetition_penalty", "vllm_server_timeout"), _POSITIVE),
    "vllm_group_port": {"minimum": 1, "maximum": 65535},
    **dict.fromkeys(("sapo_temperature_neg", "sapo_temperature_pos"), _POSITIVE),
    **dict.fromkeys(("vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg"), _NOT_NEGATIVE),
    **dict.fromkeys(("entropy_coef", "entropy_coef_min", "entropy_coef_max", "entropy_coef_delta"), _NOT_NEGATIVE),
    **dict.fromkeys(("entropy_target", "off_policy_mask_threshold"), _NOT_NEGATIVE),
    **dict.fromkeys(("vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min"), _NOT_NEGATIVE),
}
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
# Where only TRL's help text names the choices, they are quoted after one of these phrases.
_NAMES_CHOICES = re.compile("(?:Supported values|Supported options|Must be one of|ratios are computed at)(.*)")
_CHOICE = re.compile(r"(?<!=)['`]+(\w+)['`]+")


# The programs take all of TRL's fields as options; these at their defaults only.
NOT_RESUMED_EXACTLY = tuple(name for names in _NOT_RESUMED_EXACTLY.values() for name in names)


def refused(name: str, section: str) -> str | None:
    """Return why a TRL field is no key of a section; None where it is one, or TRL has no such field."""
    for reason, names in _REASONS.items():
        if f"{section}.{name}" in names:
            return reason
        if any(name == each or (each.endswith("_") and name.startswith(each)) for each in names):
            return reason
    return None


def described(section: str) -> dict[str, dict[str, Any]]:
    """Return name -> JSON Schema for every field that may be a key of `section`. Imports TRL."""
    import trl

    return dict(_described(getattr(trl, SECTIONS[section]), section))


def _described(config: type, section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    names = {item.name for item in fields(config)}
    types_of = typing.get_type_hints(config)  # transformers' parser changes the types of the fields themselves
    for item in fields(config):
        if not item.init or refused(item.name, section):
            continue
        default = item.default if item.default is not MISSING else item.default_factory()
        about = " ".join(item.metadata.get("help", "").replace("%%", "%").split())  # argparse wants it doubled
        kind = types_of[item.name]
        union = typing.get_origin(kind) in (types.UnionType, typing.Union)
        kinds = [each for each in (typing.get_args(kind) if union else (kind,)) if each is not types.NoneType]
        if str in kinds:  # transformers' parser reads such a union as one word
            kinds = [each for each in kinds if typing.get_origin(each) is not list]
        none = [None] if default is None else []  # elsewhere null is not "TRL's default"
        if choices := item.metadata.get("choices") or _choices(kinds, about, names):
            schema = {"enum": [*choices, *none]}
        else:
            named = sorted({_KINDS[typing.get_origin(each) or each] for each in kinds}) + (["null"] if none else [])
            schema = {"type": named if len(named) > 1 else named[0]}
            for each in kinds:
                if typing.get_origin(each) is list and typing.get_args(each)[0] in _KINDS:
                    schema["items"] = {"type": _KINDS[typing.get_args(each)[0]]}
        schema |= _BOUNDS.get(item.name, {})
        yield item.name, {**schema, "default": getattr(default, "value", default), "description": about}


def _choices(kinds: list[Any], about: str, names: Collection[str]) -> list[str]:
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            return [each.value for each in kind]
    found = _NAMES_CHOICES.search(about) if str in kinds else None
    quoted = dict.fromkeys(_CHOICE.findall(found[1])) if found else ()
    return [each for each in quoted if each not in (*names, "True", "False")]


def merged(schema: Mapping[str, Any], generated: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a schema's own entries for sections sft, grpo and the stages into the generated ones, and let them win."""
    properties, stage = schema["properties"], schema["$defs"]["stage"]
    grpo = {**generated["grpo"], **properties["grpo"]["properties"]}
    of_a_stage = {key: value for key, value in grpo.items() if key not in OF_BOTH_STAGES}
    sft = {**generated["sft"], **properties["sft"]["properties"]}
    sections = {name: {**properties[name], "properties": keys} for name, keys in (("sft", sft), ("grpo", grpo))}
    stage = {**stage, "properties": {**of_a_stage, **stage["properties"]}}
    return {**schema, "properties": {**properties, **sections}, "$defs": {**schema["$defs"], "stage": stage}}
