"""A copy of the project to run Snakemake in."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SMOKE = ["--configfile", "tests/smoke.yaml"]


@dataclass(frozen=True)
class Project:
    """A copy of the project, so that tests may edit it."""

    folder: Path

    def snakemake(self, *words, check=True, **options):
        """Run Snakemake in the copy and return the finished process, standard error within standard output."""
        finished = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, words)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        if check:
            assert finished.returncode == 0, finished.stdout
        return finished

    def overlay(self, values):
        """Write a configuration to lay over the others; return its name."""
        (self.folder / "overlay.json").write_text(json.dumps(values))
        return "overlay.json"

    def planned(self, *words, **options):
        """Return what a dry run would do: rule -> number of jobs; empty where all is current."""
        return job_numbers(self.snakemake("--dry-run", *words, **options).stdout)


def job_numbers(output):
    """Return rule -> number of jobs, from what a dry run printed; empty where all is current."""
    table = output.rpartition("Job stats:\n")[2] if "Job stats:" in output else ""
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
    jobs.pop("total", None)
    return jobs


def copy_project(root, folder):
    for name in ("rules", "config", "workflow", "profiles"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for name in ("Snakefile", "environment.yml", "tests/smoke.yaml"):
        shutil.copy(root / name, folder / name)
    return Project(folder)
