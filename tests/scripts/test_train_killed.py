"""`kill -9` at random moments, even while a checkpoint is written, in all three trainings: same weights, same logs."""

import contextlib
import random
import signal
import sys
import time

import pytest
from training_helpers import arguments, logged, weights_hash

from vision_r1.files import UserError, read_jsonl
from vision_r1.training.checkpoints import is_complete

pytestmark = pytest.mark.slow

STEPS = 24
GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0, "beta": 0.04},
    **{
        "max_completion_length": 1,
        "criterion": "released_2025",
        "logging_steps": 3,
        "save_steps": 2,
        "max_steps": STEPS,
    },
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}


@pytest.fixture(scope="module")
def chain(tiny_checkpoint, train_file, tmp_path_factory):
    """Return a function (training, folder) -> the arguments of `start`, and the folder of uninterrupted runs."""
    whole = tmp_path_factory.mktemp("whole")
    shared = {**GRPO, "reference": tiny_checkpoint}

    def words(name, out):
        if name == "sft":
            options = {"per_device_train_batch_size": 2, "logging_steps": 3, "max_steps": STEPS}
            return "sft", arguments(tiny_checkpoint, train_file, out, **options)
        if name == "stage1":
            kept = {"output_completions": out / "completions.jsonl", "sample_steps": 2}
            end = {"stop_at": STEPS // 2, "output_checkpoint": out / "checkpoint"}
            return "grpo", arguments(tiny_checkpoint, train_file, out, **shared, **kept, **end)
        stricter = {"recall_threshold": 0.75, "precision_low": 0.75, "precision_high": 0.9}
        options = {**shared, **stricter, "continue_from": whole / "stage1/checkpoint"}
        return "grpo", arguments(whole / "stage1/model", train_file, out, **options)

    return words, whole


def checkpoints(state):
    """Return {path: is it complete}; a checkpoint may be removed meanwhile."""
    found = {}
    for path in state.glob("*/checkpoint-*"):
        with contextlib.suppress(OSError, UserError):
            found[path] = is_complete(path)
    return found


MOMENTS = {
    "before the first checkpoint": lambda state, before: any(state.glob("*/settings.json")),
    "while one is written": lambda state, before: not all((found := checkpoints(state)).values()) and found != before,
    "after one is whole": lambda state, before: any(
        whole for path, whole in checkpoints(state).items() if not before.get(path)
    ),
    "while outputs are written": lambda state, before: (
        (state.parent / "model").exists() or any(state.parent.glob(".*.partial"))
    ),
}


@pytest.mark.parametrize("name", ["sft", "stage1", "stage2"])
def test_killed_at_random_moments(name, chain, processes, tmp_path):
    words, whole = chain
    assert processes.start(*words(name, whole / name)).wait(120) == 0

    seed = time.time_ns() % 100_000
    rng = random.Random(seed)
    sys.stdout.write(f"{name}: seed {seed}\n")  # pytest shows it if the test fails
    out = tmp_path / name
    first, *middle, end = MOMENTS
    killed = 0
    for kind in (first, *rng.sample(2 * middle, 3), end):
        before = checkpoints(out / "state")
        run = processes.start(*words(name, out))
        while run.process.is_alive() and not MOMENTS[kind](out / "state", before):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02 if kind.startswith("while") else 0.1))
        run.kill()
        left = {path.name: is_whole for path, is_whole in checkpoints(out / "state").items()}
        sys.stdout.write(f"  {kind}: exit {run.process.exitcode}, left {left}\n")
        killed += run.process.exitcode == -signal.SIGKILL
    assert killed >= 2
    last = processes.start(*words(name, out))
    assert last.wait(120) == 0, last.output()
    assert weights_hash(out / "model") == weights_hash(whole / name / "model")
    assert logged(out) == logged(whole / name)
    if name == "stage1":
        assert read_jsonl(out / "completions.jsonl") == read_jsonl(whole / name / "completions.jsonl")
        assert is_complete(out / "checkpoint")
