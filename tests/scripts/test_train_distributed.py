"""Two processes over gloo: the same update as one with twice the accumulation, one writer, and no rank left behind."""

import subprocess
import sys

import psutil
import pytest
from training_helpers import arguments, check_outputs, largest_change

from vision_r1.files import read_json, read_jsonl

SFT = {"per_device_train_batch_size": 2, "max_steps": 3}
GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0, "beta": 0.04},
    **{"max_completion_length": 100, "criterion": "official", "max_steps": 3},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}


@pytest.mark.parametrize(("function", "options"), [("sft", SFT), ("canned_grpo", GRPO)])
def test_two_processes_make_the_update_of_one(function, options, processes, tiny_checkpoint, train_file, tmp_path):
    def words(name):
        return arguments(tiny_checkpoint, train_file, tmp_path / name, **options)

    alone = processes.start(function, [*words("one"), "--gradient_accumulation_steps", "2"])
    assert alone.wait(120) == 0, alone.output()
    # Rank 1 would write to places of its own, if it wrote; the state folder is shared.
    ranks = processes.start_ranks(function, [words("two"), [*words("other"), "--state", str(tmp_path / "two/state")]])
    for rank in ranks:
        assert rank.wait(120) == 0, rank.output()
    check_outputs(tmp_path / "two", tiny_checkpoint, steps=3)
    assert not (tmp_path / "other").exists()
    assert read_json(tmp_path / "two/metrics.json")["processes"] == 2
    seen = [read_json(tmp_path / name / "metrics.json")["samples_seen"] for name in ("one", "two")]
    assert seen[0] == seen[1]

    moved = largest_change(tiny_checkpoint, tmp_path / "one/model")
    apart = largest_change(tmp_path / "one/model", tmp_path / "two/model")
    sys.stdout.write(f"{function}: weights moved by up to {moved:.2g}, the two runs are {apart:.2g} apart\n")
    assert apart < 1e-2 * moved  # Adam makes much of little where a gradient is near zero
    # No kl: TRL logs the mean over all tokens of both processes, but the mean of two micro-batches' means.
    names = ("loss", "reward", "reward_std", "frac_reward_zero_std", "grad_norm", "advantage_std")
    one, two = (read_jsonl(tmp_path / name / "history.jsonl") for name in ("one", "two"))
    assert function == "sft" or one[0]["reward_std"] > 0
    for alone, both in zip(one, two, strict=True):
        for name in alone.keys() & set(names):
            assert both[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-6), (name, alone["step"])


def test_no_rank_is_left_when_one_dies(tiny_checkpoint, train_file, tmp_path, root):
    """Under the real launcher; rank 1 kills itself in its second step."""
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
    words = arguments(tiny_checkpoint, train_file, tmp_path / "sft", **SFT, code=program)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    log = (tmp_path / "log").open("w")
    launcher = subprocess.Popen([*torchrun, program, *words], stdout=log, stderr=log, cwd=tmp_path)
    try:
        assert launcher.wait(90) != 0
    finally:
        launcher.kill()
    assert "Signal 9 (SIGKILL)" in (tmp_path / "log").read_text()
    left = [process for process in psutil.process_iter(["cmdline"]) if str(program) in (process.info["cmdline"] or [])]
    assert not left
    assert not (tmp_path / "sft/model").exists()
