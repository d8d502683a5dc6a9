"""One training stage around a TRL trainer: what to resume from, training, and the outputs."""

import logging
import math
import shutil
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from vision_r1.files import UserError, read_json, write_json, write_jsonl, written_whole
from vision_r1.resources import peak_rss_mb
from vision_r1.stamps import code_stamp
from vision_r1.training.arguments import StageArguments
from vision_r1.training.callbacks import LogProgress, MarkCompleteCheckpoints, ReplayEarlierEpochs, StopOnSignal
from vision_r1.training.checkpoints import MARKER, fingerprint, last_complete, remove_incomplete

log = logging.getLogger(__name__)


PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets")


def prepare(arguments: StageArguments, config: TrainingArguments, program: str, **settings: Any) -> Path | None:
    """Point the trainer at its state folder and return the checkpoint to resume from, or None.

    The folder is named by all that decides the result: training file, parents' weights, configuration, number
    of processes and threads, versions, the code (that of `program`, or what --code stands for), and `settings`.
    So a training never resumes from another one's state.
    """
    if config.save_only_model:
        raise UserError("--save_only_model True: such checkpoints can't be resumed from; leave it out")
    torch.set_num_threads(arguments.threads)
    disable_progress_bar()
    config.disable_tqdm = True
    # Two: while the newest is being written, the one before it is the only whole one.
    config.save_total_limit = max(2, config.save_total_limit or 2)
    own = ("family", "min_pixels", "max_pixels", "dtype", "threads")
    settings |= {name: getattr(arguments, name) for name in own} | _decisive(config) | _versions()
    settings |= {"processes": config.world_size, "code": _code(arguments, program)}
    name = fingerprint(arguments.train_file, arguments.parents(), settings)
    config.output_dir = str(Path(arguments.state) / name)
    with PartialState().main_process_first():
        if config.should_save:
            remove_incomplete(config.output_dir)
        checkpoint = last_complete(config.output_dir)
    log.info("%s: %s", config.output_dir, f"resuming from {checkpoint.name}" if checkpoint else "starting afresh")
    return checkpoint


def train(trainer: Trainer, checkpoint: Path | None, period: int = 1) -> float:
    """Train to the end, from `checkpoint` on where there is one, and return the seconds over all interruptions.

    The trainer's model must hold the checkpoint's weights already: the trainer itself loads none of
    them into a Qwen2.5-VL and only warns. Exits with status 143 after a signal, with a checkpoint saved.
    """
    marks = MarkCompleteCheckpoints(read_json(checkpoint / MARKER)["seconds"] if checkpoint else 0.0)
    stop = StopOnSignal(period)
    trainer.remove_callback(PrinterCallback)
    for callback in (LogProgress(), marks, stop, ReplayEarlierEpochs()):
        trainer.add_callback(callback)
    if checkpoint:
        saved = read_json(checkpoint / "trainer_state.json")
        if saved["global_step"] >= saved["max_steps"]:
            # The trainer would take one step more.
            trainer.state = trainer.state.load_from_json(str(checkpoint / "trainer_state.json"))
            return marks.seconds
        logging.getLogger("transformers.trainer").addFilter(_not_about_keys)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step, steps = trainer.state.global_step, trainer.state.max_steps
    if step < steps:
        log.warning("stopped by a signal at step %d of %d; run again to go on", step, steps)
        sys.exit(143)
    return marks.seconds


def save(trainer: Trainer, arguments: StageArguments, seconds: float, samples_seen: int) -> None:
    """Write the model, the history and, last, the metrics; then remove the state, which they replace."""
    if not trainer.args.should_save:
        trainer.save_model(arguments.output_model)  # takes its part in gathering, writes nothing
        return
    with written_whole(arguments.output_model) as partial:
        trainer.save_model(str(partial))
        (partial / "training_args.bin").unlink()  # a pickle; the command line is in the log
    history = [{name: _finite(value) for name, value in entry.items()} for entry in trainer.state.log_history]
    write_jsonl(arguments.history, history)
    steps = [entry for entry in history if "loss" in entry]
    write_json(
        arguments.metrics,
        {
            "stage": Path(arguments.metrics).parent.name,
            "steps": trainer.state.global_step,
            "seconds": round(seconds, 1),
            "samples_seen": samples_seen,
            "parameters": sum(weight.numel() for weight in trainer.model.parameters()),
            "peak_rss_mb": peak_rss_mb(),
            "peak_gpu_mb": round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else None,
            "processes": trainer.args.world_size,
            "threads": torch.get_num_threads(),
            "versions": _versions(),
            "final": steps[-1] if steps else {},
        },
    )
    shutil.rmtree(arguments.state)


# Where files go, what is printed, and how the machine is used: none of it changes the trained weights.
_INDECISIVE = (
    *("output_dir", "run_name", "project", "report_to", "disable_tqdm", "local_rank", "resume_from_checkpoint"),
    *("log", "save_", "hub_", "push_to_hub", "trackio_", "dataloader_", "ddp_", "skip_memory_metrics", "use_cpu"),
)


def _decisive(config: TrainingArguments) -> dict[str, Any]:
    names = (item.name for item in fields(config) if item.init and not item.name.startswith(_INDECISIVE))
    return {name: getattr(config, name) for name in names}


def _code(arguments: StageArguments, program: str) -> str:
    return Path(arguments.code).read_text(encoding="utf-8") if arguments.code else code_stamp(program)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def _not_about_keys(record: logging.LogRecord) -> bool:
    # True as warnings go, and hundreds of names long, but the weights were loaded before.
    return "keys in the checkpoint model loaded" not in record.getMessage()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
