import logging
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from multiprocessing import active_children
from types import SimpleNamespace

import pytest
from accelerate import Accelerator, skip_first_batches
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, DataLoader
from trl.trainer.utils import RepeatSampler

from vision_r1.files import UserError
from vision_r1.training.callbacks import (
    EndAlreadyReached,
    LogProgress,
    MarkCompleteCheckpoints,
    ReplayEarlierEpochs,
    StopBeforeTheFirstStep,
    StopOnSignal,
)


def dataloader(processes):
    """Rows 0..11 as TRL's loader gives them to process 0: in groups of two, in a new random order each epoch."""
    batches = BatchSampler(RepeatSampler(range(12), mini_repeat_count=2, batch_size=2, seed=0), 4, drop_last=False)
    if processes > 1:
        batches = BatchSamplerShard(batches, num_processes=processes, process_index=0)
    return DataLoader(list(range(12)), batch_sampler=batches)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("epoch", [None, 0.5, 1.0, 2.25])
def test_a_resumed_epoch_keeps_its_order(processes, epoch):
    whole, resumed = dataloader(processes), dataloader(processes)
    orders = [[batch.tolist() for batch in whole] for _ in range(3)]
    assert orders[0] != orders[1] != orders[2]
    ReplayEarlierEpochs().on_train_begin(None, SimpleNamespace(epoch=epoch), None, train_dataloader=resumed)
    assert [batch.tolist() for batch in resumed] == orders[int(epoch or 0)]


def test_progress_is_also_logged_between_logging_steps(monkeypatch, caplog):
    monkeypatch.setattr("vision_r1.progress.PAUSE", 0)
    caplog.set_level(logging.INFO)
    progress, state = LogProgress(end=4), SimpleNamespace(max_steps=6, global_step=0, is_world_process_zero=True)
    progress.on_train_begin(None, state, None)
    for state.global_step in range(3):
        progress.on_step_begin(None, state, None)
    progress.on_log(None, state, None, logs={"loss": 0.5, "kl": 0.25})
    assert [line.partition(" steps")[0] for line in caplog.messages] == [f"progress {step}/4" for step in (1, 2, 2)]
    assert "  loss 0.5  kl 0.25  " in caplog.messages[-1]


@pytest.mark.parametrize("skipped", [0, 1])
def test_processes_that_load_data_outlive_a_signal(skipped):
    loader = Accelerator(cpu=True).prepare(DataLoader(range(40), batch_size=2, num_workers=2))
    stop = StopOnSignal(1)
    stop.on_train_begin(None, None, None, train_dataloader=loader)
    try:
        found = iter(skip_first_batches(loader, skipped))
        batches = [next(found)]
        for worker in active_children():
            # From a third process: torch lets a loader end its own workers.
            subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
        batches += found
    finally:
        stop.on_train_end(None, None, None)
    assert [number for batch in batches for number in batch.tolist()] == [*range(2 * skipped, 40)]


FAILS = """
from accelerate import Accelerator
from torch.utils.data import DataLoader
from vision_r1.training.callbacks import StopOnSignal

def train(loader):
    batches = iter(loader)  # as long as the error's traceback lives, so do the loader's processes
    next(batches)
    raise MemoryError

loader = Accelerator(cpu=True).prepare(DataLoader(range(40), batch_size=2, num_workers=2))
StopOnSignal(1).on_train_begin(None, None, None, train_dataloader=loader)
train(loader)
"""


def test_a_training_that_fails_ends_although_its_loaders_outlive_signals(root):
    environment = os.environ | {"PYTHONPATH": str(root / "workflow/scripts")}
    failed = subprocess.run([sys.executable, "-c", FAILS], env=environment, capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1 and failed.stderr.rstrip().endswith("MemoryError")


def test_after_the_training_signals_do_what_they_did_before():
    before = [signal.getsignal(number) for number in StopOnSignal.SIGNALS]
    stop = StopOnSignal(1)
    stop.on_train_begin(None, None, None, train_dataloader=SimpleNamespace(num_workers=0))
    assert [signal.getsignal(number) for number in StopOnSignal.SIGNALS] == [stop._note] * 2
    stop.on_train_end(None, None, None)
    assert [signal.getsignal(number) for number in StopOnSignal.SIGNALS] == before


def test_a_resumed_training_counts_its_time_on():
    assert MarkCompleteCheckpoints(100.0).seconds == pytest.approx(100, abs=5)


@pytest.mark.parametrize(
    ("stop_at", "step", "error"),
    [(None, 5, None), (6, 5, None), (5, 5, EndAlreadyReached), (None, 6, EndAlreadyReached), (7, 5, UserError)],
)
def test_a_stage_without_a_step_left(stop_at, step, error):
    state = SimpleNamespace(global_step=step, max_steps=6)
    with pytest.raises(error) if error else nullcontext():
        StopBeforeTheFirstStep(stop_at).on_train_begin(None, state, None)
