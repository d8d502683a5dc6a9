"""Say what a run would do, why, and what it would cost in GPU-hours and money. Runs nothing.

A dry run tells which jobs are due and for what reason: missing output, changed code, parameter or input. Hours come
from what earlier trainings and predictions took, else from the preflight's estimate, which needs section `preflight` of
the configuration; minutes of the miniature's jobs, which need no GPU, from benchmarks/results/demo.json. All arguments
go to snakemake; options come before targets. In a folder without a Snakefile, this project's is taken.

Example:
  python workflow/scripts/plan_run.py --configfile config/paper.yaml
  make plan ARGS="--configfile config/paper.yaml"
"""

import contextlib
import io
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vision_r1.cli import run
from vision_r1.files import UserError, read_json

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "benchmarks/results/demo.json"


def dry_run(words: Sequence[str]) -> list:
    """Return the jobs that snakemake would run with these words."""
    from snakemake.cli import main as snakemake
    from snakemake.logging import LogEvent, logger

    from vision_r1.preflight.plan import Job

    jobs, messages = [], []

    def keep(record: logging.LogRecord) -> bool:
        """Collect what Snakemake logs about jobs; print nothing."""
        about = vars(record)
        if about.get("event") == LogEvent.JOB_INFO and about["shellcmd"]:
            gpus = int(about["resources"].get("gpu", 0) or 0)
            rule, wildcards = about["rule_name"], dict(about["wildcards"] or {})
            noted = record_of(rule, about["output"])
            jobs.append(Job(rule, about["reason"], gpus, about["benchmark"], wildcards, noted))
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
    return jobs


def record_of(rule: str, outputs: Sequence[str]) -> Path | None:
    """Return where a training or a prediction notes the seconds that it takes in all; None for other rules."""
    from vision_r1 import finished

    if rule == "predict_suite":
        return finished.beside(Path(outputs[0])) / finished.MARKER
    return next((Path(path) for path in outputs if Path(path).name == "metrics.json"), None)


def last_words(*texts: str) -> str:
    """Return what went wrong: the project's own line, where there is one, else the last text's first and last line."""
    parts = [[line.strip() for line in text.splitlines() if line.strip()] for text in texts]
    lines = [line for part in parts for line in part]
    errors = [re.match(r"(?:\S+: )?error: (.*)", line, re.IGNORECASE) for line in lines]  # argparse names its program
    own = [found[1] for found in errors if found]
    last = next(part for part in reversed(parts) if part)
    return own[-1] if own else " ".join(dict.fromkeys((last[0], last[-1])))


def resolved(words: Sequence[str]) -> tuple[dict[str, Any], Path]:
    """Return the configuration that snakemake resolves with these words, and the folder that it works in.

    A dry run writes no configuration. As for snakemake, files on the command line are relative to the current folder,
    and those that the configuration names to the working folder.
    """
    from snakemake.cli import parse_args, parse_config
    from snakemake.exceptions import CliException

    from vision_r1.configuration import defaults, load, point_launchers
    from vision_r1.experiments import merge

    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):  # the dry run has named the profile already
        try:
            _, options = parse_args(["--cores", "all", *words])
            given = parse_config(options.config)
        except SystemExit as end:
            if not end.code:  # --version
                raise
            raise UserError(last_words(printed.getvalue())) from None
        except CliException as error:
            raise UserError(str(error)) from None
        except ValueError as error:
            hint = "; nested keys go into a file for --configfile" if "identifier" in str(error) else ""
            raise UserError(f"--config: {error}{hint}") from None
    overlays = load(options.configfile or ())
    folder = (options.directory or Path()).absolute()
    folder.mkdir(parents=True, exist_ok=True)  # as snakemake does, even in a dry run
    with contextlib.chdir(folder):
        config = merge(load(defaults(ROOT)), merge(overlays, given))
        point_launchers(config, ROOT)
    return config, folder


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    if {"--help", "-h"} & {*words}:
        sys.stdout.write(__doc__)
        return
    from snakemake.api import resolve_snakefile

    if not resolve_snakefile(None, allow_missing=True):
        words = ["--snakefile", str(ROOT / "Snakefile"), *words]  # first, so that one in `words` wins
    config, folder = resolved(words)  # first, as Snakemake doesn't name a file that it can't read
    jobs = dry_run(words)
    with contextlib.chdir(folder):
        sys.stdout.write(plan(config, jobs))


def plan(config: dict[str, Any], jobs: Sequence) -> str:
    """Return the plan of these jobs as text. Reads the records of earlier runs in the current folder."""
    from vision_r1.configuration import DEFAULT, load, run_name
    from vision_r1.experiments import BASE, STAGES, merge, split_checkpoint
    from vision_r1.preflight.plan import estimates_of, page
    from vision_r1.preflight.survey import survey
    from vision_r1.run_folder import Run

    # Targets can ask for experiments that are not in the report.
    arms = [split_checkpoint(job.checkpoint)[0] for job in jobs if job.checkpoint]
    experiments = dict.fromkeys(
        [*config["report"]["experiments"], *(arm for arm in arms if arm in config["experiments"])]
    )
    asked = merge(config, {"report": {"experiments": [*experiments]}})
    summary, prices = survey(Run(f"results/{run_name(config)}", asked)), config["preflight"]
    steps = {item["name"]: item["steps"] for item in summary["trainings"]} | {BASE: config["base"]["steps"]}
    jobs = [replace(job, steps=steps.get(job.checkpoint)) for job in jobs]
    # The measured times are the miniature's: they hold where nothing that decides them is overridden.
    default = load([ROOT / file for file in DEFAULT])
    same = all(config[name] == default[name] for name in ("base", "data", "sft", "grpo", *STAGES, "evaluation"))
    table = read_json(MEASURED) if same and MEASURED.is_file() else {}
    return page(jobs, estimates_of(summary), prices["price_per_gpu_hour"], prices["currency"], table)


if __name__ == "__main__":
    run(main)
