"""What this machine lacks for a run, said before the first job starts."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

# Memory that the control groups of a container or a job leave, version 2 and 1.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_mb() -> int:
    """Return the memory of this machine, or of the container that this runs in, MB."""
    found = [psutil.virtual_memory().total]
    for file in map(Path, _LIMITS):
        try:
            found.append(int(file.read_text()))
        except (OSError, ValueError):  # no such file, or no limit: "max"
            continue
    return min(found) // 1_000_000


def shortages(asked: Mapping[str, Mapping[str, int]], cores: int, memory: int) -> list[str]:
    """Return a line for each kind of job that asks for more threads or memory (mem_mb) than a machine has, MB."""
    lines = []
    for rule, job in asked.items():
        if job["mem_mb"] > memory:
            lines.append(
                f"{rule} asks for {job['mem_mb']:,} MB (compute.{rule}.mem_mb) and this machine has {memory:,} MB: it "
                "may be killed for lack of memory"
            )
        if job["threads"] > cores:
            lines.append(
                f"{rule} asks for {job['threads']} threads (compute.{rule}.threads) and has {cores} (--cores): it will "
                "be slower"
            )
    return lines


def slurm_fault() -> str | None:
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
    said = (asked.stderr.strip() or f"sinfo: exit status {asked.returncode}").splitlines()[-1]
    return f"SLURM does not answer ({said}); is this the cluster's login node?"
