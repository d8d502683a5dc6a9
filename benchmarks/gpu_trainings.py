"""A few steps of a configuration's own SFT and GRPO on this machine: what a run would take, before any download.

Both programs are started as the rules start them, through compute.launch, or, one after the other, through each of
--engines, on all GPUs of this machine. Weights are random, in the shapes of --size; images are synthetic scenes of
640 x 480 pixels; nothing is saved. Printed are seconds of the fastest step but the first, samples per second (in GRPO:
completions), and the peak of GPU memory in process 0, beside target `preflight`'s estimates for samples of these
lengths. With random weights completions don't end by themselves: they are as long as the configuration allows. A
training that fails, for lack of memory for example, is reported.

Examples:
    python benchmarks/gpu_trainings.py --configfile config/paper.yaml --size 7b
    python benchmarks/gpu_trainings.py --configfile config/paper.yaml --size 3b --trainings grpo --engines zero2 fsdp
    python benchmarks/gpu_trainings.py --size miniature   # the default configuration, on a CPU
"""

import argparse
import importlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
import torch
from grpo_inputs import SIZES, make_checkpoint, make_rows

from vision_r1 import configuration, flags
from vision_r1.data.mixture import samples_asked_for
from vision_r1.experiments import SFT, STAGES, split_checkpoint, training_values
from vision_r1.families import family
from vision_r1.files import read_json, write_json, write_jsonl
from vision_r1.launcher.modes import mode_of, processes
from vision_r1.preflight.architecture import Architecture
from vision_r1.preflight.batches import Batches, training_batches
from vision_r1.preflight.lengths import ON_COCO, Lengths, lengths_of
from vision_r1.preflight.processor import with_lengths
from vision_r1.preflight.survey import completion_limit, training_estimate

DRAWN = 64  # scenes; a training with more rows sees them again
ENGINES = sorted(file.stem for file in (Path(__file__).parents[1] / "config/accelerate").glob("*.yaml"))
HEAD = f"{'':28s}{'s a step':>10s}{'estimate':>10s}{'samples/s':>10s}{'peak MB':>10s}{'estimate':>10s}\n"
WORKER = "--steps_of"  # first argument of this program where compute.launch starts it


def take_steps(program: str, output: str, words: Sequence[str]) -> None:
    """Run train_sft.py or train_grpo.py without its saving; process 0 writes what it logged at each step."""
    from transformers import Trainer

    from vision_r1.training import callbacks, outputs, recording

    def write_logged(trainer: Any, stage: Any, prompts_per_step: float) -> None:
        if trainer.args.should_save:
            logged = [entry for entry in trainer.state.log_history if "loss" in entry]
            (speed,) = [each for each in trainer.callback_handler.callbacks if isinstance(each, recording.AddMetrics)]
            write_json(output, {"samples": speed.samples_per_step, "logged": logged})

    Trainer._save_checkpoint = lambda *_: None
    callbacks.MarkCompleteCheckpoints.on_save = lambda *_, **__: None
    outputs.save = write_logged
    importlib.import_module(program).main(words)


def command(launch: Sequence[str]) -> list[str]:
    """Return compute.launch with this Python, which also finds launchers that are not on the PATH."""
    match launch:
        case ["accelerate", "launch", *words]:
            return [sys.executable, "-m", "accelerate.commands.launch", *words]
        case ["torchrun", *words]:
            return [sys.executable, "-m", "torch.distributed.run", *words]
        case _:
            return [sys.executable, *launch[1:]]


def launch_of(engine: str) -> list[str]:
    """Return compute.launch for a file of config/accelerate: a process for each GPU, one where there is none."""
    started = str(max(torch.cuda.device_count(), 1))
    return ["accelerate", "launch", "--config_file", f"config/accelerate/{engine}.yaml", "--num_processes", started]


def measure(config: Mapping[str, Any], checkpoint: str, work: Path, steps: int) -> dict[str, Any] | None:
    """Return what take_steps writes about a training, in processes of its own; None where it fails."""
    arm, stage = split_checkpoint(checkpoint)
    program = "train_sft" if stage == SFT else "train_grpo"
    values = training_values(config, checkpoint) | {"max_steps": steps, "logging_steps": 1, "stop_at": None}
    out, output = work / program, work / f"{program}.json"
    files = {
        **{"init": work / "model", "train_file": work / "train.jsonl", "state": out / "state"},
        **{f"output_{name}": out / name for name in ("model", "metrics", "history")},
    }
    words = [*flags.of_training(config, program, arm), *flags.of_values({**files, **values})]
    started = [*command(config["compute"]["launch"]), __file__, WORKER, program, str(output), *words]
    return read_json(output) if subprocess.run(started).returncode == 0 else None


