"""Time and memory that Snakemake takes to plan a large study: training seeds x experiments x benchmarks x checkpoints.

A copy of the project is configured for the miniature's data sets, each a suite of its own (--suites each: as many jobs
as can be) or the 13 shifted sets as one (--suites shipped). Measured are a dry run of everything from scratch, and one
that finds all of it done; in between every output is made as an empty file, and Snakemake's own --touch records it.

The peer, measured right after, is bare Snakemake: as many rules with as many jobs each, of one input, one output and a
shell command. The ratio is that of processor seconds, which other work on the machine disturbs least.

Example:
    python benchmarks/dag.py --seeds 10 --experiments 12 --suites each
    python benchmarks/dag.py --seeds 10 --experiments 33 --suites each
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/workflow"))
import yaml
from project import copy_project, job_numbers

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cost:
    """What one run of Snakemake took: seconds, seconds of one processor, and MB of memory at the peak."""

    seconds: float
    processor: float
    memory: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.processor:.1f} s of one processor), {self.memory:.0f} MB"


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


def bare_snakefile(jobs: Mapping[str, int]) -> str:
    """Return a Snakefile with these rules, rule -> number of jobs; the most frequent rule copies a file named source.

    Each other rule copies the files of the rule before it, in the order of their numbers of jobs.
    """
    names = sorted(jobs, key=jobs.get, reverse=True)
    everything = f"[f'{{rule}}/{{number}}.txt' for rule, jobs in {jobs!r}.items() for number in range(jobs)]"
    lines, before = [f"rule everything:\n    input: {everything}\n"], "source"
    for name in names:
        output = f"{name}/{{number}}.txt"
        lines.append(
            f"rule {name}:\n    input: '{before}'\n    output: '{output}'\n    shell: 'cp {{input}} {{output}}'\n"
        )
        before = output
    return "\n\n".join(lines)


def measured(words: Sequence[str], folder: Path) -> tuple[str, Cost]:
    """Run Snakemake; return what it printed, and what it took."""
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
    return text, Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


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


def plan(name: str, folder: Path, words: Sequence[str]) -> tuple[dict[str, int], Cost, Cost]:
    """Plan from scratch, make all, and plan again; print both. Return rule -> number of jobs, and both costs."""
    text, scratch = measured(["--dry-run", "--quiet", "rules", *words], folder)
    jobs = job_numbers(text)
    sys.stdout.write(f"{name}: {sum(jobs.values())} jobs from scratch: {scratch}\n")
    number = make_all(folder, outputs(measured(["--summary", *words], folder)[0]))
    measured(["--touch", "--quiet", "all", *words], folder)
    text, done = measured(["--dry-run", *words], folder)
    if "Nothing to be done" not in text:
        sys.exit(f"not all is recognised as done:\n{text[-2000:]}")
    sys.stdout.write(f"{name}: {number} files recognised as done: {done}\n")
    return jobs, scratch, done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--experiments", type=int, default=12)
    parser.add_argument("--suites", choices=["each", "shipped"], default="each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours, bare = Path(name) / "ours", Path(name) / "bare"
        ours.mkdir()
        bare.mkdir()
        copy_project(ROOT, ours)
        (ours / "study.json").write_text(json.dumps(overlay(args.seeds, args.experiments, args.suites)))
        jobs, *costs = plan("study", ours, ["--configfile", "study.json", "--", "all", "ablations"])
        (bare / "Snakefile").write_text(bare_snakefile(jobs))
        (bare / "source").touch()
        _, *peers = plan("bare Snakemake", bare, [])
        for what, cost, peer in zip(("from scratch", "recognised as done"), costs, peers, strict=True):
            sys.stdout.write(f"{what}: {cost.processor / peer.processor:.2f} times bare Snakemake\n")


if __name__ == "__main__":
    main()
