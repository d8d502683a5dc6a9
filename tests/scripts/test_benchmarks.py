"""The benchmarks of training and prediction run and measure what they claim to; their speeds are not tested."""

import importlib
import json
import logging
import os
import re
import subprocess
import sys
from contextlib import nullcontext

import pytest

from vision_r1.files import read_json


@pytest.fixture
def run(root, monkeypatch, capsys):
    """Run a benchmark with some arguments; return what it printed."""
    monkeypatch.syspath_prepend(root / "benchmarks")

    def benchmark(name, *arguments, **flags):
        arguments += tuple(part for flag, value in flags.items() for part in (f"--{flag}", str(value)))
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    yield benchmark
    logging.disable(logging.NOTSET)


def cells(printed, title):
    """Return the numbers on the only line that begins with a title."""
    (line,) = [line.strip() for line in printed.splitlines() if line.strip().startswith(title)]
    return [float(value) for value in line[len(title) :].split()]


def test_grpo_step_times_each_part_of_every_arms_step(run):
    printed = run("grpo_step", prompts=2, generations=2, length=2, steps=2, rounds=1, beta=0.04)
    from grpo_arms import PARTS

    for part in (*PARTS, "completions/s"):
        values = cells(printed, part)
        assert len(values) == 3 and all(value >= 0 for value in values)
        if part in ("generation", "log-probabilities", "backward"):
            assert all(value > 0 for value in values)


def test_gpu_step_compares_trl_and_ours_in_every_case(run):
    small = {
        "sizes": "miniature",
        "device": "cpu",
        "dtype": "float32",
        "prompts": 2,
        "micro": 2,
        "length": 2,
        "steps": 2,
    }
    printed = run("gpu_step", "--generations", "2", "--training", "lora", "full", **small)
    assert re.findall(r"miniature, (\w+), cpu", printed) == ["lora", "full"]
    for case in printed.split("\n\n")[:2]:
        assert len(cells(case, "completions/s")) == 2
        assert cells(case, "preflight's estimate of GPU memory, MB")[0] > 2000  # its fixed share alone is 2 GiB


def test_gpu_step_without_a_gpu_fails_with_a_message(run, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("gpu_step", "gpu_predict"):
        with pytest.raises(SystemExit, match="no GPU is visible; give --device cpu"):
            run(name)


def test_gpu_predict_gives_the_same_answers_in_both_ways(run):
    small = {"sizes": "miniature", "device": "cpu", "dtype": "float32", "images": 3, "max_new_tokens": 2}
    printed = run("gpu_predict", "--batch_sizes", "2", **small)
    assert "3 of 3 answers the same" in printed and printed.count("images/s") == 2


@pytest.mark.slow
def test_gpu_trainings_starts_both_programs_by_an_engine_and_reports_one_that_fails(run, root, monkeypatch, tmp_path):
    grpo = {
        **{"per_device_train_batch_size": 8, "num_generations": 4},
        **{"completion_room": None, "max_completion_length": 4},
    }
    overlay = tmp_path / "trial.yaml"
    overlay.write_text(json.dumps({"sft": {"per_device_train_batch_size": 2, "max_length": 8}, "grpo": grpo}))
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root / "benchmarks")
    program, measured = importlib.import_module("gpu_trainings"), []
    monkeypatch.setattr(program, "read_json", lambda path: measured.append(read_json(path)) or measured[-1])
    printed = run("gpu_trainings", size="miniature", steps=2, configfile=overlay, engines="ddp")
    assert "config/accelerate/ddp.yaml --num_processes 1, cpu" in printed
    assert re.search(r"^sft +failed( +-){4}$", printed, re.MULTILINE)  # no answer fits 8 tokens
    seconds, _, samples, *_ = re.search(r"^strict/grpo_stage1 +(.*)$", printed, re.MULTILINE)[1].split()
    (grpo,) = measured
    assert grpo["samples"] == 8  # completions, of 2 prompts
    assert float(samples) == pytest.approx(8 / float(seconds), rel=0.5)
    assert grpo["logged"][1]["step_time"] == pytest.approx(float(seconds), rel=0.5)  # by TRL's own clock


