"""One training stage around a TRL trainer: finding what to resume from, and training."""

import logging
import os
import shutil
import sys
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from vision_r1 import finished
from vision_r1.files import (
    UserError,
    naming_full_disk,
    read_json,
    write_json,
)
from vision_r1.training.arguments import StageArguments, refused_by_trl
from vision_r1.training.callbacks import (
    EndAlreadyReached,
    LogProgress,
    LogWhenSaving,
    MarkCompleteCheckpoints,
    ReplayEarlierEpochs,
    StopAt,
    StopBeforeTheFirstStep,
    StopOnSignal,
)
from vision_r1.training.checkpoints import (
    MARKER,
    by_age,
    damaged_file,
    fingerprint,
    last_complete,
    prune,
    remove_damaged,
)
from vision_r1.training.fused_head import keep_head_beside_last_norm
from vision_r1.training.guards import (
    Guards,
    StopAtBrokenGradients,
    StopWhenBroken,
    StopWhenStalled,
    TrainingBroken,
)
from vision_r1.training.lora import check_adapters, check_embeddings
from vision_r1.training.recording import AddMetrics, check_trackers
from vision_r1.training.settings import FILE, check_frozen, check_same_schedule, differences, settings_of
from vision_r1.training.weights import keep_used_conversions, read_shapes
from vision_r1.trl_fields import NOT_RESUMED_EXACTLY

log = logging.getLogger(__name__)

# Given flat parts by DeepSpeed, adafactor silently becomes another algorithm. The other cases end in tracebacks.
NEED_WHOLE_WEIGHTS = ("adafactor", "adagrad")


@dataclass
class Stage:
    """One training: its arguments, the checkpoint that it resumes from (or None), and the step that it began at."""

    arguments: StageArguments
    checkpoint: Path | None
    first_step: int
    seconds: float  # of training, over all interruptions

    @property
    def weights(self) -> Path | str:
        """The folder that the model must be loaded from: the trainer itself loads no weights into a Qwen."""
        if self.arguments.lora_r:  # the trainer does load adapters, onto the weights that were frozen
            return self.arguments.frozen
        return self.checkpoint or self.arguments.init


def prepare(arguments: StageArguments, config: TrainingArguments, program: str, **method: Any) -> Stage:
    """Point the trainer at its state folder and find what there is to resume from. Loads no model.

    The folder is named by all that decides the result, settings_of these arguments, so a training never resumes from
    another one's state. Raises UserError for what can't be trained.
    """
    _check(config)
    check_gpus(arguments.gpus, config.use_cpu)
    beside = Path(arguments.output_history).parent
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(beside / "tensorboard"))
    os.environ.setdefault("WANDB_DIR", str(beside))
    torch.set_num_threads(arguments.threads)
    disable_progress_bar()
    config.disable_tqdm = True
    # The default elsewhere than on Linux, spawn, pickles the data set, whose images share a cache.
    config.dataloader_multiprocessing_context = "fork" if config.dataloader_num_workers else None
    config.logging_nan_inf_filter = False  # it would hide a broken loss
    config.save_total_limit = None  # see MarkCompleteCheckpoints
    read_shapes(Path(arguments.init))  # compared with the trained weights: better unreadable now than at the end
    settings = settings_of(arguments, config, program, method)
    config.output_dir = str(Path(arguments.state) / fingerprint(settings))
    _exit_if_finished(arguments, config)
    first_step = 0
    if arguments.continue_from:
        check_same_schedule(arguments.continue_from, settings)
        if arguments.lora_r:
            check_frozen(arguments.continue_from, arguments.frozen)
        first_step = read_json(Path(arguments.continue_from) / "trainer_state.json")["global_step"]
    with PartialState().main_process_first():
        if config.should_save:
            remove_damaged(config.output_dir)
            log.info("%s: %s", config.output_dir, _beginning(Path(config.output_dir), settings))
            write_json(Path(config.output_dir) / FILE, settings)
            shutil.rmtree(finished.place(Path(arguments.state)), ignore_errors=True)  # of another training
            prune(arguments.state)
        checkpoint = last_complete(config.output_dir)
        if config.should_save and not checkpoint and arguments.continue_from:
            if damaged := damaged_file(arguments.continue_from):
                raise UserError(
                    f"--continue_from {arguments.continue_from}: {damaged} is damaged; train that stage again"
                )
    seconds = read_json(checkpoint / MARKER)["seconds"] if checkpoint else 0.0
    if not checkpoint and arguments.continue_from:
        checkpoint = Path(arguments.continue_from)
        log.info("resuming from step %d of the stage before", first_step)
    return Stage(arguments, checkpoint, first_step, seconds)


