"""What a run would do, why, and what it would cost: from a dry run's jobs and what earlier ones took."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_r1.experiments import BASE, split_training_seed
from vision_r1.files import UserError, read_json


@dataclass(frozen=True)
class Job:
    """One job of a dry run."""

    rule: str
    reason: str
    gpus: int
    benchmark: str | None  # the file that it will write, or has written when it ran before
    wildcards: Mapping[str, str]
    # JSON with `seconds`, of trainings also `steps`, that outlives interruptions and restored outputs, if it has one
    record: Path | None = None
    steps: int | None = None  # that a training will take, where they are known

    @property
    def checkpoint(self) -> str | None:
        """Return the checkpoint that a training makes, without its training seed, as in the preflight; else None."""
        if self.rule == "make_base_model":
            return BASE
        if self.rule == "train_sft":
            arm, *stage = self.wildcards["sft"].split("/")
            return "/".join([split_training_seed(arm)[0], *stage])
        if self.rule == "train_grpo":
            return f"{split_training_seed(self.wildcards['experiment'])[0]}/{self.wildcards['stage']}"
        return None

    @property
    def units(self) -> int:
        """Return what its duration grows with: the steps of a training; any other job counts as one."""
        return self.steps or 1


def measured_seconds(job: Job) -> float | None:
    """Return how long the job will take, judging by its last run, or None.

    The time of a training grows with its steps, which may have changed since. What other changed parameters do to the
    GPU-hours of a job, its last run can't tell.

    A record comes first: a benchmark file may be of a job that waited for a GPU, resumed, or only restored what was
    made before. Raises UserError for a benchmark file of another shape.
    """
    record = read_json(job.record) if job.record and job.record.is_file() else {}
    seconds, steps = record.get("seconds"), record.get("steps")
    if seconds is not None and steps and job.steps:
        return seconds * job.steps / steps
    if job.gpus and "Params have changed" in job.reason:
        return None
    if seconds is not None or job.record and job.rule != "predict_suite":  # predictions of older versions have none
        return seconds
    if job.benchmark is None or not Path(job.benchmark).is_file():
        return None
    with Path(job.benchmark).open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file, delimiter="\t"), {})
    try:
        return float(row["s"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{job.benchmark}: not a Snakemake benchmark file; remove it") from None


def typical_seconds(jobs: Sequence[Job]) -> dict[str, float]:
    """Return the mean duration of each rule's jobs that ran before, in seconds; of trainings, that of a step."""
    found: dict[str, list[float]] = {}
    for job in jobs:
        seconds = measured_seconds(job)
        if seconds is not None:
            found.setdefault(job.rule, []).append(seconds / job.units)
    return {rule: sum(times) / len(times) for rule, times in found.items()}


def gpu_hours(job: Job, typical: Mapping[str, float], estimates: Mapping[str, float]) -> tuple[float, str] | None:
    """Return (GPU-hours, where the number comes from), or None where nothing is known.

    estimates: GPU-hours of trainings by checkpoint, and of one prediction as `predict_suite`, from the preflight.
    """
    if not job.gpus:
        return 0.0, "no GPU"
    source = "time per step of " if job.steps else ""
    seconds = measured_seconds(job)
    if seconds is not None:
        return job.gpus * seconds / 3600, f"{source}its last run"
    if job.rule in typical:
        return job.gpus * typical[job.rule] * job.units / 3600, f"{source}other runs of the rule"
    for name in (job.checkpoint, job.rule):
        if name in estimates:
            return estimates[name], "preflight"
    return None


def estimates_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the preflight's GPU-hours by checkpoint, and those of one checkpoint on a suite, on average."""
    found = {item["name"]: item["gpu_hours"] for item in summary["trainings"] if "gpu_hours" in item}
    prediction = summary["prediction"]
    if "gpu_hours" in prediction:
        suites = {each["suite"] for each in prediction["prompts"]}  # whose annotations are here
        found["predict_suite"] = prediction["gpu_hours"] / (prediction["checkpoints"] * len(suites))
    return found


def cpu_time(jobs: Sequence[Job], table: Mapping[str, Any]) -> str | None:
    """Return a sentence about the time of jobs that need no GPU, None where nothing is known.

    table: {machine, seconds by rule} of a run like this one (benchmarks/results/demo.json), used for rules that have
    not run on this machine; empty where there is none.
    """
    mine = [job for job in jobs if not job.gpus]
    typical, sources, seconds, unknown = typical_seconds(mine), {}, 0.0, 0
    for job in mine:
        measured = measured_seconds(job) or typical.get(job.rule, 0.0) * job.units
        found = measured or table.get("seconds", {}).get(job.rule)
        if found is None:
            unknown += 1
        else:
            seconds += found
            sources["earlier runs here" if measured else f"measured on {table['machine']}"] = None
    if not sources:
        return None
    rest = f"; nothing is known of {unknown} more" if unknown else ""
    return f"Jobs without a GPU: about {seconds / 60:,.1f} minutes ({', '.join(sources)}){rest}."


def page(
    jobs: Sequence[Job],
    estimates: Mapping[str, float],
    price: float | None,
    currency: str,
    table: Mapping[str, Any] | None = None,
) -> str:
    """Return the plan as text: rules with their jobs and reasons, then hours and cost; table: see cpu_time."""
    if not jobs:
        return "Nothing would run.\n"
    typical = typical_seconds(jobs)
    lines = [f"{len(jobs)} jobs would run."]
    total, unknown = 0.0, 0
    for rule in dict.fromkeys(job.rule for job in jobs):
        same = [job for job in jobs if job.rule == rule]
        costs = [gpu_hours(job, typical, estimates) for job in same]
        known = [cost for cost in costs if cost is not None]
        hours, missing = sum(cost[0] for cost in known), len(costs) - len(known)
        total, unknown = total + hours, unknown + missing
        sources = ", ".join(dict.fromkeys(source for _, source in known if source != "no GPU"))
        lines += ["", f"{rule} x {len(same)}" + (f": {hours:,.2f} GPU-hours ({sources})" if sources else "")]
        if missing:
            lines.append(f"  of {missing} nothing is known: no earlier run with these settings, no estimate")
        lines += [f"  {reason}" for reason in reasons(same)]
    if any(job.record and job.record.is_file() and "updated by another job" in job.reason for job in jobs):
        lines += ["", "What finds its inputs unchanged when its turn comes is restored, not made again."]
    if time := cpu_time(jobs, table or {}):
        lines += ["", time]
    if not any(job.gpus for job in jobs):
        lines += ["", "No job needs a GPU." + ("" if time else " Nothing is known of their time: no earlier run.")]
        return "\n".join(lines) + "\n"
    cost = f", {total * price:,.2f} {currency}" if price is not None else ""
    lines += ["", f"Together {total:,.2f} GPU-hours{cost}" + (f", without the {unknown} unknown." if unknown else ".")]
    if price is None:
        lines.append("No price is given: set preflight.price_per_gpu_hour.")
    return "\n".join(lines) + "\n"


def reasons(jobs: Sequence[Job]) -> list[str]:
    """Return the jobs' reasons, one line per kind, with the first file, parameter or other thing that it names."""
    found: dict[str, list[str]] = {}
    for job in jobs:
        for part in job.reason.split("; "):
            kind, _, things = part.partition(": ")
            found.setdefault(kind, []).extend(filter(None, things.split(", ")))
    return [
        kind + (f": {things[0]}" if things else "") + (f" and {len(things) - 1} more" if len(things) > 1 else "")
        for kind, things in found.items()
    ]
