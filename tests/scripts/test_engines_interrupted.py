"""Trainings of two processes that are killed or stopped, under each engine, end with the undisturbed weights."""

import signal
import subprocess
import sys
from functools import partial

import engines
import psutil
import pytest
from training_helpers import arguments, logged, weights_hash

from vision_r1.files import read_json

pytestmark = pytest.mark.slow

pytest.importorskip("deepspeed", reason="needs requirements-development.txt")
ENGINES = ("ddp", "zero2", "zero3", "fsdp")
SHIPPED = {"use_cpu": None, "bf16": True, "dtype": "bfloat16", "gradient_checkpointing": True, "max_steps": 4}
SFT = {**SHIPPED, "per_device_train_batch_size": 1}
GRPO = {
    **{**SHIPPED, "per_device_train_batch_size": 4, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0},
    **{"max_completion_length": 1, "criterion": "released_2025", "beta": 0.04, "save_steps": 1},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}


@pytest.fixture
def ranks(processes):
    """Return a function that trains with two processes; `dies` and `stops` are moments of processes.py."""

    def train(engine, function, words, dies=None, stops=None):
        environment = {**engines.environment(engine), "DIE_AT": dies or "", "STOP_AT": stops or ""}
        first, second = processes.start_ranks(function, [words, words], environment)
        code = first.wait(600)
        if dies:
            assert code == -signal.SIGKILL, first.output()
            second.kill()  # as torchrun does
        else:
            assert code == second.wait(600) == (143 if stops else 0), first.output() + second.output()
        return first.output()

    return train


def check_same(out, whole):
    """Check that both trainings ended with the same bits and logged the same values."""
    assert weights_hash(out / "model") == weights_hash(whole / "model")
    assert logged(out) == logged(whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_at_every_save(engine, ranks, bfloat16_checkpoint, tmp_path):
    words = partial(arguments, *bfloat16_checkpoint("qwen2_5_vl"), **SFT)
    ranks(engine, "sft", words(tmp_path / "whole"))
    out = tmp_path / "killed"
    began = [
        ranks(engine, "sft", words(out), dies=moment)
        for moment in ("2 unmarked", "4 unmarked", "4 marked", None)  # after the last one only the outputs are missing
    ]
    for log, beginning in zip(began, ("afresh", "afresh", "from checkpoint-2", "from checkpoint-4"), strict=True):
        assert beginning in log
    check_same(out, tmp_path / "whole")


@pytest.mark.parametrize("engine", ["ddp", "zero2"])
def test_adapters(engine, ranks, bfloat16_checkpoint, tmp_path):
    pytest.importorskip("peft")
    words = partial(arguments, *bfloat16_checkpoint("qwen2_5_vl"), **SFT, lora_r=2)
    ranks(engine, "sft", words(tmp_path / "whole"))
    out = tmp_path / "killed"
    for moment in ("4 unmarked", "4 marked", None):
        ranks(engine, "sft", words(out), dies=moment)
    check_same(out, tmp_path / "whole")
    assert weights_hash(out / "model") != weights_hash(bfloat16_checkpoint("qwen2_5_vl")[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_continuous_stages(engine, ranks, bfloat16_checkpoint, tmp_path):
    """Stage 1 gets SIGTERM, stage 2 is killed after its last checkpoint; TRL does the sampling, with a KL term."""
    base, train_file = bfloat16_checkpoint("qwen2_5_vl")

    def chain(out):
        both = {**GRPO, "reference": base}
        end = {"stop_at": 2, "output_checkpoint": out / "stage1/checkpoint"}
        goes_on = {"continue_from": out / "stage1/checkpoint", "recall_threshold": 0.75}
        return (
            arguments(base, train_file, out / "stage1", **both, **end),
            arguments(out / "stage1/model", train_file, out / "stage2", **{**both, **goes_on}),
        )

    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    for words in chain(whole):
        ranks(engine, "grpo", words)
    stage1, stage2 = chain(disturbed)
    assert "stopped by a signal at step 1 of 2" in ranks(engine, "grpo", stage1, stops="1")
    assert "resuming from checkpoint-1" in ranks(engine, "grpo", stage1)
    check_same(disturbed / "stage1", whole / "stage1")
    ranks(engine, "grpo", stage2, dies="4 marked")
    assert "resuming from checkpoint-4" in ranks(engine, "grpo", stage2)
    check_same(disturbed / "stage2", whole / "stage2")
    assert read_json(disturbed / "stage2/metrics.json")["steps"] == 2


def test_no_rank_survives_another_ranks_death(tiny_checkpoint, train_file, tmp_path, root):
    """With the real launcher; rank 1 kills itself in its second step."""
    program = tmp_path / "die.py"
    program.write_text(
        "import os, signal, sys\n"
        f"sys.path[:0] = [{str(root / 'workflow/scripts')!r}]\n"
        "import train_sft\n"
        "from vision_r1.training import callbacks\n"
        "def on_step_begin(self, args, state, control, **kwargs):\n"
        "    if state.global_step == 1 and os.environ['RANK'] == '1':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "callbacks.LogProgress.on_step_begin = on_step_begin\n"
        "train_sft.run(train_sft.main)\n"
    )
    options = {"per_device_train_batch_size": 2, "max_steps": 3, "code": program}
    words = arguments(tiny_checkpoint, train_file, tmp_path / "sft", **options)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    log = (tmp_path / "log").open("w")
    launcher = subprocess.Popen([*torchrun, program, *words], stdout=log, stderr=log, cwd=tmp_path)
    try:
        assert launcher.wait(300) != 0
    finally:
        launcher.kill()
    assert "Signal 9 (SIGKILL)" in (tmp_path / "log").read_text()
    left = [process for process in psutil.process_iter(["cmdline"]) if str(program) in (process.info["cmdline"] or [])]
    assert not left
    assert not (tmp_path / "sft/model").exists()