def _exit_if_finished(arguments: StageArguments, config: TrainingArguments) -> None:
    """Exit where this very training is finished: its outputs exist, or are restored from where they are kept."""
    name, kept = Path(config.output_dir).name, finished.place(Path(arguments.state))
    with PartialState().main_process_first():
        if is_done(arguments, name):
            log.info("%s: this training was finished by another job", arguments.output_metrics)
        elif config.should_save and finished.restore(kept, name, arguments.outputs()):
            log.info("%s: restored: this very training was finished before; --force trains again", kept)
    if is_done(arguments, name):
        sys.exit(0)


def _check(config: TrainingArguments) -> None:
    """Raise UserError for options of the trainer that can't be resumed, or can't work here."""
    if config.save_strategy == "no":
        raise UserError("--save_strategy no: an interrupted training would start afresh; leave it out")
    if config.save_strategy == "steps" and config.save_steps <= 0:
        raise UserError(f"--save_steps {config.save_steps:g}: an interrupted training would start afresh; give more")
    if config.push_to_hub:
        raise UserError("--push_to_hub: leave it out; push_to_hub.py uploads a finished release")
    if config.max_steps == 0:
        raise UserError("--max_steps 0: give at least 1, or -1 and --num_train_epochs")
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name in NOT_RESUMED_EXACTLY and value != item.default:
            raise UserError(f"--{item.name} {value}: it can't be resumed exactly; leave it out")
    if (method := config.dataloader_multiprocessing_context) not in (None, "fork"):
        raise UserError(f"--dataloader_multiprocessing_context {method}: images are shared by fork only; leave it out")
    for engine in ("DeepSpeed", "FSDP"):
        if config.optim in NEED_WHOLE_WEIGHTS and os.environ.get(f"ACCELERATE_USE_{engine.upper()}") == "true":
            raise UserError(
                f"--optim {config.optim.value}: doesn't work on the parts of weights that {engine} gives it; "
                "give adamw_torch_fused, or launch with DDP"
            )
    check_trackers(config.report_to)
    if config.use_liger_kernel and not find_spec("liger_kernel"):
        raise UserError("--use_liger_kernel: the package is missing; pip install liger-kernel")


def _beginning(state: Path, settings: dict[str, Any]) -> str:
    """Return, for the log, which checkpoint a training resumes from, or why it starts afresh."""
    checkpoint = last_complete(state)
    if checkpoint:
        return f"resuming from {checkpoint.name}"
    if state.is_dir():
        return "starting afresh: it holds no whole checkpoint"
    others = [path for path in by_age(state.parent) if (path / FILE).is_file()] if state.parent.is_dir() else []
    if not others:
        return "starting afresh"
    try:
        different = differences(read_json(others[-1] / FILE), settings)
    except UserError:  # cut off by a power cut
        return "starting afresh"
    return f"starting afresh, as {others[-1].name} was trained with other settings: {'; '.join(different)}"


def is_done(arguments: StageArguments, name: str) -> bool:
    """Tell whether all outputs of this very training exist, because another job has made them meanwhile.

    Snakemake deletes outputs before a job starts. So what a job finds after waiting for its twin is the twin's.
    """
    if not all(path.exists() for path in arguments.outputs().values()):
        return False
    return read_json(arguments.output_metrics).get("fingerprint") == name


