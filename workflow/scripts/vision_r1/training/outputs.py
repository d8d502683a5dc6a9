"""What a finished training hands on: model, history, completions, checkpoint and metrics; and where they are kept."""

import shutil
from pathlib import Path

import torch
from transformers import Trainer

from vision_r1 import finished
from vision_r1.files import hash_files, link_or_copy, read_json, sync, write_json, write_jsonl, written_whole
from vision_r1.resources import hardware, peak_rss_mb
from vision_r1.training.checkpoints import MARKER, by_age, mark_complete
from vision_r1.training.recording import finite_or_none, sampled
from vision_r1.training.settings import FILE, versions
from vision_r1.training.stage import Stage
from vision_r1.training.weights import count_parameters, save_model


def save(trainer: Trainer, stage: Stage, prompts_per_step: float) -> None:
    """Write the model, the history, the checkpoint and, last, the metrics; then remove the state.

    Only one process writes. The history holds this stage's steps, counted from the start of the schedule, without the
    summary that transformers logs last: it tells of the steps since the last start only.
    """
    arguments = stage.arguments
    kept = save_model(trainer, arguments.output_model, arguments.init, arguments.dtype)
    if not trainer.args.should_save:
        return
    # Sorted: the trainer's state, which an interrupted training reads again, is.
    history = [
        {name: finite_or_none(value) for name, value in sorted(entry.items())}
        for entry in trainer.state.log_history
        if entry["step"] > stage.first_step and "loss" in entry
    ]
    write_jsonl(arguments.output_history, history, sealed=True)
    if arguments.output_completions:
        completions = sampled(trainer.args.output_dir, trainer.state.global_step)
        write_jsonl(arguments.output_completions, completions, sealed=True)
    if arguments.output_checkpoint and arguments.stop_at:
        last = Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}"
        keep_checkpoint(last, Path(arguments.output_checkpoint), stage.seconds)
    elif arguments.output_checkpoint:
        Path(arguments.output_checkpoint).mkdir(parents=True, exist_ok=True)
    steps = trainer.state.global_step - stage.first_step
    write_json(
        arguments.output_metrics,
        {
            "stage": Path(arguments.output_metrics).parent.name,
            "fingerprint": Path(trainer.args.output_dir).name,
            "steps": steps,
            "seconds": round(stage.seconds, 1),
            "samples_seen": round(steps * prompts_per_step),
            **({} if kept is None else {"adapters_kept": finite_or_none(round(kept, 4))}),
            "parameters": count_parameters(Path(arguments.output_model)),
            "peak_rss_mb": peak_rss_mb(),
            "peak_gpu_mb": round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else None,
            "hardware": hardware(),
            "processes": trainer.args.world_size,
            "threads": torch.get_num_threads(),
            "versions": versions(trainer.args),
            "final": history[-1] if history else {},
        },
        sealed=True,
    )
    for path in filter(Path.is_file, arguments.outputs().values()):
        sync(path)
    # Kept before the trainer's state goes: if Snakemake has died, its next run deletes the outputs.
    finished.keep(finished.place(Path(arguments.state)), Path(trainer.args.output_dir).name, arguments.outputs())
    for path in by_age(arguments.state):
        shutil.rmtree(path)


def keep_checkpoint(checkpoint: Path, output: Path, seconds: float) -> None:
    """Write a whole checkpoint, and the settings behind it, as a folder of its own."""
    pickle = "training_args.bin"  # holds nothing that is needed
    with written_whole(output) as partial:
        ignored = shutil.ignore_patterns(MARKER, pickle)
        shutil.copytree(checkpoint, partial, copy_function=link_or_copy, ignore=ignored)
        shutil.copy(checkpoint.parent / FILE, partial)
        marked = read_json(checkpoint / MARKER)["files"]
        hashes = {name: entry["sha256"] for name, entry in marked.items() if name != pickle}
        mark_complete(partial, seconds, hashes | hash_files(partial, [FILE]))
        sync(partial)
