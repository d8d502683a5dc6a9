"""Guards stop a training that has gone wrong: one line with the cause, the last whole checkpoint kept, exit code 1.

A guard looks at what was logged. Logging comes before saving, so a broken model is never saved. A resumed training
has its earlier logs, so a guard that counts logs in a row works across interruptions; one that a signal stopped has
one more, for the step at which it saved.
"""

import faulthandler
import logging
import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vision_r1.files import UserError

log = logging.getLogger(__name__)


class TrainingBroken(UserError):
    """A guard stopped the training; the message names the cause."""


def _bound(text: str) -> Any:
    return field(default=None, metadata={"help": f"{text}; stops the training; default: off"})


@dataclass(kw_only=True)
class Guards:
    """Bounds on what may go wrong: None is off; a bound trips when `guard_patience` logs in a row reach it."""

    guard_patience: int = field(default=5, metadata={"help": "logs in a row that must reach a guard's bound"})
    guard_dead_groups: float | None = _bound("share of groups whose rewards are all equal")
    guard_truncated: float | None = _bound("share of completions that were cut at the longest length")
    guard_length_growth: float | None = _bound("mean length of completions, as a multiple of the first one logged")
    guard_repeated_completions: float | None = _bound("share of completions that repeat an earlier one of their group")
    guard_repeated_boxes: float | None = _bound("share of predicted boxes that repeat an earlier one of their answer")
    guard_kl: float | None = _bound("KL divergence from the reference model, nats per token")
    guard_stalled_minutes: float | None = _bound("minutes without a step, a log or a checkpoint")

    def __post_init__(self) -> None:
        if self.guard_patience < 1:
            raise UserError(f"--guard_patience {self.guard_patience}: give at least 1")


def cause(history: Sequence[Mapping[str, Any]], guards: Guards) -> str | None:
    """Return why a training with these logs (of training steps, oldest first) should stop, or None."""
    last = history[-1]
    for name in ("loss", "grad_norm"):
        value = last.get(name)
        if value is not None and not math.isfinite(value):
            return f"{name} is {value}"
    recent = history[-guards.guard_patience :]
    if len(recent) < guards.guard_patience:
        return None
    lengths = [entry["completions/mean_length"] for entry in history if "completions/mean_length" in entry]
    measures = {
        "dead_groups": lambda entry: entry.get("frac_reward_zero_std"),
        "truncated": lambda entry: entry.get("completions/clipped_ratio"),
        "length_growth": lambda entry: _ratio(entry.get("completions/mean_length"), lengths[0] if lengths else None),
        "repeated_completions": lambda entry: entry.get("repeated_completions"),
        "repeated_boxes": lambda entry: _ratio(entry.get("num_duplicates"), entry.get("num_predictions")),
        "kl": lambda entry: entry.get("kl"),
    }
    for name, measure in measures.items():
        bound = getattr(guards, f"guard_{name}")
        values = [measure(entry) for entry in recent]
        if bound is not None and all(value is not None and value >= bound for value in values):
            return f"{name} {values[-1]:.4g}, at {len(recent)} logs in a row at least {bound:g} (guard_{name})"
    return None


class StopWhenBroken(TrainerCallback):
    """Raises TrainingBroken at the log that shows the cause; all processes see the same numbers."""

    def __init__(self, guards: Guards) -> None:
        self.guards = guards

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if "loss" not in kwargs["logs"]:
            return
        found = cause([entry for entry in state.log_history if "loss" in entry], self.guards)
        if found:
            raise TrainingBroken(f"training stopped at step {state.global_step}: {found}; state in {args.output_dir}")


class StopAtBrokenGradients(TrainerCallback):
    """Raises TrainingBroken at the step whose gradients are not finite, before the weights take them in.

    DeepSpeed doesn't expose its gradients; there, a guard sees it in the next log.
    """

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any
    ) -> None:
        if args.fp16:  # its loss scaler provokes overflows on purpose, and skips those steps
            return
        gradients = [weight.grad for weight in kw["model"].parameters() if weight.grad is not None]
        local = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]
        if local and not torch.stack(torch._foreach_norm(local)).isfinite().all():
            raise TrainingBroken(
                f"training stopped at step {state.global_step + 1}: gradients are not finite; "
                f"lower --learning_rate, or train in float32; state in {args.output_dir}"
            )


class StopWhenStalled(TrainerCallback):
    """Ends the process, with the stacks of its threads, when nothing has happened for some minutes; None: never."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self.timer: threading.Timer | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        self.stop()
        if self.minutes is None:
            return
        self.timer = threading.Timer(60 * self.minutes, self._end, [state.global_step])
        self.timer.daemon = True
        self.timer.start()

    on_step_end = on_log = on_save = on_train_begin

    def stop(self) -> None:
        """Must be called at the end of the training, however it ended."""
        if self.timer:
            self.timer.cancel()

    def _end(self, step: int) -> None:
        log.error("training stopped: no step in %g minutes after step %d (guard_stalled_minutes)", self.minutes, step)
        faulthandler.dump_traceback(sys.__stderr__)
        os._exit(1)  # the thread that hangs would not let the process end otherwise


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
