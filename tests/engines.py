"""The engines of config/accelerate on CPUs, with the environment of `accelerate launch`, and gloo in place of NCCL."""

import os
import sys
from functools import cache
from pathlib import Path

CONFIGURATIONS = Path(__file__).parents[1] / "config/accelerate"


@cache
def environment(name, *options):
    """Return the variables that `accelerate launch --config_file <name>.yaml <options>` sets for a process.

    Accelerate's own code runs; only the function that would start the processes is replaced.
    """
    from accelerate.commands import launch
    from torch.distributed import run as torchrun

    words = ["--config_file", str(CONFIGURATIONS / f"{name}.yaml"), "--num_processes", "2", *options, "program.py"]
    seen, original = {}, torchrun.run
    torchrun.run = lambda args: seen.update(os.environ)
    try:
        launch.launch_command(launch.launch_command_parser().parse_args(words))
    finally:
        torchrun.run = original
    before = {"PYTHONPATH", *(key for key, value in os.environ.items() if seen.get(key) == value)}
    cpu = {"ACCELERATE_TORCH_DEVICE": "cpu", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    return {key: value for key, value in seen.items() if key not in before} | cpu


def run_on_cpu():
    """Make this process take part in such a run. Must be called before anything reads accelerate's state."""
    from accelerate import state
    from accelerate.utils import DeepSpeedPlugin
    from transformers import training_args

    deepspeed, fsdp = (os.environ.get(f"ACCELERATE_USE_{name}") == "true" for name in ("DEEPSPEED", "FSDP"))
    kind = state.DistributedType.MULTI_GPU if deepspeed or fsdp else state.DistributedType.MULTI_CPU
    state.PartialState._prepare_backend = lambda self, cpu=False, sagemaker_dp=False, backend=None: ("gloo", kind)
    training_args.is_torch_bf16_gpu_available = lambda: True
    if not deepspeed:
        return
    import deepspeed.comm.comm  # noqa: F401

    # Shared memory in place of sockets would need a C++ build of minutes, which speeds nothing up here.
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None
    original = DeepSpeedPlugin.__post_init__

    def split_small_weights(self):
        original(self)
        # ZeRO-3 does not split weights below 100,000 numbers, which would be all weights of a tiny model.
        self.deepspeed_config["zero_optimization"]["stage3_param_persistence_threshold"] = 0

    DeepSpeedPlugin.__post_init__ = split_small_weights
