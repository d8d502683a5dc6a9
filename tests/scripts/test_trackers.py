"""Each tracker that logging.report_to accepts records a training of a few steps, without a network."""

import json
import sqlite3

import pytest
from training_helpers import arguments

GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0, "max_steps": 3},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75, "max_completion_length": 1},
}


@pytest.fixture
def train(processes, tiny_checkpoint, train_file, tmp_path):
    """Return a function that trains in a separate process and returns the folder of its outputs."""

    def run(tracker, **environment):
        out = tmp_path / "grpo_stage1"
        words = arguments(tiny_checkpoint, train_file, out, **GRPO, report_to=tracker)
        process = processes.start("grpo_to_its_exit", words, environment)
        assert process.wait(300) == 0, process.output()
        return out

    return run


@pytest.mark.slow
def test_tensorboard(train):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(train("tensorboard") / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/reward", "train/rewards/recall/mean"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]


def test_wandb_offline(train):
    pytest.importorskip("wandb")
    out = train("wandb", WANDB_MODE="offline")
    (file,) = (out / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()  # protocol buffer records, for which wandb has no reader
    assert content.count(b"train/loss") >= 3
    assert all(b"train/global_step\x82\x01\x01%d" % step in content for step in (1, 2, 3))


def test_trackio(train, processes):
    pytest.importorskip("trackio", reason="Trackio needs an environment of its own (docs/gpu.md)")
    train("trackio")
    (file,) = (processes.folder / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        rows = [json.loads(row) for (row,) in database.execute("select metrics from metrics order by id")]
    assert sum("train/loss" in row for row in rows) == 3
