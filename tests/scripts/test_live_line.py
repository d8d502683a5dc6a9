"""`snakemake --logger live` on a terminal and in a pipe."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import psutil
import pytest

SNAKEFILE = f"""
rule all:
    input: "slow.txt"

rule slow:
    output: "slow.txt"
    log: "logs/slow.log"
    shell: "{sys.executable} slow.py > {{log}} 2>&1 && touch {{output}}"

rule broken:
    log: "logs/broken.log"
    shell: "echo the reason of the failure > {{log}}; exit 3"
"""
# Waits half-way until it may continue.
SLOW = """
import logging, pathlib, time
from vision_r1.progress import Progress
logging.basicConfig(level=logging.INFO, format="%(asctime)s rank 0 %(levelname)s %(message)s")
progress = Progress(200, "steps")
time.sleep(0.1)
progress.log(100)
while not pathlib.Path("go").exists():
    time.sleep(0.05)
"""
PATIENCE = 120  # seconds; on a terminal the live line comes each second
TYPICAL = {"machine": "2 cores of a Z80", "seconds": {"slow": 480}}


class Run:
    """A run of Snakemake in a folder; `output` is what it has written so far, to a terminal or a pipe."""

    def __init__(self, root, folder, words, terminal):
        self.output = ""
        self.reads, writes = pty.openpty() if terminal else os.pipe()
        if terminal:
            termios.tcsetwinsize(writes, (24, 80))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "1", "--show-failed-logs", *words],
            env=os.environ | {"PYTHONPATH": str(root / "workflow/scripts"), "TERM": "xterm"},
            **{"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": writes, "stderr": writes},
            start_new_session=True,
            # A shell makes its background processes ignore Ctrl-C, and their children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(writes)

    def read_until(self, text):
        """Read until `text` has been written; fails if the output ends before."""
        while text not in self.output:
            assert self._read(), self.output

    def end(self):
        """Read to the end; return the exit status and the lines that remain visible."""
        while self._read():
            pass
        lines = self.output.replace("\r\n", "\n").split("\n")
        return self.process.wait(), [line.rpartition("\r\x1b[K")[2] for line in lines]

    def _read(self):
        assert select.select([self.reads], [], [], PATIENCE)[0], f"silent for {PATIENCE} s:\n{self.output}"
        try:
            part = os.read(self.reads, 4096).decode()
        except OSError:  # what reading a closed terminal raises
            part = ""
        self.output += part
        return part


@pytest.fixture
def start(root, tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "typical.json").write_text(json.dumps(TYPICAL))
    runs = []

    def start(*words, terminal=True):
        runs.append(Run(root, tmp_path, [*words, "--logger", "live"], terminal))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
        os.close(run.reads)


def test_a_terminal_has_one_live_line_that_is_gone_at_the_end(start, tmp_path):
    run = start("--logger-live-typical", "typical.json")
    run.read_until("| 0 of 2 jobs done | slow 50%, 0:00:0")
    assert "Expect about 8 min, as on 2 cores of a Z80" in run.output
    (tmp_path / "go").touch()
    status, seen = run.end()
    assert status == 0 and "2 of 2 steps (100%) done" in "\n".join(seen)
    assert not [line for line in seen if "jobs done" in line]
    assert "\x1b[32m" in run.output  # Snakemake's own colours

    status, seen = start().end()
    assert status == 0 and "Nothing to be done" in "\n".join(seen)


def test_a_pipe_has_no_control_characters(start, tmp_path):
    (tmp_path / "go").touch()
    status, seen = start("--logger-live-typical", "typical.json", terminal=False).end()
    assert status == 0 and "\x1b" not in "".join(seen) and "\r" not in "".join(seen)
    assert [line for line in seen if line.startswith("Expect about 8 min")]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failed_job_s_log_and_status_are_shown(start, terminal):
    status, seen = start("broken", terminal=terminal).end()
    assert status == 1
    assert "the reason of the failure" in seen and not [line for line in seen if "jobs done" in line]


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_ends_the_run_and_its_jobs(start, tmp_path, terminal):
    run = start(terminal=terminal)
    while not (tmp_path / "logs/slow.log").is_file() or "100/200" not in (tmp_path / "logs/slow.log").read_text():
        assert run.process.poll() is None
        time.sleep(0.05)
    jobs = psutil.Process(run.process.pid).children(recursive=True)
    os.killpg(run.process.pid, signal.SIGINT)
    status, seen = run.end()
    assert status == 1 and jobs
    assert not psutil.wait_procs(jobs, timeout=10)[1]
    assert not [line for line in seen if "jobs done" in line]
    assert not (tmp_path / "slow.txt").exists()


def test_a_missing_table_of_durations_is_named(start):
    status, seen = start("--logger-live-typical", "none.json").end()
    assert status == 1 and seen[0] == "error: none.json: no such file"
