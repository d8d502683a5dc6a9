"""Where the numbers come from: commit, machine, commands, and what each job cost."""

import csv
import os
import platform
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def commit() -> str | None:
    """Return the git commit of the code that runs, with " (with local changes)" where so; None outside git."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (" (with local changes)" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, str]:
    """Describe the machine that this program runs on, without its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def commands(targets: Iterable[tuple[str, str]], snakemake: str) -> list[tuple[str, str]]:
    """Pair each (title, file) with the command that makes the file."""
    return [(title, f"{snakemake} {shlex.quote(path)}") for title, path in dict.fromkeys(targets)]


def benchmarks(folder: str | Path) -> list[dict[str, Any]]:
    """Read Snakemake's benchmark files: name, seconds, peak memory in MB (None where Snakemake wrote none)."""
    jobs = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                name = str(path.relative_to(folder).with_suffix(""))
                jobs.append({"name": name, "seconds": _number(row.get("s")), "memory": _number(row.get("max_rss"))})
    return jobs


def flatten(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    """List the leaves of nested mappings as (dotted key, text)."""
    if not isinstance(values, dict):
        return [(prefix, str(values))]
    return [leaf for key, value in values.items() for leaf in flatten(value, f"{prefix}.{key}" if prefix else str(key))]


def _number(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:
        return None
