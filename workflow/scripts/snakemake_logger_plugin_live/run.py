"""How far a run is: its jobs, what their logs tell, and the time left, estimated from an earlier run's durations."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from vision_r1.progress import last_progress

TAIL = 10_000  # bytes at a log's end, in which its last line of progress stands
TRUST = 30  # seconds after which this machine's own speed counts for more than the typical one


@dataclass(frozen=True)
class Job:
    """A job at work since the time `began`; `name` is its rule with its wildcards."""

    rule: str
    name: str
    log: str | None
    began: float

    def progress(self) -> tuple[float, float] | None:
        """Return the share done, 0..1, and the seconds left, from the job's log; None while it has no progress line."""
        try:
            if not self.log or os.path.getmtime(self.log) < self.began:  # of an earlier attempt
                return None
            with open(self.log, "rb") as file:
                file.seek(max(0, os.path.getsize(self.log) - TAIL))
                return last_progress(file.read().decode(errors="replace"))
        except OSError:
            return None


@dataclass
class Run:
    """A run since the time `began`; `typical`: rule -> seconds that one of its jobs adds to the duration of a run."""

    began: float
    typical: Mapping[str, float] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)  # at work, by Snakemake's number
    done: int = 0
    total: int = 0  # jobs; 0 until they are planned
    expected: float = 0.0  # typical seconds of all jobs
    finished: float = 0.0  # and of those that are finished

    def plan(self, jobs: Mapping[str, int], now: float) -> None:
        """Begin the run's work; jobs: rule -> number of its jobs, and their sum under `total`."""
        self.began, self.total = now, jobs["total"]
        self.expected = sum(self.typical.get(rule, 0) * count for rule, count in jobs.items())

    def finish(self, number: int) -> None:
        """Count a job as finished, even one not known: with --quiet rules, Snakemake reports only the ends of jobs."""
        if job := self.jobs.pop(number, None):
            self.finished += self.typical.get(job.rule, 0)

    def line(self, now: float) -> str:
        """Return the live line: time left, jobs done, and the jobs at work with their progress."""
        if not self.total:
            return f"planning, {_clock(now - self.began)}"
        parts, worked, longest = [f"{self.done} of {self.total} jobs done"], self.finished, 0.0
        for job in self.jobs.values():
            share, left = job.progress() or (0.0, None)
            worked += share * self.typical.get(job.rule, 0)
            longest = max(longest, left or 0.0)
            shown = _clock(now - job.began) if left is None else f"{share:.0%}, {_clock(left)} left"
            parts.append(f"{job.name} {shown}")
        if not self.expected:
            return " | ".join(parts)
        # Estimated from the typical speed at first, and from this machine's once enough work is done to measure it.
        slowness = (now - self.began + TRUST) / (worked + TRUST)
        return " | ".join([in_words(max(slowness * (self.expected - worked), longest)) + " left", *parts])


def in_words(seconds: float) -> str:
    return f"about {round(seconds / 60)} min" if seconds >= 90 else "about a minute"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
