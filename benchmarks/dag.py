"""Time and memory that Snakemake takes to plan a large study: training seeds x experiments x benchmarks x checkpoints.

A copy of the project is configured for the miniature's data sets, each a suite of its own (--suites each: as many jobs
as can be) or the 13 shifted sets as one (--suites shipped). Measured are dry runs of everything from scratch, and ones
that find all of it done; in between every output is made as an empty file, and Snakemake's own --touch records it.
"Planned" is the time until Snakemake says which jobs there are; a dry run then prints each of them.

Two peers have as many rules with as many jobs each, of one input and one output: bare Snakemake, whose rules have no
more than a shell command, and the same with the directives that our rules have, which shows what Snakemake itself asks
for these. The three take turns. The ratio is that of processor seconds, which other work on the machine disturbs least.

Example:
    python benchmarks/dag.py --seeds 10 --experiments 12 --suites each
    python benchmarks/dag.py --seeds 10 --experiments 33 --suites each --rounds 1
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
# What each of our rules has, for a job that {number} tells from the rule's others.
DIRECTIVES = """
    log: 'logs/RULE/{number}.log'
    benchmark: 'benchmarks/RULE/{number}.tsv'
    conda: 'environment.yml'
    threads: 1
    resources: mem_mb=lambda wildcards, attempt: 1000 * attempt, runtime=30, gpu=0
    params: code='0123456789abcdef', words=lambda wildcards: ['--number', wildcards.number]
    message: 'Copying {wildcards.number}'
    shell: 'cp {params.words:q} {input:q} {output:q} > {log:q} 2>&1'
"""
SHELL = """
    shell: 'cp {input} {output}'
"""


# Snakemake waits a tenth of a second before it touches the files of a job: twelve minutes for a large study.
TOUCH = """
import sys
from snakemake.executors.touch import Executor
Executor.SLEEPING_TIME = 0
from snakemake.cli import main
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Cost:
    """What one run of Snakemake took: seconds until it has planned, in all, of one processor; MB of peak memory."""

    planned: float
    seconds: float
    processor: float
    memory: float

    def __str__(self) -> str:
        times = f"planned after {self.planned:.1f} s, {self.seconds:.1f} s in all"
        return f"{times} ({self.processor:.1f} s of one processor), {self.memory:.0f} MB"


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


def bare_snakefile(jobs: Mapping[str, int], directives: str) -> str:
    """Return a Snakefile with these rules, rule -> number of jobs; the most frequent rule copies a file named source.

    Each other rule copies the files of the rule before it, in the order of their numbers of jobs.
    """
    names = sorted(jobs, key=jobs.get, reverse=True)
    everything = f"[f'{{rule}}/{{number}}.txt' for rule, jobs in {jobs!r}.items() for number in range(jobs)]"
    lines, before = [f"rule everything:\n    input: {everything}\n"], "source"
    for name in names:
        output = f"{name}/{{number}}.txt"
        files = f"    input: '{before}'\n    output: '{output}'"
        lines.append(f"rule {name}:\n{files}{directives.replace('RULE', name)}")
        before = output
    return "\n\n".join(lines)


def measured(words: Sequence[str], folder: Path, program: Sequence[str] = ("-m", "snakemake")) -> tuple[str, Cost]:
    """Run Snakemake; return what it printed, and what it took."""
    command = [sys.executable, *program, "--cores", "2", *words]
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, planned = [], None
    for line in process.stdout:
        lines.append(line)
        if planned is None and line.startswith(("Job stats:", "Nothing to be done")):
            planned = time.monotonic() - start
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    text = "".join(lines)
    if process.returncode:
        sys.exit(f"snakemake {' '.join(words)} failed:\n{text[-2000:]}")
    return text, Cost(planned or seconds, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


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


def finish(folder: Path, words: Sequence[str]) -> int:
    """Make every output, and let Snakemake take it for done. Return the number of outputs."""
    number = make_all(folder, outputs(measured(["--summary", *words], folder)[0]))
    measured(["--touch", "--quiet", "all", *words], folder, ["-c", TOUCH])
    text, _ = measured(["--dry-run", *words], folder)
    if "Nothing to be done" not in text:
        sys.exit(f"not all is recognised as done:\n{text[-2000:]}")
    return number


def race(what: str, workflows: Mapping[str, tuple[Path, Sequence[str]]], rounds: int) -> None:
    """Plan each workflow in turn; print what the fastest of the rounds took, and ours beside each of the others."""
    taken = {name: [] for name in workflows}
    for _ in range(rounds):
        for name, (folder, words) in workflows.items():
            taken[name].append(measured(["--dry-run", "--quiet", "rules", *words], folder)[1])
    best = {name: min(costs, key=lambda cost: cost.processor) for name, costs in taken.items()}
    ours, *_ = best.values()
    for name, cost in best.items():
        ratio = "" if cost is ours else f"; ours takes {ours.processor / cost.processor:.2f} times this"
        sys.stdout.write(f"{what}, {name}: {cost}{ratio}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--experiments", type=int, default=12)
    parser.add_argument("--suites", choices=["each", "shipped"], default="each")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the fastest counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / each for each in ("ours", "bare", "same")]
        for folder in folders:
            folder.mkdir()
        ours, *peers = folders
        copy_project(ROOT, ours)
        (ours / "study.json").write_text(json.dumps(overlay(args.seeds, args.experiments, args.suites)))
        words = ["--configfile", "study.json", "--", "all", "ablations"]
        jobs = job_numbers(measured(["--dry-run", "--quiet", "rules", *words], ours)[0])
        for folder, directives in zip(peers, (SHELL, DIRECTIVES), strict=True):
            (folder / "Snakefile").write_text(bare_snakefile(jobs, directives))
            (folder / "source").touch()
            (folder / "environment.yml").write_text("dependencies: []\n")
        names = ("ours", "bare Snakemake", "with our directives")
        workflows = {
            each: (folder, words if folder == ours else []) for each, folder in zip(names, folders, strict=True)
        }
        sys.stdout.write(f"{sum(jobs.values())} jobs\n")
        race("from scratch", workflows, args.rounds)
        numbers = [finish(*workflow) for workflow in workflows.values()]
        sys.stdout.write(f"{', '.join(map(str, numbers))} files\n")
        race("recognised as done", workflows, args.rounds)


if __name__ == "__main__":
    main()