def estimates(
    config: Mapping[str, Any], batches: Sequence[Batches], lengths: Lengths, model: Architecture
) -> dict[str, dict[str, Any]]:
    """Return what target `preflight` would state of each training with prompts of these lengths.

    With random weights, completions are as long as the limit.
    """
    mode, found = mode_of(config["compute"]["launch"], processes(config, "train_grpo")), {}
    for each in batches:
        values = training_values(config, each.name)
        limit = completion_limit(values, lengths)
        written = lengths
        if limit:
            answer = round(limit / (values.get("completion_room") or 1))
            written = replace(lengths, answer=answer, mean_answer=limit)
        found[each.name] = training_estimate(config, each, written, ON_COCO, model, mode)
    return found


def line(name: str, figures: Mapping[str, Any] | None, guess: Mapping[str, Any]) -> str:
    """Return a training's line: measured, and as target `preflight` estimates it."""
    step, samples, peak, guessed, memory = "failed", *4 * "-"
    if figures:
        speed = max(entry["samples_per_second"] for entry in figures["logged"][1:])
        step, samples = f"{figures['samples'] / speed:.2f}", f"{speed:.2f}"
        peak = f"{max(entry.get('peak_gpu_mb', 0.0) for entry in figures['logged']):.0f}"
    if "sampling_seconds" in guess:  # section preflight names a card
        guessed = f"{guess['sampling_seconds'] + guess['training_seconds']:.2f}"
    if "memory_peak" in guess:
        memory = f"{guess['memory_peak'] / 2**20:.0f}"
    return f"{name:28s}" + "".join(f"{cell:>10s}" for cell in (step, guessed, samples, peak, memory)) + "\n"


def main() -> None:
    if sys.argv[1:2] == [WORKER]:
        return take_steps(*sys.argv[2:4], sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="as for snakemake")
    parser.add_argument("--size", choices=["miniature", *SIZES], required=True, help="shapes of the weights")
    parser.add_argument("--trainings", nargs="+", choices=["sft", "grpo"], default=["sft", "grpo"])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="files of config/accelerate, not compute.launch")
    parser.add_argument("--steps", type=int, default=3, help="steps, at least 2; the first is not counted")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps: at least 2")
    files = [file.absolute() for file in args.configfile]
    os.chdir(Path(__file__).parents[1])  # paths of accelerate's files are relative to the project
    config = configuration.load([*configuration.DEFAULT, *files])
    launches = [launch_of(engine) for engine in args.engines or []] or [config["compute"]["launch"]]
    configs = [config | {"compute": config["compute"] | {"launch": launch}} for launch in launches]
    names = [SFT if name == "sft" else f"{config['report']['experiments'][0]}/{STAGES[0]}" for name in args.trainings]
    batches = training_batches(configs[0], lambda _: samples_asked_for(config), config["report"]["experiments"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    card = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        processor, model = make_checkpoint(work / "model", args.size, device, config["model"]["dtype"])
        if device == "cuda":
            torch.cuda.empty_cache()
        limits = {"shortest_edge": config["model"]["min_pixels"], "longest_edge": config["model"]["max_pixels"]}
        needed = args.steps * math.ceil(max(each.prompts for each in batches if each.name in names))
        rows = make_rows(work, args.size, min(needed, DRAWN), limits)
        write_jsonl(work / "train.jsonl", (rows * math.ceil(needed / len(rows)))[:needed])
        lengths = lengths_of(config, with_lengths(rows, processor, family(config["model"]["family"]))[0])
        for launched in configs:
            expected = estimates(launched, batches, lengths, model)
            launch = " ".join(launched["compute"]["launch"])
            sys.stdout.write(f"{args.size}, {launch}, {card}, torch {torch.__version__}\n{HEAD}")
            for name in names:
                sys.stdout.write(line(name, measure(launched, name, work, args.steps), expected[name]))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
