"""Milliseconds per step of every program, as on processors with fewer instructions, idle and with busy neighbours.

Measures steps of the base model's training, SFT, GRPO and prediction (a step answers one batch) with the sizes of the
default configuration. Weights start at random, so every completion has LENGTH tokens. Each instruction set and number
of threads is measured in a separate process, because torch, oneDNN and MKL read their variables once. The base model is
trained in that many processes of one thread each, the others in one process. Busy: one `yes` runs on each core.

Example (about 8 minutes on two cores; each cell is the median of --steps):
    python benchmarks/cpus.py | tee benchmarks/results/cpus.txt
"""

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
import numpy as np
import torch
import train_grpo
import train_sft
from grpo_inputs import make_rows

from vision_r1 import configuration
from vision_r1.data.worlds import WORLDS
from vision_r1.evaluation.answers import Decoding, Question
from vision_r1.evaluation.generation import Generator
from vision_r1.experiments import SFT, training_values
from vision_r1.families import family
from vision_r1.files import read_jsonl, write_jsonl
from vision_r1.flags import of_values
from vision_r1.miniature.model import make_model
from vision_r1.miniature.pretrain import pretrain
from vision_r1.miniature.processor import make_processor
from vision_r1.miniature.recipe import Recipe
from vision_r1.models import load_model
from vision_r1.resources import processor

ROOT = Path(__file__).parents[1]
# Variables of torch, oneDNN and MKL; MKL obeys its own on Intel's processors only.
VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
SETS = {"sse": ("default", "SSE41", "SSE4_2"), "avx2": ("avx2", "AVX2", "AVX2"), "best": ()}
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
PROGRAMS = {"base": "make_base_model", "sft": "train_sft", "grpo": "train_grpo", "prediction": "predict_suite"}
LOADS = ("alone", "busy")
WARM_UP = 2  # steps that are not counted
LENGTH = 20  # tokens of a completion
SIDE = 512  # side of the square matrices that are multiplied
AVX2_BOUND = 1.5  # largest allowed avx2 / best, with the shipped threads
ALONE_BOUND = 4.0  # largest allowed ratio of any set, alone, to the program's fastest cell, with the shipped threads

Config = Mapping[str, Any]
Cells = Mapping[tuple[str, int], Mapping[str, Any]]  # (instruction set, threads) -> what `measure` returns


def prepare(config: Config, work: Path) -> None:
    """Write model/, a checkpoint of the base model's size, and train.jsonl, a row for each question of a batch."""
    sizes, model = config["base"], config["model"]
    own = make_processor(WORLDS[sizes["world"]])
    layers = {key: sizes[key] for key in ("hidden_size", "head_size", "text_layers", "vision_layers")}
    make_model(own.tokenizer, seed=0, **layers).save_pretrained(work / "model")
    own.save_pretrained(work / "model")
    limits = {"shortest_edge": model["min_pixels"], "longest_edge": model["max_pixels"]}
    write_jsonl(work / "train.jsonl", make_rows(work, "miniature", config["evaluation"]["batch_size"], limits))


def take_steps(program: str, config: Config, work: Path, threads: int, steps: int) -> list[float]:
    """Return the seconds of each step of a program."""
    if program == "base":
        return pretrained(config, work, threads, steps)
    if program == "prediction":
        return predicted(config, work, threads, steps)
    if program == "sft":
        return trained(train_sft.main, config, training_values(config, SFT), work, threads, steps)
    values = training_values(config, "strict/grpo_stage1") | {"completion_room": None}
    return trained(train_grpo.main, config, {**values, "max_completion_length": LENGTH}, work, threads, steps)


def pretrained(config: Config, work: Path, processes: int, steps: int) -> list[float]:
    torch.set_num_threads(1)
    base = config["base"] | {"steps": steps + 1, "exact_steps": steps + 1}
    recipe = Recipe(**{item.name: base[item.name] for item in fields(Recipe)})
    model, began = load_model(work / "model", "float32"), []
    model.register_forward_pre_hook(lambda *_: began.append(time.perf_counter()))
    pretrain(model, make_processor(WORLDS[recipe.world]), recipe, seed=0, processes=processes)
    return np.diff(began).tolist()


def trained(main: Callable, config: Config, values: Config, work: Path, threads: int, steps: int) -> list[float]:
    """Run a training program; return the seconds of its steps, from its history."""
    out = Path(tempfile.mkdtemp(dir=work))
    flags = {
        **{key: config["model"][key] for key in ("family", "min_pixels", "max_pixels", "dtype")},
        **{"init": work / "model", "train_file": work / "train.jsonl", "threads": threads},
        **{
            "output_model": out / "model",
            "output_metrics": out / "metrics.json",
            "output_history": out / "history.jsonl",
        },
        **{"state": out / "state", **values, "max_steps": steps, "logging_steps": 1},
    }
    main(of_values(flags))
    batch = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
    history = read_jsonl(out / "history.jsonl")
    return [batch / entry["samples_per_second"] for entry in history if "samples_per_second" in entry]


