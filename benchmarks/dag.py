"""Time and memory that Snakemake takes to plan a large study: training seeds x experiments x benchmarks x checkpoints.

A copy of the project is configured for the miniature's data sets, each a suite of its own (--suites each: as many jobs
as can be) or the 13 shifted sets as one (--suites shipped). Measured are a dry run of everything from scratch, and one
that finds all of it done; in between every output is made as an empty file, and Snakemake's own --touch records it.

Example:
    python benchmarks/dag.py --seeds 10 --experiments 12 --suites each
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/workflow"))
import yaml
from project import copy_project

ROOT = Path(__file__).parents[1]
TARGETS = ["--", "all", "ablations"]


def overlay(seeds: int, experiments: int, suites: str) -> dict:
    """Return the configuration of a study in which no two experiments train anything alike."""
    names = [f"temperature_{number}" for number in range(experiments)]
    values = {
        "run": "study",
        "experiments": {name: {"grpo": {"temperature": 0.5 + number / 10}} for number, name in enumerate(names)},
        "report": {"experiments": names, "training_seeds": list(range(seeds))},
        "ablations": {"experiments": names, "training_seeds": list(range(seeds))},
    }
    if suites == "each":
        evaluation = yaml.safe_load((ROOT / "config/config.yaml").read_text())["evaluation"]
        names = [name for suite in ("shapes", "shapes13") for name in evaluation["suites"][suite]]
        values["evaluation"] = {
            "suites": {name: [name] for name in names},
            "suite_protocols": {name: evaluation["suite_protocols"]["shapes13"] for name in names},
        }
        values["report"]["suites"] = names
    return values


def measured(words: list[str], folder: Path) -> tuple[str, str]:
    """Run Snakemake; return what it printed, and its time and peak memory in words."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *words],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(f"snakemake {' '.join(words)} failed:\n{text[-2000:]}")
    used = usage.ru_utime + usage.ru_stime
    return text, f"{seconds:.1f} s ({used:.1f} s of one processor), {usage.ru_maxrss / 1000:.0f} MB"


def outputs(summary: str) -> Iterator[str]:
    """Yield the output files that `snakemake --summary` lists."""
    for line in summary.splitlines():
        cells = line.split("\t")
        if len(cells) > 4 and cells[0] != "output_file":
            yield cells[0]


def make_all(folder: Path, files: Iterator[str]) -> int:
    """Make every output; one without an ending is a folder. Return how many there are."""
    number = 0
    for number, name in enumerate(files, start=1):  # noqa: B007
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if not path.suffix else path.touch()
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--experiments", type=int, default=12)
    parser.add_argument("--suites", choices=["each", "shipped"], default="each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_project(ROOT, folder)
        (folder / "study.json").write_text(json.dumps(overlay(args.seeds, args.experiments, args.suites)))
        configured = ["--configfile", "study.json"]
        text, cost = measured(["--dry-run", "--quiet", "rules", *configured, *TARGETS], folder)
        jobs = int(re.search(r"^total +(\d+)", text, re.M)[1])
        sys.stdout.write(f"{jobs} jobs from scratch: {cost}\n")
        number = make_all(folder, outputs(measured(["--summary", *configured, *TARGETS], folder)[0]))
        measured(["--touch", "--quiet", "all", *configured, *TARGETS], folder)
        text, cost = measured(["--dry-run", *configured, *TARGETS], folder)
        if "Nothing to be done" not in text:
            sys.exit(f"not all is recognised as done:\n{text[-2000:]}")
        sys.stdout.write(f"{number} files recognised as done: {cost}\n")


if __name__ == "__main__":
    main()
