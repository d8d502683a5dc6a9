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
    """A copy of the project that tests may edit."""

    folder: Path

    def snakemake(self, *words, check=True, **options):
        """Run Snakemake in the copy and return the finished process, with standard error in standard output."""
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
        """Write a configuration file that overrides the others; return its name."""
        (self.folder / "overlay.json").write_text(json.dumps(values))
        return "overlay.json"

    def planned(self, *words, **options):
        """Return what a dry run plans: rule -> number of jobs; empty if everything is up to date."""
        return job_numbers(self.snakemake("--dry-run", *words, **options).stdout)


def job_numbers(output):
    """Return rule -> number of jobs, from the output of a dry run; empty if everything is up to date."""
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
