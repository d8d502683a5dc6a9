"""How a training is started: number of processes, and what is split over the GPUs, read from compute.launch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_r1 import safe_yaml
from vision_r1.files import UserError

MODES = {
    "single": "one process",
    "ddp": "a whole copy on each GPU (DDP)",
    "zero2": "gradients and optimiser split over the GPUs (DeepSpeed ZeRO-2)",
    "zero3": "weights, gradients and optimiser split over the GPUs (DeepSpeed ZeRO-3)",
    "fsdp": "weights, gradients and optimiser split over the GPUs (FSDP)",
}
SPLIT_WEIGHTS = ("zero3", "fsdp")


def processes(config: Mapping[str, Any], launch: str = "launch") -> int:
    """Return how many processes compute.launch (or launch_predict) starts, over all nodes: one a GPU."""
    words = config["compute"][launch]
    return int(words[words.index("--num_processes") + 1]) if "--num_processes" in words else 1


def mode_of(launch: Sequence[str], processes: int) -> str:
    """Return one of MODES for the words of compute.launch. Raises UserError for a missing file or an unknown mode."""
    if "--config_file" not in launch:
        return "ddp" if processes > 1 else "single"
    path = Path(launch[launch.index("--config_file") + 1])
    try:
        settings = safe_yaml.read(path)
    except UserError as error:
        raise UserError(f"config: compute.launch: {error}") from None
    kind = settings.get("distributed_type")
    if kind == "DEEPSPEED":
        mode = f"zero{(settings.get('deepspeed_config') or {}).get('zero_stage', '')}"
    else:
        mode = {"FSDP": "fsdp", "MULTI_GPU": "ddp", "NO": "single"}.get(kind, "")
    if mode not in MODES:
        raise UserError(f"config: compute.launch: {path}: memory under {kind} {mode} is not known to the preflight")
    return mode
