"""Where the numbers come from: commit, machine, configuration, commands, and what each job cost."""

import csv
import hashlib
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vision_r1.resources import processor

# Keys about what a run shows or where it runs, not what it computes: left out of differences between configurations.
NOT_COMPARED = (
    *("archives", "datasets", "experiments", "preflight", "run", "seed", "freeze_code"),
    *("report.title", "report.banner", "report.disclosures"),
)
PACKAGES = ("numpy", "hotcoco", "scipy", "matplotlib", "jinja2")  # used to score and to write the page


@dataclass(frozen=True)
class RuleCost:
    """All jobs of one rule: how many, seconds of all and of the longest, peak memory in MB, GPUs per job, GPU-hours.

    None where Snakemake measured nothing, or the rule's number of GPUs was not given.
    """

    rule: str
    jobs: int
    seconds: float
    longest: float
    memory: float | None
    gpus: int | None

    @property
    def gpu_hours(self) -> float | None:
        """GPU-hours of all jobs: what was reserved, not what was busy."""
        return None if self.gpus is None else self.gpus * self.seconds / 3600


def commit() -> str | None:
    """Return the git commit of the code that runs, with " (with local changes)" where so; None outside git.

    Changes are edited files, and new ones among the programs: a user's own configuration is no change of the code.
    """
    scripts = Path(__file__).parents[2]
    # In a hook, git names the repository that it works on.
    named = {"GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}
    environment = {name: value for name, value in os.environ.items() if name not in named}

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=scripts, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    def changed() -> str:
        return git("status", "--porcelain", "--untracked-files=no") or git("status", "--porcelain", "--", ".")

    try:
        # Else the repository is another one, in which this code merely lies.
        git("ls-files", "--error-unmatch", str(Path(__file__).relative_to(scripts)))
        return git("rev-parse", "HEAD") + (" (with local changes)" if changed() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, str]:
    """Describe the machine that this program runs on, without its name."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def versions(training: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return package -> versions: those that the trainings noted, and for PACKAGES those installed here."""
    found: dict[str, set[str]] = {name: {version(name)} for name in PACKAGES}
    for metrics in training:
        for name, number in metrics.get("versions", {}).items():
            found.setdefault(name, set()).add(number)
    return {name: sorted(found[name]) for name in sorted(found)}


def commands(targets: Iterable[tuple[str, str]], snakemake: str) -> list[tuple[str, str]]:
    """Pair each (title, file) with the command that makes the file again."""
    return [(title, f"{snakemake} {shlex.quote(path)}") for title, path in dict.fromkeys(targets)]


# Rules that the report doesn't wait for: whether their jobs are done when it is written is chance.
NOT_BEFORE = ("release_checkpoint", "render_report")


def read_jobs(folder: str | Path, shown: Collection[str], rules: Collection[str] = ()) -> list[dict[str, Any]]:
    """Read Snakemake's benchmark files: name, seconds, peak memory in MB (None where Snakemake wrote none).

    shown: files of a checkpoint or suite, as of Run.costs_shown; those of others, such as ablations, are left out.
    rules: whose files are read; none: all. Naming them skips the files of rules that no longer exist. Those of
    NOT_BEFORE are always left out. Snakemake samples memory every half second, so that of a shorter job is None, too.
    """
    jobs, of_checkpoints = [], {name.partition("/")[0] for name in shown}
    for path in sorted(Path(folder).rglob("*.tsv")):
        name = str(path.relative_to(folder).with_suffix(""))
        rule = name.partition("/")[0]
        removed = bool(rules) and rule not in rules
        of_another = rule in of_checkpoints and name not in shown  # checkpoint or suite
        if rule in NOT_BEFORE or removed or of_another:
            continue
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                seconds, memory = _number(row.get("s")), _number(row.get("max_rss"))
                sampled = seconds is not None and seconds >= 1
                jobs.append({"name": name, "seconds": seconds, "memory": memory if sampled else None})
    return jobs


def rule_costs(jobs: Iterable[Mapping[str, Any]], gpus: Mapping[str, int] | None = None) -> list[RuleCost]:
    """Sum up jobs of `read_jobs` by rule, the longest first; gpus: rule -> GPUs that one of its jobs asks for."""
    rules: dict[str, list[Mapping[str, Any]]] = {}
    for job in jobs:
        if job["seconds"] is not None:
            rules.setdefault(job["name"].partition("/")[0], []).append(job)
    found = []
    for rule, own in rules.items():
        seconds = [job["seconds"] for job in own]
        memory = [job["memory"] for job in own if job["memory"] is not None]
        found.append(
            RuleCost(rule, len(own), sum(seconds), max(seconds), max(memory, default=None), (gpus or {}).get(rule))
        )
    return sorted(found, key=lambda cost: -cost.seconds)


def differences(config: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """List (dotted key, value here, value there) where two configurations differ, None where a key is not set."""
    ours, theirs = dict(flatten(config)), dict(flatten(other))
    return [
        (key, ours.get(key), theirs.get(key))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key) and not f"{key}.".startswith(tuple(f"{each}." for each in NOT_COMPARED))
    ]


def of_images(index: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sum up images.jsonl by data set: name, number of images, and the SHA-256 of their sorted checksums."""
    datasets: dict[str, list[str]] = {}
    for image in index:
        datasets.setdefault(image["dataset"], []).append(image["sha256"])
    return [
        {
            "name": f"images of {name}",
            "files": len(images),
            "bytes": None,
            "sha256": hashlib.sha256("\n".join(sorted(images)).encode()).hexdigest(),
        }
        for name, images in datasets.items()
    ]


def flatten(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    """List the leaves of nested mappings as (dotted key, text); values other than text are written as JSON."""
    if isinstance(values, Mapping) and values:
        return [
            leaf for key, value in values.items() for leaf in flatten(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [(prefix, ", ".join(text for value in values for _, text in flatten(value)))]
    return [(prefix, values if isinstance(values, str) else json.dumps(values, ensure_ascii=False, default=str))]


def _number(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:
        return None
