"""Say what a run would do, why, and what it would cost in GPU-hours and money. Runs nothing.

A dry run tells which jobs are due and for what reason: missing output, changed code, parameter or input. Hours come
from the benchmark files that earlier runs left, else from the preflight's estimate, which needs section `preflight`
of the configuration. All words go to snakemake; options come before targets.

Example:
  python workflow/scripts/plan_run.py --configfile config/paper.yaml
  make plan ARGS="--configfile config/paper.yaml"
"""

import contextlib
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import run
from vision_r1.files import UserError, read_json


def dry_run(words: Sequence[str]) -> tuple[list, Path | None]:
    """Return the jobs that snakemake would run with these words, and the run's folder under results/."""
    from snakemake.cli import main as snakemake
    from snakemake.logging import LogEvent, logger

    from vision_r1.preflight.plan import Job

    jobs, messages = [], []

    def keep(record: logging.LogRecord) -> bool:
        """Collect what is told about jobs, print nothing."""
        about = vars(record)
        if about.get("event") == LogEvent.JOB_INFO and about["shellcmd"]:
            gpus = int(about["resources"].get("gpu", 0) or 0)
            jobs.append(
                Job(about["rule_name"], about["reason"], gpus, about["benchmark"], dict(about["wildcards"] or {}))
            )
        elif record.levelno >= logging.ERROR:
            messages.append(record.getMessage())
        return False

    logger.addFilter(keep)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            snakemake(["--dry-run", "--cores", "all", "--nolock", *words])
        except SystemExit as end:
            if end.code:
                raise UserError(last_words(str(end.code), printed.getvalue(), *messages)) from None
    return jobs, run_folder(jobs)


def last_words(*texts: str) -> str:
    """Return what went wrong: the project's own line, where there is one, else the last line of all."""
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (own or lines)[-1]


def run_folder(jobs: Sequence) -> Path | None:
    """Return results/<run>, read from the place of a benchmark file."""
    found = (Path(*Path(job.benchmark).parts[:2]) for job in jobs if job.benchmark)
    return next((folder for folder in found if folder.name != "downloads"), None)


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    if {"--help", "-h"} & {*words}:
        sys.stdout.write(__doc__)
        return
    from vision_r1.preflight.plan import estimates_of, page
    from vision_r1.preflight.run import survey

    jobs, folder = dry_run(words)
    estimates, prices = {}, {"price_per_gpu_hour": None, "currency": ""}
    if folder:
        config = read_json(folder / "config.json")  # the rules write it whenever they are read
        summary = survey(config, folder / "data/train.jsonl", folder / "models", {})
        estimates, prices = estimates_of(summary, len(config["report"]["suites"])), config["preflight"]
    sys.stdout.write(page(jobs, estimates, prices["price_per_gpu_hour"], prices["currency"]))


if __name__ == "__main__":
    run(main)
