"""Trainings in separate processes that may be killed, forked from a server that imported torch and TRL once."""

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engines import run_on_cpu

PLACES = [str(Path(__file__).parents[1] / "workflow/scripts"), str(Path(__file__).parent)]
WARM = (
    *(
        "processes",
        "train_sft",
        "train_grpo",
        "datasets",
        "vision_r1.training.stage",
        "vision_r1.training.grpo",
        "vision_r1.training.outputs",
    ),
    *("trl.trainer.grpo_trainer", "trl.trainer.sft_trainer", "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"),
    *("transformers.models.qwen2_5_vl.processing_qwen2_5_vl", "vision_r1.processors"),
    *("deepspeed", "torch.distributed.fsdp"),
)


@dataclass
class Run:
    """One process; `output` is what it wrote to standard output and standard error."""

    process: multiprocessing.Process
    log: Path

    def wait(self, seconds):
        """Return the exit code; raises AssertionError if it has not ended by then."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running after {seconds} s:\n{self.output()}"
        return self.process.exitcode

    def kill(self):
        self.process.kill()
        self.process.join()

    def output(self):
        return self.log.read_text(errors="replace")


class Processes:
    """Starts functions of this module, by name, with command-line arguments."""

    def __init__(self, folder):
        self.folder = folder
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(list(WARM))
        os.environ["PYTHONPATH"] = os.pathsep.join(PLACES)  # the server learns of them in no other way
        os.environ["TRACKIO_DIR"] = str(folder / "trackio")  # read when trackio is imported, which TRL does
        self.runs = []

    def start(self, function, words, environment=None):
        log = self.folder / f"{len(self.runs)}.log"
        process = self.context.Process(target=_run, args=(function, words, log, environment or {}))
        process.start()
        self.runs.append(Run(process, log))
        return self.runs[-1]

    def start_ranks(self, function, words_of_rank, environment=None):
        """Start one process for each list of arguments, as torchrun would; they connect over gloo."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        size = str(len(words_of_rank))
        shared = (environment or {}) | place | {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        return [
            self.start(function, words, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank, words in enumerate(words_of_rank)
        ]

    def run_ranks(self, function, words_of_rank, environment=None):
        """Run such processes to the end and return them; raises AssertionError if one fails."""
        ranks = self.start_ranks(function, words_of_rank, environment)
        for rank in ranks:
            assert rank.wait(600) == 0, rank.output()
        return ranks

    def stop(self):
        for run in self.runs:
            run.kill()


def _run(function, words, log, environment):
    for name in ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR"):  # left over from an earlier training in the tests' process
        os.environ.pop(name, None)
    os.environ.update(environment)
    if environment.get("ACCELERATE_TORCH_DEVICE") == "cpu":
        run_on_cpu()
    if environment.get("DIE_AT"):
        _die_at_a_save(*environment["DIE_AT"].split())
    if environment.get("STOP_AT") and environment["RANK"] == "1":
        _get_sigterm(int(environment["STOP_AT"]))
    if environment.get("RANK") == "1":
        _resume_late()
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1)
    from vision_r1 import cli

    cli.run(globals()[function], words)


def _die_at_a_save(step, moment):
    """Kill the process that writes a step's checkpoint, before (`unmarked`) or after it is marked as complete."""
    from vision_r1.training import callbacks

    original = callbacks.mark_complete

    def mark(checkpoint, seconds, hashes):
        this = checkpoint.name == f"checkpoint-{step}"
        if not (this and moment == "unmarked"):
            original(checkpoint, seconds, hashes)
        if this:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.mark_complete = mark


def _get_sigterm(step):
    """Send SIGTERM to this process during a step."""
    from vision_r1.training import callbacks

    def begin(self, args, state, control, **kwargs):
        if state.global_step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    callbacks.LogProgress.on_step_begin = begin


def _resume_late():
    """Make this process the last one to read a checkpoint; no other process may remove it earlier."""
    from transformers import Trainer

    original = Trainer._load_optimizer_and_scheduler

    def load(self, checkpoint):
        if checkpoint:
            time.sleep(0.5)
        original(self, checkpoint)

    Trainer._load_optimizer_and_scheduler = load


def sft(words):
    import train_sft

    train_sft.main(words)


def grpo(words):
    import train_grpo

    train_grpo.main(words)


def grpo_to_its_exit(words):
    """Train in a new interpreter: trackers write the rest of their data at its exit, which a forked process skips."""
    grpo(words)
    atexit._run_exitfuncs()


def canned_grpo(words):
    from canned import canned_completions

    with canned_completions():
        grpo(words)


def hang_in_a_reward(words):
    import train_grpo

    from vision_r1.rewards import RewardFunction

    RewardFunction.__call__ = lambda self, completions, **columns: time.sleep(600)
    train_grpo.main(words)
