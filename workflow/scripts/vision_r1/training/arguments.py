"""The arguments that all training programs share, and how they are read beside TRL's own."""

import argparse
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from trl import TrlParser

from vision_r1.cli import check_outputs
from vision_r1.families import FAMILIES, family
from vision_r1.files import UserError
from vision_r1.models import DTYPES, check_checkpoint
from vision_r1.text import one_line
from vision_r1.training.checkpoints import is_complete
from vision_r1.training.lora import LoRAArguments

# TRL still uses this name, and transformers would warn at every step.
warnings.filterwarnings("ignore", ".*gradient_checkpointing. is deprecated", FutureWarning)

# TRL's counts, which it takes as they are.
_COUNTS = ("gradient_accumulation_steps", "num_iterations", "per_device_train_batch_size", "steps_per_generation")


@dataclass(kw_only=True)
class StageArguments(LoRAArguments):
    """Arguments of every training program, besides those of its TRL configuration."""

    family: str = field(metadata={"help": f"model family: {' or '.join(FAMILIES)}"})
    init: str = field(metadata={"help": "checkpoint folder to start from"})
    train_file: str = field(metadata={"help": "training file, one JSON row per line"})
    output_model: str = field(metadata={"help": "folder for the trained model and its processor"})
    output_metrics: str = field(metadata={"help": "JSON file with duration, sizes and last values; written last"})
    output_history: str = field(metadata={"help": "JSONL file for what TRL logged at each logging step"})
    state: str = field(metadata={"help": "folder to resume an interrupted training from; keeps a copy of the outputs"})
    min_pixels: int = field(metadata={"help": "smallest image that the model sees, pixels"})
    max_pixels: int = field(metadata={"help": "largest image that the model sees, pixels"})
    dtype: str = field(default="float32", metadata={"help": f"type of the trained weights: {', '.join(DTYPES)}"})
    threads: int = field(default=1, metadata={"help": "torch threads; results on a CPU depend on it"})
    output_completions: str | None = field(
        default=None, metadata={"help": "JSONL file for some of the sampled completions, with their rewards (GRPO)"}
    )
    gpus: int | None = field(
        default=None, metadata={"help": "GPUs requested, over all nodes; another number of visible ones is an error"}
    )
    stop_at: int | None = field(
        default=None,
        metadata={"help": "step at which this stage ends, where the schedule runs on to --max_steps in the next stage"},
    )
    output_checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "folder for the trainer checkpoint at --stop_at (weights, optimiser, schedule, random numbers, "
            "place in the data), which the next stage can --continue_from; without --stop_at it stays empty"
        },
    )
    continue_from: str | None = field(
        default=None,
        metadata={"help": "trainer checkpoint of the stage before, in place of a fresh optimiser, schedule and order"},
    )
    code: str | None = field(
        default=None,
        metadata={"help": "file that stands for the code: a change to it starts a training afresh; default: the code"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in DTYPES:
            raise UserError(f"--dtype: unknown {self.dtype!r}; choose {', '.join(DTYPES)}")
        if not Path(self.train_file).is_file():
            raise UserError(f"--train_file {self.train_file}: no such file")
        for name in ("threads", "min_pixels", "stop_at"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"--{name} {value}: give at least 1")
        if self.min_pixels > self.max_pixels:
            raise UserError(f"--min_pixels {self.min_pixels}: larger than --max_pixels {self.max_pixels}")
        inputs = {"--init": self.init, "--train_file": self.train_file, "--continue_from": self.continue_from}
        check_outputs(inputs | {f"--{name}": path for name, path in self.outputs().items()})
        check_checkpoint(self.init, family(self.family))
        if self.continue_from and not is_complete(self.continue_from):
            raise UserError(f"--continue_from {self.continue_from}: not a whole checkpoint of --output_checkpoint")

    @property
    def frozen(self) -> str:
        """The folder of the weights beside which adapters are trained."""
        return self.init

    def parents(self) -> list[str]:
        """Return the checkpoint folders whose weights decide the result."""
        return [folder for folder in (self.init, self.continue_from) if folder]

    def outputs(self) -> dict[str, Path]:
        """Return the outputs that the training is to write, by name; metrics come last."""
        names = ("output_model", "output_history", "output_completions", "output_checkpoint", "output_metrics")
        return {name: Path(path) for name in names if (path := getattr(self, name))}


@contextmanager
def refused_by_trl(*more: type[Exception]) -> Iterator[None]:
    """Turn the errors of TRL's trainer, when it or its optimiser is built, into one line for the user.

    more: errors that can only be the user's here; elsewhere they would hide a fault of ours.
    """
    try:
        yield
    except (ValueError, NotImplementedError, ImportError, *more) as error:
        raise UserError(f"TRL: {one_line(error)}") from None


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it stands, and the defaults."""


class StageParser(TrlParser):
    """TRL's parser, with one clear line for a wrong argument in place of the usage of some 300 flags.

    --help lists our flags first, and TRL's under a heading of their own.
    """

    def __init__(self, dataclass_types: Sequence[type], docstring: str, **options: Any) -> None:
        options |= {"description": docstring, "formatter_class": _Help, "allow_abbrev": False}
        options |= {"usage": "%(prog)s --family FAMILY --init INIT ... [options, and those of TRL]"}
        for each in dataclass_types:
            if each.__module__.startswith("trl."):
                each._argument_group_name = f"options of TRL's {each.__name__}"
        super().__init__(dataclass_types, **options)
        for action in self._actions:
            if getattr(action.type, "__name__", "") == "dict":  # argparse would call dict() with the JSON text
                action.type = json.loads

    def error(self, message: str) -> None:
        raise UserError(f"{message}; --help lists all arguments")

    def parse(self, argv: Sequence[str] | None, unknown: bool = False) -> tuple[Any, ...]:
        """Return one object per dataclass. Raises UserError for an impossible or, unless allowed, unknown argument."""
        try:
            found = self.parse_args_and_config(argv, return_remaining_strings=unknown)
        except (ValueError, ZeroDivisionError) as error:  # TRL divides numbers before it looks at them
            raise UserError(f"TRL: {error}; --help lists all arguments") from None
        for each in filter(is_dataclass, found):
            for name, value in vars(each).items():
                if isinstance(value, float) and math.isnan(value):
                    raise UserError(f"--{name} {value}: give a number")
                if name in _COUNTS and value is not None and value < 1:
                    raise UserError(f"--{name} {value}: give at least 1")
        return found
