"""What decides the result of a training, beside its data and its parents' weights."""

import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from vision_r1.files import UserError, read_json
from vision_r1.stamps import code_stamp
from vision_r1.training.arguments import StageArguments
from vision_r1.training.lora import LoRAArguments

LORA = tuple(item.name for item in fields(LoRAArguments))
PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets")
FILE = "settings.json"
# Where files go, what is printed, and how the machine is used: none of it changes the trained weights.
_INDECISIVE = (
    *("output_dir", "run_name", "project", "report_to", "disable_tqdm", "local_rank", "resume_from_checkpoint"),
    *("log", "save_", "hub_", "push_to_hub", "trackio_", "dataloader_", "ddp_", "skip_memory_metrics", "use_cpu"),
)
# What may differ between two stages of one schedule: where the first one ends, the reward, and what is not a setting.
_OF_A_STAGE = ("stop_at", "criterion", "code", "versions")


def settings_of(
    arguments: StageArguments, config: TrainingArguments, program: str, method: Mapping[str, Any]
) -> dict[str, Any]:
    """Return, as JSON values: arguments, configuration, processes, versions, `method`'s own, and the code.

    The code is that of `program`, or what --code stands for.
    """
    own = ("family", "min_pixels", "max_pixels", "dtype", "threads", "stop_at", *LORA)
    decisive = (item.name for item in fields(config) if item.init and not item.name.startswith(_INDECISIVE))
    code = Path(arguments.code).read_text(encoding="utf-8") if arguments.code else code_stamp(program)
    settings = {
        **{name: getattr(arguments, name) for name in own},
        **{name: getattr(config, name) for name in decisive},
        **{"processes": config.world_size, "versions": versions(), "code": code},
        **method,
    }
    return json.loads(json.dumps(settings, sort_keys=True, default=str))


def versions() -> dict[str, str]:
    """Return the versions of the packages that train."""
    return {name: version(name) for name in PACKAGES}


def check_same_schedule(checkpoint: str | Path, settings: Mapping[str, Any]) -> None:
    """Raise UserError naming the first setting in which this stage differs from the one that wrote `checkpoint`.

    Optimiser and schedule come from there, so another value here would be without effect, or half of it.
    """
    before = read_json(Path(checkpoint) / FILE)
    for name in sorted({*before, *settings} - {*_OF_A_STAGE}):
        if before.get(name) != settings.get(name):
            raise UserError(
                f"--continue_from {checkpoint}: was trained with {name} {before.get(name)!r}, "
                f"not {settings.get(name)!r}; stages of one schedule share all but their rewards"
            )
