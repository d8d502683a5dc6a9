"""What decides the result of a training: its data, its parents' weights, its settings, its engine and the code."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from vision_r1.files import LOADED, UserError, file_hash, hash_folder, read_json
from vision_r1.model_folder import PROCESSOR_FILES
from vision_r1.stamps import code_stamp
from vision_r1.training.arguments import StageArguments
from vision_r1.training.lora import LoRAArguments

LORA = tuple(item.name for item in fields(LoRAArguments))
PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets")
FILE = "settings.json"
# What a parent's folder has besides its weights that decides prompts, inputs and samples.
SHIPPED = (*PROCESSOR_FILES, "config.json", "generation_config.json")
# Where files go, what is printed, and how the machine is used: none of it changes the trained weights.
_INDECISIVE = (
    *("output_dir", "run_name", "project", "report_to", "disable_tqdm", "local_rank", "resume_from_checkpoint"),
    *(
        "log",
        "save_",
        "hub_",
        "push_to_hub",
        "trackio_",
        "ddp_backend",
        "ddp_timeout",
        "skip_memory_metrics",
        "torch_empty_cache",
        "use_cpu",  # the device itself is decisive
    ),
    *("dataloader_num", "dataloader_p", "dataloader_multi"),  # not dataloader_drop_last
    *("vllm_server_", "vllm_group_port"),
)
# What may differ between two stages of one schedule: where the first one ends, the reward, and what isn't a setting.
_OF_A_STAGE = ("stop_at", "criterion", "code", "versions", "train_file", "weights", "processor")
# Variables by which `accelerate launch` tells its processes what splits the weights, and in which precision. They
# decide what lies in a checkpoint, and no engine can read another one's.
_ENGINE = ("ACCELERATE_USE_", "ACCELERATE_MIXED_PRECISION", "ACCELERATE_DEEPSPEED_", "FSDP_")


def settings_of(
    arguments: StageArguments, config: TrainingArguments, program: str, method: Mapping[str, Any]
) -> dict[str, Any]:
    """Return, as JSON values: arguments, configuration, engine, processes, versions, `method`'s own, and hashes.

    Hashed are the training file, the parents' weights, the first one's configuration, generation settings and
    processor, and the code: that of `program`, or what --code stands for. Raises UserError for a parent that is not as
    it was written.
    """
    own = ("family", "min_pixels", "max_pixels", "dtype", "threads", "stop_at", *LORA)
    decisive = (item.name for item in fields(config) if item.init and not item.name.startswith(_INDECISIVE))
    code = Path(arguments.code).read_text(encoding="utf-8") if arguments.code else code_stamp(program)
    parents = {folder: _hashes(Path(folder)) for folder in dict.fromkeys(arguments.parents())}
    files = [file for hashes in parents.values() for file in hashes.items()]
    init = parents[arguments.init]
    settings = {
        **{name: getattr(arguments, name) for name in own},
        **{name: getattr(config, name) for name in decisive},
        **{"processes": config.world_size, "device": config.device.type, "versions": versions(config)},
        "engine": {name: value for name, value in os.environ.items() if name.startswith(_ENGINE)},
        "code": code,
        "train_file": _hash(arguments.train_file),
        "deepspeed_file": _hash(config.deepspeed) if isinstance(config.deepspeed, str) else None,
        "weights": [value[:16] for name, value in files if name.endswith(".safetensors")],
        "processor": {name: init[name][:16] for name in SHIPPED if name in init},
        **method,
    }
    return json.loads(json.dumps(settings, sort_keys=True, default=str))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each setting that differs, such as `beta 0.04 -> 0.0` or `code vision_r1/rewards.py`."""
    phrases = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            phrases += [f"{name} {phrase}" for phrase in differences(old, new)]
        elif name == "code":  # a line for each file, with its hash
            lines = {*old.splitlines()} ^ {*new.splitlines()}
            phrases += sorted({f"code {line.split(' ')[0]}" for line in lines})
        else:
            phrases.append(name if name in ("train_file", "weights") else f"{name} {old!r} -> {new!r}")
    return phrases


def versions(config: TrainingArguments) -> dict[str, str]:
    """Return the versions of the packages that train, and of vLLM where it samples."""
    found = {name: version(name) for name in PACKAGES}
    if getattr(config, "use_vllm", False):
        import vllm

        found["vllm"] = vllm.__version__
    return found


def check_same_schedule(checkpoint: str | Path, settings: Mapping[str, Any]) -> None:
    """Raise UserError naming the settings in which this stage differs from the one that wrote `checkpoint`.

    Optimiser and schedule come from that checkpoint, so another value here would have no effect, or half of one.
    """
    before, now = (
        {name: value for name, value in of_stage.items() if name not in _OF_A_STAGE}
        for of_stage in (read_json(Path(checkpoint) / FILE), settings)
    )
    if before != now:
        raise UserError(
            f"--continue_from {checkpoint}: trained with other settings: {'; '.join(differences(before, now))}; "
            "stages of one schedule share all but their rewards"
        )


def check_frozen(checkpoint: str | Path, frozen: str | Path) -> None:
    """Raise UserError unless the stage that wrote `checkpoint` knew the weights that its adapters are now added to."""
    known = read_json(Path(checkpoint) / FILE)["weights"]
    weights = [value[:16] for name, value in _hashes(Path(frozen)).items() if name.endswith(".safetensors")]
    if not {*weights} <= {*known}:
        raise UserError(
            f"{frozen}: not the weights beside which the adapters of --continue_from {checkpoint} were trained; give "
            "the --init of that stage as --reference (GRPO) or --init (SFT)"
        )


def _hashes(folder: Path) -> dict[str, str]:
    # All but a trainer's state, which may be many times as large, and has hashes of its own.
    return hash_folder(folder, [path.name for path in folder.iterdir() if path.suffix in LOADED])


def _hash(path: str | Path) -> str:
    return file_hash(path)[:16]
