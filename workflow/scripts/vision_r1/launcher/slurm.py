"""Jobs of a SLURM cluster: one step over all nodes, the place where processes meet, and signals passed on.

When time is up or a job is preempted, SLURM signals the job's steps, not the processes that a batch script started. So
the command runs as a step, and on each node a process of that step passes the signal on to the trainers.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

import psutil

from vision_r1.files import UserError
from vision_r1.launcher.modes import NODE_OPTIONS, launcher_of


def job_name() -> str | None:
    """Return how to name the job that this process belongs to, or None outside of SLURM."""
    number = os.environ.get("SLURM_JOB_ID")
    return f"SLURM job {number}" if number else None


def srun(words: Sequence[str], nodes: int, gpus: int) -> list[str]:
    """Return the command that starts `words` once on each of the job's nodes, with all that the job has there."""
    if gpus % nodes:
        raise UserError(f"--gpus {gpus}: can't be shared out evenly to {nodes} nodes")
    return [
        *("srun", "--overlap", "--whole", "--mem=0", "--cpu-bind=none", "--kill-on-bad-exit=1"),
        *(f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"),
        f"--gres=gpu:{gpus // nodes}" if gpus else "--gres=none",
        *words,
    ]


def with_rendezvous(words: Sequence[str]) -> list[str]:
    """Return a launcher's command with its place among several nodes. Raises UserError for an unknown launcher."""
    launcher = launcher_of(words)
    environment = os.environ
    names = _output("scontrol", "show", "hostnames", environment["SLURM_JOB_NODELIST"]).split()
    node = re.search(r"NodeAddr=(\S+)", _output("scontrol", "show", "node", names[0]))
    address = node[1] if node else names[0]
    port = 12000 + int(environment["SLURM_JOB_ID"]) % 20000  # below the ports that systems give out
    values = (environment["SLURM_NNODES"], environment["SLURM_NODEID"], address, str(port))
    length = len(launcher.split())
    flags = [word for pair in zip(NODE_OPTIONS[launcher], values, strict=True) for word in pair]
    return [*words[:length], *flags, *words[length:]]


def run_step(words: Sequence[str], lock: int | None) -> int:
    """Run srun, hold the lock, if any, as long as it lives, and return its exit status. Signals are left to SLURM."""
    step = subprocess.Popen(words, start_new_session=True, pass_fds=[] if lock is None else [lock])
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    return _status(step.wait())


def run_on_node(words: Sequence[str]) -> int:
    """Run a command, pass SIGTERM on to all its processes, and return its exit status.

    torchrun would answer SIGTERM by killing its trainers 30 seconds later, in the middle of a checkpoint. So it is
    started with that signal ignored; the trainers save and end, and torchrun ends after them.
    """

    def leave_alone() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    environment = os.environ | {"TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGINT"}
    command = subprocess.Popen(words, env=environment, preexec_fn=leave_alone)

    def forward(number: int, frame: object) -> None:
        try:
            root = psutil.Process(command.pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    signal.signal(signal.SIGTERM, forward)
    return _status(command.wait())


def this_program() -> list[str]:
    """Return the words that start this program again."""
    return [sys.executable, os.path.abspath(sys.argv[0])]


def _status(code: int) -> int:
    return 128 - code if code < 0 else code


def _output(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(words)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def fault() -> str | None:
    """Return, in one line, why no job can be sent to SLURM from here; None where one can."""
    if shutil.which("sbatch") is None:
        return "there is no sbatch here; start this on the cluster's login node, or leave --profile profiles/slurm out"
    try:
        asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return "sinfo has not answered for 30 seconds; is SLURM's controller running?"
    except OSError:  # no sinfo: sbatch will tell
        return None
    if asked.returncode == 0:
        return None
    reason = (asked.stderr.strip() or f"sinfo: exit status {asked.returncode}").splitlines()[-1]
    return f"SLURM does not answer ({reason}); is this the cluster's login node?"
