"""A few steps of a configuration's own SFT and GRPO on this machine: what a run would take, before any download.

Both programs are started as the rules start them, through compute.launch. Weights are random, in the shapes of --size;
images are synthetic scenes of 640 x 480 pixels; nothing is saved. Printed are seconds of the fastest step but the
first, and the peak of GPU memory in process 0, beside target `preflight`'s estimates. With random weights completions
don't end by themselves: they are as long as the configuration allows. A training that fails, for lack of memory for
example, is reported.

Examples (zero2.yaml: {compute: {launch: [accelerate, launch, --config_file, config/accelerate/zero2.yaml, ...]}}):
    python benchmarks/gpu_trainings.py --configfile config/paper.yaml --size 7b
    python benchmarks/gpu_trainings.py --configfile config/paper.yaml zero2.yaml --size 3b --trainings grpo
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
import torch
from grpo_inputs import SIZES, make_checkpoint, make_rows

from vision_r1 import configuration, flags
from vision_r1.experiments import SFT, STAGES, split_checkpoint, training_values
from vision_r1.files import read_json, write_json, write_jsonl
from vision_r1.preflight.run import survey
from vision_r1.run_folder import Run

DRAWN = 64  # scenes; a training with more rows sees them again
WORKER = "--steps_of"  # first argument of this program where compute.launch starts it


def take_steps(program: str, output: str, words: Sequence[str]) -> None:
    """Run train_sft.py or train_grpo.py without its saving; process 0 writes what it logged at each step."""
    from transformers import Trainer

    from vision_r1.training import callbacks, outputs

    def write_logged(trainer: Any, stage: Any, samples_per_step: float) -> None:
        if trainer.args.should_save:
            logged = [entry for entry in trainer.state.log_history if "loss" in entry]
            seconds = [samples_per_step / entry["samples_per_second"] for entry in logged]
            peak = max(entry.get("peak_gpu_mb", 0.0) for entry in logged)
            write_json(output, {"seconds": seconds, "peak_gpu_mb": peak, "samples": samples_per_step})

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


def table(found: Mapping[str, Mapping[str, Any] | None], expected: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a line for each training: measured, and as target `preflight` estimates it."""
    text = f"{'':28s}{'s a step':>10s}{'estimate':>10s}{'samples/s':>10s}{'peak MB':>10s}{'estimate':>10s}\n"
    for name, figures in found.items():
        guess = expected[name]
        step, samples, peak, guessed, memory = "failed", *4 * "-"
        if figures:
            seconds = min(figures["seconds"][1:])
            step, samples = f"{seconds:.2f}", f"{figures['samples'] / seconds:.2f}"
            peak = f"{figures['peak_gpu_mb']:.0f}"
        if "sampling_seconds" in guess:  # section preflight names a card
            guessed = f"{guess['sampling_seconds'] + guess['training_seconds']:.2f}"
        if "memory_peak" in guess:
            memory = f"{guess['memory_peak'] / 2**20:.0f}"
        text += f"{name:28s}" + "".join(f"{cell:>10s}" for cell in (step, guessed, samples, peak, memory)) + "\n"
    return text


def main() -> None:
    if sys.argv[1:2] == [WORKER]:
        return take_steps(*sys.argv[2:4], sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="as for snakemake")
    parser.add_argument("--size", choices=["miniature", *SIZES], required=True, help="shapes of the weights")
    parser.add_argument("--trainings", nargs="+", choices=["sft", "grpo"], default=["sft", "grpo"])
    parser.add_argument("--steps", type=int, default=3, help="steps, at least 2; the first is not counted")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps: at least 2")
    files = [file.absolute() for file in args.configfile]
    os.chdir(Path(__file__).parents[1])  # paths of accelerate's files are relative to the project
    config = configuration.load([*configuration.DEFAULT, *files])
    config["model"] |= {"source": "hub", "id": SIZES[args.size]} if args.size in SIZES else {}
    names = [SFT if name == "sft" else f"{config['report']['experiments'][0]}/{STAGES[0]}" for name in args.trainings]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        expected = {each["name"]: each for each in survey(Run(work / "nothing", config))["trainings"]}
        make_checkpoint(work / "model", args.size, device, config["model"]["dtype"])
        limits = {"shortest_edge": config["model"]["min_pixels"], "longest_edge": config["model"]["max_pixels"]}
        needed = args.steps * math.ceil(max(expected[name]["prompts"] for name in names))
        rows = make_rows(work, args.size, min(needed, DRAWN), limits)
        write_jsonl(work / "train.jsonl", (rows * math.ceil(needed / len(rows)))[:needed])
        if device == "cuda":
            torch.cuda.empty_cache()
        found = {name: measure(config, name, work, args.steps) for name in names}
    card = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    sys.stdout.write(f"{args.size}, {' '.join(config['compute']['launch'])}, {card}, torch {torch.__version__}\n")
    sys.stdout.write(table(found, expected))


if __name__ == "__main__":
    main()
