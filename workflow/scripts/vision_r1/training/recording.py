"""What a training records besides TRL's own logs: speed, memory, spread of advantages, sampled completions."""

import math
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vision_r1.files import UserError, read_jsonl, write_jsonl
from vision_r1.resources import peak_rss_mb

TRACKERS = ("tensorboard", "wandb", "trackio")


def check_trackers(report_to: list[str]) -> None:
    """Raise UserError for a tracker that is not known or not installed."""
    for name in report_to:
        if name not in TRACKERS:
            raise UserError(f"--report_to {name}: unknown tracker; choose none, {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"--report_to {name}: not installed beside {sys.executable}; pip install {name}, or none")


class AddMetrics(TrainerCallback):
    """Adds to each log: samples per second, peak memory and, for the latest generation, the numbers of _of_groups.

    Goes before all other callbacks, so that they see these numbers.
    """

    def __init__(self, trainer: Trainer, samples_per_step: float) -> None:
        self.trainer, self.samples_per_step = trainer, samples_per_step

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        self.logged_at, self.logged_step = time.monotonic(), state.global_step

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        if "loss" not in kw["logs"]:
            return
        now, steps = time.monotonic(), state.global_step - self.logged_step
        extra = {
            "samples_per_second": self.samples_per_step * steps / max(now - self.logged_at, 1e-9),
            "peak_rss_mb": peak_rss_mb(),
            **({"peak_gpu_mb": torch.cuda.max_memory_allocated() / 2**20} if torch.cuda.is_available() else {}),
            **_of_groups(self.trainer),
        }
        self.logged_at, self.logged_step = now, state.global_step
        kw["logs"].update(extra)
        state.log_history[-1].update(extra)


def _of_groups(trainer: Trainer) -> dict[str, float]:
    """Return, for GRPO: the spread of the advantages; the mean over groups of the spread of a group's rewards (TRL's
    reward_std is that of the batch); and the share of completions that repeat an earlier one of their group.
    """
    if not hasattr(trainer, "num_generations"):
        return {}
    texts = [completion[0]["content"] for completion in trainer._logs["completion"]]
    size = trainer.num_generations
    distinct = sum(len(set(texts[start : start + size])) for start in range(0, len(texts), size))
    rewards = np.array([list(values) for values in trainer._logs["rewards"].values()], float)  # (functions, texts)
    sums = np.nansum(rewards * trainer.reward_weights.cpu().numpy()[:, None], axis=0)
    return {
        "advantage_std": float(np.array(trainer._logs["advantages"]).std()),
        "group_reward_std": float(sums.reshape(-1, size).std(axis=1, ddof=1).mean()),
        "repeated_completions": 1 - distinct / len(texts),
    }


class SampleCompletions(TrainerCallback):
    """Keeps the first `count` completions of every `every`-th step, with prompt, rewards, advantage and verdict.

    One file per step in the state folder, so that a resumed training overwrites its steps and repeats none.
    """

    def __init__(self, trainer: Trainer, every: int, count: int) -> None:
        # TRL gathers them here over all processes; its own --log_completions prints them or asks for a tracker.
        self.kept, self.every, self.count = trainer._logs, every, count

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        if state.is_world_process_zero and state.global_step % self.every == 0:
            rows = [self._row(state.global_step, index) for index in range(min(self.count, len(self.kept["prompt"])))]
            write_jsonl(Path(args.output_dir) / f"completions/{state.global_step:08d}.jsonl", rows)

    def _row(self, step: int, index: int) -> dict[str, Any]:
        return {
            "step": step,
            "prompt": _text(self.kept["prompt"][index]),
            "completion": _text(self.kept["completion"][index]),
            "rewards": {name: finite_or_none(values[index]) for name, values in self.kept["rewards"].items()},
            "advantage": self.kept["advantages"][index],
            **{name: values[index] for name, values in self.kept["extra"].items()},
        }


def sampled(state: str | Path, last_step: int) -> list[dict[str, Any]]:
    """Return the sampled completions of a state folder up to `last_step`, oldest first."""
    files = sorted((Path(state) / "completions").glob("*.jsonl"))
    return [row for file in files if int(file.stem) <= last_step for row in read_jsonl(file)]


def finite_or_none(value: Any) -> Any:
    """Return a value that JSON can hold: None in place of infinity and NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(messages: list[dict[str, Any]]) -> str:
    content = messages[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