def predicted(config: Config, work: Path, threads: int, steps: int) -> list[float]:
    torch.set_num_threads(threads)
    model, rows = config["model"], read_jsonl(work / "train.jsonl")
    generator = Generator(work / "model", family(model["family"]), model["dtype"], "cpu")
    limits = Decoding(LENGTH, model["min_pixels"], model["max_pixels"])
    questions = [Question(row["image"], row["prompt"], limits, row["input_width"], row["input_height"]) for row in rows]
    return [seconds(lambda: generator.answer(questions)) for _ in range(steps)]


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def gflops(matrix: torch.Tensor) -> float:
    """Return the speed of multiplying a matrix by itself: the median of five."""
    return 2 * SIDE**3 / float(np.median([seconds(lambda: matrix @ matrix) for _ in range(5)])) / 1e9


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep `count` other processes busy."""
    processes = [subprocess.Popen(["yes"], stdout=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(config: Config, threads: int, steps: int) -> dict[str, Any]:
    """Return torch's instruction set here, the speed of matrix products, and {program: {load: ms per step}}."""
    torch.set_num_threads(1)
    matrix = torch.from_numpy(np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32))
    found = {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "product": hashlib.sha256((matrix @ matrix).numpy().tobytes()).hexdigest(),
        "gflops": [gflops(matrix), gflops(matrix.bfloat16())],
        "ms": {program: {} for program in PROGRAMS},
    }
    with tempfile.TemporaryDirectory() as folder:
        prepare(config, Path(folder))
        for program, ms in found["ms"].items():
            for load in LOADS:
                with neighbours(os.cpu_count() if load == "busy" else 0):
                    taken = take_steps(program, config, Path(folder), threads, WARM_UP + steps)
                ms[load] = 1e3 * float(np.median(taken[WARM_UP:]))
                sys.stderr.write(f"{program}, {threads} threads, {load}: {ms[load]:.0f} ms\n")
    return found


def measured(name: str, threads: int, steps: int) -> dict[str, Any]:
    """Measure in a separate process, limited to an instruction set."""
    sys.stderr.write(f"measuring {name}\n")
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    environment |= dict(zip(VARIABLES, SETS[name], strict=False))
    command = [sys.executable, __file__, "--cell", "--threads", str(threads), "--steps", str(steps)]
    return json.loads(subprocess.check_output(command, env=environment, text=True).splitlines()[-1])


def machine() -> str:
    """Return the processor's name, and which of FLAGS it has."""
    cpuinfo = Path("/proc/cpuinfo")
    known = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    flags = ", ".join(f"{'' if flag in known else 'no '}{flag}" for flag in FLAGS)
    return f"{processor()}, {os.cpu_count()} cores; {flags if known else 'flags unknown'}; torch {torch.__version__}\n"


def products(cells: Cells) -> str:
    """Return one line per instruction set, with the speed of its matrix products, and which sets give equal results."""
    text = f"{f'{SIDE} x {SIDE} products, one core, GFLOP/s':62s}float32 bfloat16\n"
    sets = {name: found for (name, _), found in cells.items()}
    for name, found in sets.items():
        single, half = found["gflops"]
        title = f"  {name:5s}{', '.join(SETS[name]) or 'nothing set'}: torch uses {found['torch']}"
        text += f"{title:60s}{single:9.1f}{half:9.1f}  bfloat16 takes {single / half:.1f} times as long\n"
    for product in dict.fromkeys(found["product"] for found in sets.values()):
        alike = [name for name, found in sets.items() if found["product"] == product]
        if len(alike) > 1:
            text += f"the same on this machine: {', '.join(alike)} (float32 products are equal to the last bit)\n"
    return text


def table(cells: Cells, shipped: Mapping[str, int]) -> str:
    """Return one line per program and number of threads."""
    names, counts = (list(dict.fromkeys(part)) for part in zip(*cells, strict=True))
    text = "ms per step, and as a multiple of the program's fastest; *: the shipped threads\n"
    text += " " * 14 + "".join(f"{f'{name} {load}':>15s}" for load in LOADS for name in names) + "\n"
    for program in PROGRAMS:
        for threads in counts:
            text += f"{program:11s}{threads:2d}{'*' if threads == shipped[program] else ' '}"
            for load in LOADS:
                for name in names:
                    ms = cells[name, threads]["ms"][program][load]
                    text += f"{ms:9.0f} {ms / fastest(cells, program):5.2f}"
            text += "\n"
    return text


def verdicts(cells: Cells, shipped: Mapping[str, int]) -> str:
    """Return, for each program that was measured with its shipped threads, whether the bounds hold."""
    text = ""
    for program, threads in shipped.items():
        mine = {name: found["ms"][program] for (name, count), found in cells.items() if count == threads}
        if {"avx2", "best"} <= mine.keys():
            ratios = {f"avx2 / best {load}": (mine["avx2"][load] / mine["best"][load], AVX2_BOUND) for load in LOADS}
            slowest = max(ms["alone"] for ms in mine.values()) / fastest(cells, program)
            for what, (ratio, bound) in {**ratios, "slowest set alone": (slowest, ALONE_BOUND)}.items():
                text += f"{program:11s}{threads:2d}*  {what:18s}{ratio:6.2f}, at most {bound}: "
                text += "holds\n" if ratio <= bound else "DOES NOT HOLD\n"
    return text


def fastest(cells: Cells, program: str) -> float:
    return min(ms for found in cells.values() for ms in found["ms"][program].values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="instruction sets")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=5, help=f"steps per cell, after {WARM_UP} that are not counted")
    parser.add_argument("--cell", action="store_true", help="measure in this process (used by the program itself)")
    args = parser.parse_args()
    config = configuration.load([ROOT / "config/config.yaml", ROOT / "config/experiments.yaml"])
    if args.cell:
        logging.disable(logging.WARNING)
        sys.stdout.write("\n" + json.dumps(measure(config, *args.threads, args.steps)) + "\n")
        return
    cells = {(name, threads): measured(name, threads, args.steps) for threads in args.threads for name in args.sets}
    shipped = {program: config["compute"][job]["threads"] for program, job in PROGRAMS.items()}
    sys.stdout.write(f"$ python {' '.join(['benchmarks/cpus.py', *sys.argv[1:]])}\n{machine()}\n")
    sys.stdout.write("\n".join([products(cells), table(cells, shipped), verdicts(cells, shipped)]))


if __name__ == "__main__":
    main()
