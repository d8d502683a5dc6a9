"""How long `make demo` takes here, divided among its rules: the times from which `make demo` estimates what is left.

Each moment of the run is divided equally among the jobs that were running, so the seconds add up to the duration of the
run, however many jobs ran in parallel. Reads the benchmark files that Snakemake wrote; all must come from one run.

Example, after `rm -r results/miniature; make demo`:
    python benchmarks/demo.py > benchmarks/results/demo.json
"""

import argparse
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.resources import processor


def read_jobs(folder: Path) -> list[tuple[str, float, float]]:
    """Return rule, start and end of each job, from its benchmark file <folder>/<rule>.tsv or <folder>/<rule>/**.tsv."""
    jobs = []
    for path in folder.rglob("*.tsv"):
        with path.open(newline="") as file:
            seconds = float(next(csv.DictReader(file, delimiter="\t"))["s"])
        end = path.stat().st_mtime
        jobs.append((path.relative_to(folder).with_suffix("").parts[0], end - seconds, end))
    return jobs


def shares(jobs: Sequence[tuple[str, float, float]]) -> Counter[str]:
    """Return each rule's seconds of the run."""
    seconds = Counter()
    for start, end in pairwise(sorted({time for _, *times in jobs for time in times})):
        at_work = [rule for rule, began, ended in jobs if began <= start and end <= ended]
        for rule in at_work:
            seconds[rule] += (end - start) / len(at_work)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("results/miniature/benchmarks"))
    jobs = read_jobs(parser.parse_args().folder)
    count = Counter(rule for rule, *_ in jobs)
    seconds = {rule: round(total / count[rule], 2) for rule, total in sorted(shares(jobs).items())}
    json.dump({"machine": f"{os.cpu_count()} cores of {processor()}", "seconds": seconds}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
