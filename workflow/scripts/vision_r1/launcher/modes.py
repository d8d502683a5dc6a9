"""How a training is started: number of processes, and what is split over the GPUs, read from compute.launch."""

import argparse
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
# Job -> the key of section compute that has the command it is started with.
LAUNCH = {"train_sft": "launch", "train_grpo": "launch", "predict_suite": "launch_predict"}
# Options of launchers: number of nodes, this node's rank, address and port of the first node.
NODE_OPTIONS = {
    "accelerate launch": ("--num_machines", "--machine_rank", "--main_process_ip", "--main_process_port"),
    "torchrun": ("--nnodes", "--node_rank", "--master_addr", "--master_port"),
}


def launcher_of(words: Sequence[str]) -> str:
    """Return the name, one of NODE_OPTIONS, that a launcher's command begins with. Raises UserError for any other."""
    launcher = next((name for name in NODE_OPTIONS if list(words[: len(name.split())]) == name.split()), None)
    if launcher is None:
        raise UserError(
            f"compute.launch and launch_predict: several nodes need {' or '.join(NODE_OPTIONS)} first, not {words[0]}"
        )
    return launcher


def processes(config: Mapping[str, Any], job: str) -> int:
    """Return how many processes a job of section compute starts, over all nodes: one a GPU.

    job: one of LAUNCH. torchrun is told how many a node starts; accelerate how many there are, by an option or by its
    file. Raises UserError for a number that can't be read, and for such a file.
    """
    launch = LAUNCH[job]
    key = f"compute.{launch}"
    options = _options(config["compute"][launch], key)
    nodes = 1
    if options.nproc_per_node is not None:
        number, nodes = options.nproc_per_node, config["compute"][job]["nodes"]
    elif options.num_processes is not None:
        number = options.num_processes
    elif options.config_file is None:
        number = 1
    else:
        number = _settings(options.config_file, key).get("num_processes", 1)
        key = f"{key}: {options.config_file}"
    if type(number) is not int or number < 1:
        raise UserError(f"config: {key}: {number!r} is not a number of processes; give at least 1")
    return number * nodes


def mode_of(launch: Sequence[str], processes: int) -> str:
    """Return one of MODES for the words of compute.launch. Raises UserError for a missing file or an unknown mode."""
    for word in {"--use_deepspeed", "--use-deepspeed", "--use_fsdp", "--use-fsdp"} & set(launch):
        raise UserError(
            f"config: compute.launch: {word}: the preflight reads what is split from a file; give --config_file "
            "instead (config/accelerate/ has some)"
        )
    path = _options(launch, "compute.launch").config_file
    if path is None:
        return "ddp" if processes > 1 else "single"
    settings = _settings(path, "compute.launch")
    kind = settings.get("distributed_type")
    if kind == "DEEPSPEED":
        engine = settings.get("deepspeed_config")
        mode = f"zero{engine.get('zero_stage', '')}" if isinstance(engine, dict) else ""
    else:
        mode = {"FSDP": "fsdp", "MULTI_GPU": "ddp", "NO": "single"}.get(str(kind), "")
    if mode not in MODES:
        kind = f"distributed_type {kind!r}" + (f", {mode}" if mode else "")
        raise UserError(f"config: compute.launch: {path}: memory under {kind} is not known to the preflight")
    return mode


def _options(words: Sequence[str], key: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, kind in (("num_processes", int), ("nproc_per_node", int), ("config_file", Path)):
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", type=kind)
    try:
        return parser.parse_known_args(words)[0]
    except argparse.ArgumentError as error:
        raise UserError(f"config: {key}: {error}") from None


def _settings(path: Path, key: str) -> dict[str, Any]:
    try:
        return safe_yaml.read(path)
    except UserError as error:
        raise UserError(f"config: {key}: {error}") from None
