"""What TRL's trainers lack for long trainings, added from outside."""

import atexit
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import Event
from multiprocessing.synchronize import Event as EventType
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.data_loader import BatchSamplerShard
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vision_r1.files import UserError, sync
from vision_r1.progress import Progress
from vision_r1.training.checkpoints import mark_complete, prune_checkpoints, sync_and_hash


class MarkCompleteCheckpoints(TrainerCallback):
    """Marks a checkpoint when every process has written its part of it, and all of it is on the disk.

    Then it deletes older ones, as the trainer would do by their times of change.
    `seconds` is the training time up to now, over all interruptions.
    """

    def __init__(self, seconds_before: float) -> None:
        self.started = time.monotonic() - seconds_before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        PartialState().wait_for_everyone()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        shares = gather_object([sync_and_hash(folder, args.process_index, args.world_size)])
        if state.is_world_process_zero:
            sync(args.output_dir)  # what else lies there: the sampled completions up to this step
            mark_complete(folder, self.seconds, {name: digest for share in shares for name, digest in share.items()})
            prune_checkpoints(args.output_dir)


class StopOnSignal(TrainerCallback):
    """On SIGTERM or SIGUSR1 (a time limit that comes near), finishes the step, saves, and ends the training.

    Processes that load data outlive the signals, which may be sent to them, too: without them no step is finished.
    `period`: a checkpoint resumes exactly only at steps that are multiples of it.
    """

    SIGNALS = signal.SIGTERM, signal.SIGUSR1

    def __init__(self, period: int) -> None:
        self.period = period
        self.received = False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        self.handlers = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        loader = kw["train_dataloader"]
        loader = getattr(loader, "base_dataloader", loader)  # accelerate's wraps torch's
        if loader.num_workers:
            exiting = Event()
            loader.worker_init_fn = partial(self._outlive_signals, exiting, loader.worker_init_fn)
            atexit.register(exiting.set)  # a program that ends with an error sends SIGTERM to its loaders and waits

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        if state.global_step % self.period == 0 and self._any_process_received(args):
            control.should_log = control.should_save = control.should_training_stop = True

    def _note(self, number: int, frame: Any) -> None:
        self.received = True

    @classmethod
    def _outlive_signals(cls, exiting: EventType, before: Callable[[int], None] | None, worker: int) -> None:
        """Start a process of a data loader: torch's own handler of SIGTERM, set just before, would end it."""

        def end_with_the_program(number: int, frame: Any) -> None:
            if exiting.is_set():
                os._exit(0)

        for number in cls.SIGNALS:
            signal.signal(number, end_with_the_program)
        if before:
            before(worker)

    def _any_process_received(self, args: TrainingArguments) -> bool:
        if args.world_size == 1:
            return self.received
        # Signals reach the processes at different steps; all must stop at the same one.
        received = torch.tensor(float(self.received), device=args.device)
        torch.distributed.all_reduce(received)
        return received.item() > 0


class EndAlreadyReached(Exception):
    """A resumed training has no step left."""


class StopBeforeTheFirstStep(TrainerCallback):
    """Raises EndAlreadyReached when the stage's last checkpoint is resumed: the trainer would take one step more.

    By then all of the checkpoint is loaded, by whatever engine, so outputs can be written as after the last step.
    Raises UserError for a stage that is to end beyond its schedule, whose length the trainer alone knows.
    """

    def __init__(self, stop_at: int | None) -> None:
        self.stop_at = stop_at

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        if self.stop_at and self.stop_at > state.max_steps:
            raise UserError(f"--stop_at {self.stop_at}: the schedule has {state.max_steps} steps; give a smaller one")
        if state.global_step >= (self.stop_at or state.max_steps):
            raise EndAlreadyReached


class StopAt(TrainerCallback):
    """Ends the training after step `step` with a whole checkpoint, in the middle of the schedule."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        if state.global_step == self.step:
            control.should_log = control.should_save = control.should_training_stop = True


class LogWhenSaving(TrainerCallback):
    """Logs before each checkpoint: what the trainer has summed up since the last log is in no checkpoint.

    So a resumed training logs the same numbers, and bad ones are seen before they are saved.
    """

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        control.should_log |= control.should_save


class ReplayEarlierEpochs(TrainerCallback):
    """On resuming in a later epoch, draws the earlier epochs' orders, so that this epoch's is the same.

    TRL's RepeatSampler shuffles with a generator that starts afresh in each process. It draws an order
    when its iteration starts.
    """

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        batches = kw["train_dataloader"].batch_sampler
        while isinstance(batches, BatchSamplerShard):
            batches = batches.batch_sampler
        for _ in range(int(state.epoch or 0)):
            next(iter(batches.sampler))


class LogProgress(TrainerCallback):
    """One readable line at each logging step, and one now and then in between.

    `end`: the step to end at, where that is not the schedule's last.
    """

    def __init__(self, end: int | None = None) -> None:
        self.end = end

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        self.progress = Progress(self.end or state.max_steps, "steps", state.global_step)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        if state.is_world_process_zero:
            self.progress.update(state.global_step)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        logs = kw["logs"]
        if not state.is_world_process_zero or "loss" not in logs:
            return
        parts = [name for name in logs if name.startswith("rewards/") and name.endswith("/mean")]
        names = [*_SHOWN[:_PARTS_AT], *parts, *_SHOWN[_PARTS_AT:]]
        shown = "  ".join(f"{name} {logs[name]:.4g}" for name in names if isinstance(logs.get(name), float))
        self.progress.log(state.global_step, shown)


_SHOWN = (
    *("loss", "grad_norm", "reward", "group_reward_std", "frac_reward_zero_std"),
    *("kl", "completions/mean_length", "completions/clipped_ratio", "mean_token_accuracy"),
)
_PARTS_AT = _SHOWN.index("kl")  # the parts of the reward, whatever they are, stand before it