def check_gpus(asked: int | None, use_cpu: bool) -> None:
    """Raise UserError unless the GPUs visible on all machines are as many as requested, and each has its process."""
    if asked is None or (use_cpu and not asked):
        return
    if use_cpu:
        raise UserError(f"--gpus {asked} with --use_cpu True: ask for none, or train on them")
    world = int(os.environ.get("WORLD_SIZE", 1))
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    here, visible = asked * processes // world, torch.cuda.device_count()
    if here != visible:
        raise UserError(f"--gpus {here}: {visible} are visible; fix the request, CUDA_VISIBLE_DEVICES or --use_cpu")
    if here != processes and here:
        raise UserError(f"--gpus {here}: {processes} processes on this machine; start one for each GPU")


def train(trainer: Trainer, stage: Stage, guards: Guards, samples_per_step: float, period: int = 1) -> None:
    """Train to the end of the stage, resuming from its checkpoint where there is one.

    The trainer's model must hold the weights of `stage.weights` already: the trainer itself loads none of
    them into a Qwen2.5-VL and only warns. Exits with status 143 after a signal, with a checkpoint saved.
    `period`: a checkpoint resumes exactly only at steps that are multiples of it.
    """
    check_embeddings(trainer.accelerator.unwrap_model(trainer.model))
    arguments, checkpoint = stage.arguments, stage.checkpoint
    marks, stop = MarkCompleteCheckpoints(stage.seconds), StopOnSignal(period)
    watch = StopWhenStalled(guards.guard_stalled_minutes)
    broken = [StopAtBrokenGradients(), StopWhenBroken(guards)]
    callbacks = [LogProgress(arguments.stop_at), *broken, watch, marks, stop, ReplayEarlierEpochs()]
    if arguments.stop_at:
        callbacks.append(StopAt(arguments.stop_at))
    trainer.remove_callback(PrinterCallback)
    first = [StopBeforeTheFirstStep(arguments.stop_at), AddMetrics(trainer, samples_per_step)]
    trainer.callback_handler.callbacks[:0] = first
    for callback in (*callbacks, LogWhenSaving()):
        trainer.add_callback(callback)
    if checkpoint:
        state = trainer.state.load_from_json(str(checkpoint / "trainer_state.json"))
        if state.global_step >= state.max_steps and checkpoint == Path(arguments.continue_from or ""):
            raise UserError(f"--continue_from {checkpoint}: the stage before took all {state.max_steps} steps")
        check_adapters(trainer.model, checkpoint)
        _continue_token_count(trainer, state)
        logging.getLogger("transformers.trainer").addFilter(_not_about_keys)
    # A package may be missing, or the arguments may belong to another optimiser.
    for name in ("create_optimizer", "create_scheduler"):
        setattr(trainer, name, refused_by_trl(TypeError)(getattr(trainer, name)))
    keep_used_conversions(trainer.accelerator.unwrap_model(trainer.model))
    keep_head_beside_last_norm()
    try:
        with naming_full_disk(f"{trainer.args.output_dir}/checkpoint"):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except EndAlreadyReached:
        trainer.accelerator.wait_for_everyone()  # another process may still read the state that will be removed
        return
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        where = f"{trainer.args.output_dir}, step {trainer.state.global_step}"
        raise TrainingBroken(
            f"{where}: probabilities of the next token are not finite; lower --learning_rate"
        ) from None
    finally:
        watch.stop()
    stage.seconds = marks.seconds
    step, end = trainer.state.global_step, arguments.stop_at or trainer.state.max_steps
    if step < end:
        log.warning("stopped by a signal at step %d of %d; rerun to resume", step, end)
        sys.exit(143)


def _continue_token_count(trainer: Trainer, state: TrainerState) -> None:
    """Let TRL's SFTTrainer count tokens on from a checkpoint's last log; each process begins at 0."""
    counts = [entry["num_tokens"] for entry in state.log_history if "num_tokens" in entry]
    if counts:
        trainer._total_train_tokens = int(counts[-1])


def _not_about_keys(record: logging.LogRecord) -> bool:
    # The warning lists hundreds of weights that the trainer didn't load; they were loaded before, by load_model.
    return "keys in the checkpoint model loaded" not in record.getMessage()