def test_gpu_trainings_starts_launchers_by_this_python(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    command = importlib.import_module("gpu_trainings").command
    module = [sys.executable, "-m"]
    assert command(["python"]) == [sys.executable]
    assert command(["accelerate", "launch", "--x", "1"]) == [*module, "accelerate.commands.launch", "--x", "1"]
    assert command(["torchrun", "--x", "1"]) == [*module, "torch.distributed.run", "--x", "1"]


def test_flops_of_a_step_equal_a_count_by_hand(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    from argparse import Namespace
    from types import SimpleNamespace

    from grpo_inputs import TEXT_TOKENS, flops_of_a_step

    model = SimpleNamespace(parameters=1000, vision_parameters=100, merge=4)
    rows = [{"input_width": 28, "input_height": 28}]  # 4 patches, 1 image token
    args = Namespace(generations=2, length=10, beta=0.0, lora_r=None)
    text = 900 * 2 * (1 + TEXT_TOKENS + 10)
    assert flops_of_a_step(model, rows, args) == 8 * (text + 100 * 4)
    assert flops_of_a_step(model, rows, Namespace(**vars(args) | {"lora_r": 4, "beta": 0.1})) == 8 * (text + 100 * 4)
    assert flops_of_a_step(model, rows, Namespace(**vars(args) | {"lora_r": 4})) == 6 * (text + 100 * 4)


def test_demo_divides_each_moment_of_a_run_among_the_running_jobs(run, tmp_path):
    for name, seconds, end in (("train", 10, 110), ("score/base", 6, 110), ("score/strict/stage2", 2, 112)):
        file = tmp_path / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}.0\t0:00:{seconds:02}\n")
        os.utime(file, (end, end))
    assert json.loads(run("demo", str(tmp_path)))["seconds"] == {"score": 2.5, "train": 7.0}


@pytest.fixture
def cpus(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    return importlib.import_module("cpus")


def test_cpus_times_every_programs_steps_idle_and_busy(cpus, monkeypatch):
    from vision_r1.configuration import load

    config = load([cpus.ROOT / "config/config.yaml", cpus.ROOT / "config/experiments.yaml"])
    config["base"] |= {"hidden_size": 32, "text_layers": 1, "vision_layers": 1, "batch_size": 2}
    for section, size in {"sft": 2, "grpo": 8}.items():
        config[section]["per_device_train_batch_size"] = size
    config["evaluation"]["batch_size"] = 4
    started = []
    monkeypatch.setattr(cpus, "LENGTH", 2)
    monkeypatch.setattr(cpus, "WARM_UP", 1)
    monkeypatch.setattr(cpus, "neighbours", lambda count: started.append(count) or nullcontext())
    found = cpus.measure(config, threads=1, steps=1)
    assert started == [0, cpus.os.cpu_count()] * 4
    assert found["ms"].keys() == cpus.PROGRAMS.keys() and all(speed > 0 for speed in found["gflops"])
    assert all(ms["alone"] > 0 and ms["busy"] > 0 for ms in found["ms"].values())


def test_cpus_ends_its_neighbours(cpus, monkeypatch):
    started, start = [], subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **options: started.append(start(*args, **options)) or started[-1]
    )
    with cpus.neighbours(1):
        assert started[0].poll() is None
    assert started[0].poll() is not None


def test_cpus_sets_the_variables_of_an_instruction_set_only(cpus, monkeypatch):
    seen = []
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setattr(subprocess, "check_output", lambda command, env, text: seen.append(env) or "noise\n{}\n")
    for name in ("avx2", "best"):
        cpus.measured(name, threads=1, steps=1)
    values = [[environment.get(variable) for variable in cpus.VARIABLES] for environment in seen]
    assert values == [["avx2", "AVX2", "AVX2"], [None] * 3]


def test_cpus_reports_for_the_shipped_threads_whether_its_bounds_hold(cpus, run, monkeypatch):
    pace = {"sse": 3.0, "avx2": 1.6, "best": 1.0}

    def measured(name, threads, steps):
        ms = {"alone": 100 * pace[name] / threads, "busy": 400.0}
        return {"torch": name, "product": name == "sse", "gflops": [40, 2], "ms": dict.fromkeys(cpus.PROGRAMS, ms)}

    monkeypatch.setattr(cpus, "measured", measured)
    printed = run("cpus")
    assert "the same on this machine: avx2, best" in printed and printed.count("bfloat16 takes 20.0 times as long") == 3
    lines = [line.split(maxsplit=2) for line in printed.splitlines()]
    row, alone, busy, slowest = (line[2] for line in lines if line[:2] == ["sft", "1*"])
    assert [float(word) for word in row.split()] == [300, 6, 160, 3.2, 100, 2, *[400, 8] * 3]
    assert re.fullmatch(r"avx2 / best alone +1.60, at most 1.5: DOES NOT HOLD", alone)
    assert re.fullmatch(r"avx2 / best busy +1.00, at most 1.5: holds", busy)
    assert re.fullmatch(r"slowest set alone +6.00, at most 4.0: DOES NOT HOLD", slowest)
    assert re.search(r"base +2\*  slowest set alone +3.00, at most 4.0: holds", printed)
