"""What this machine lacks for a run, said before the first job starts."""

from collections.abc import Mapping
from pathlib import Path

import psutil

# Memory limit of the container's control group, versions 2 and 1.
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
    """Return a line for each rule whose jobs ask for more threads than `cores`, or more than `memory` MB."""
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
