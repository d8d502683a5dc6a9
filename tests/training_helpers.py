"""Helpers of the tests of both training programs."""

import hashlib
import os
import signal

import pytest
from comparable import MEASURED
from safetensors.torch import load_file

import vision_r1.training.callbacks as callbacks
import vision_r1.training.checkpoints as checkpoints
from vision_r1.files import read_json, read_jsonl


def arguments(checkpoint, train_file, out, /, **options):
    """Return command-line arguments; `options` replace the defaults here or, if None, remove them."""
    values = {
        **{"family": "qwen2_5_vl", "init": checkpoint, "train_file": train_file, "state": out / "state"},
        **{
            "output_model": out / "model",
            "output_metrics": out / "metrics.json",
            "output_history": out / "history.jsonl",
        },
        **{"min_pixels": 784, "max_pixels": 7056, "threads": 1, "seed": 1, "bf16": False, "use_cpu": True},
        **{"gradient_checkpointing": False, "learning_rate": 1e-3, "max_steps": 6, "save_steps": 2, "logging_steps": 1},
        **options,
    }
    return [word for key, value in values.items() if value is not None for word in (f"--{key}", str(value))]


def weights_hash(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def logged(folder):
    """Return what a training logged, without times and memory."""
    return [
        {name: value for name, value in row.items() if name not in MEASURED}
        for row in read_jsonl(folder / "history.jsonl")
    ]


def largest_change(before, after):
    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    assert old.keys() == new.keys()
    return max(float((old[name] - new[name]).abs().max()) for name in old)


def check_outputs(out, checkpoint, steps):
    """Check that a finished training's outputs exist, agree, and that its weights differ from the initial ones."""
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")} - {"completions.jsonl"}
    assert names == {"history.jsonl", "metrics.json", "model", "state"}
    assert [path.name for path in (out / "state").iterdir()] == ["finished"]
    assert not list(out.rglob("*.bin")) + list(out.rglob("*.pt"))
    assert largest_change(checkpoint, out / "model") > 1e-4
    metrics = read_json(out / "metrics.json")
    logged = [entry["step"] for entry in read_jsonl(out / "history.jsonl") if "loss" in entry]
    assert logged == list(range(1, steps + 1))
    assert (metrics["stage"], metrics["steps"], metrics["final"]["step"]) == (out.name, steps, steps)
    assert metrics["seconds"] > 0 and metrics["parameters"] > 1000 and metrics["peak_rss_mb"] > 100
    assert set(metrics["versions"]) >= {"torch", "transformers", "trl"}


def stop_by_signal(main, words, state, monkeypatch, step, number=signal.SIGTERM, sent=None):
    """Stop a training with a signal after step `sent` (default: the one before `step`); its checkpoint is complete."""
    sent = sent or step - 1
    with monkeypatch.context() as patch:
        original = callbacks.LogProgress.on_log

        def terminate(self, args, trainer_state, control, **kwargs):
            original(self, args, trainer_state, control, **kwargs)
            if trainer_state.global_step == sent:
                os.kill(os.getpid(), number)

        patch.setattr(callbacks.LogProgress, "on_log", terminate)
        with pytest.raises(SystemExit, match="143"):
            main(words)
    assert f"checkpoint-{step}" in _saved(state) and all(_saved(state).values())


def interrupt_twice(main, words, state, monkeypatch, first=3, number=signal.SIGTERM, sent=None):
    """Stop a training with a signal at step `first`, then as `kill -9` would while checkpoint-6 is being written."""
    stop_by_signal(main, words, state, monkeypatch, first, number, sent)

    class Killed(BaseException):
        pass

    with monkeypatch.context() as patch:
        original_mark = checkpoints.mark_complete

        def die(checkpoint, seconds, hashes):
            if checkpoint.name == "checkpoint-6":
                raise Killed
            original_mark(checkpoint, seconds, hashes)

        patch.setattr(callbacks, "mark_complete", die)
        with pytest.raises(Killed):
            main(words)
    saved = _saved(state)
    assert saved.pop("checkpoint-6") is False
    assert f"checkpoint-{max(first, 4)}" in saved and list(saved.values()) == [True, True]


def _saved(state):
    (training,) = state.iterdir()
    return {path.name: checkpoints.is_complete(path) for path in training.glob("checkpoint-*")}
