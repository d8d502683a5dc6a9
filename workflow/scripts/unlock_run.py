"""Remove the lock that a killed Snakemake left in this folder, unless something still works in it.

Example: python workflow/scripts/unlock_run.py
"""

import logging
import subprocess
from pathlib import Path

import psutil

from vision_r1.cli import parser, run
from vision_r1.files import UserError


def living_jobs(folder: Path) -> list[psutil.Process]:
    """Return Snakemake's and its jobs' processes that have `folder` as working directory."""
    own = {psutil.Process().pid, *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if process.pid not in own and any("snakemake" in word or "workflow/scripts/" in word for word in words):
                if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def main(argv=None) -> None:
    parser(__doc__).parse_args(argv)
    folder = Path.cwd()
    jobs = living_jobs(folder)
    if jobs:
        numbers = ", ".join(str(process.pid) for process in jobs)
        raise UserError(f"{folder}: a run is still at work here (processes {numbers}); wait for it or end it first")
    locks = folder / ".snakemake/locks"
    if locks.is_dir() and any(locks.iterdir()):
        logging.info("removing the lock of a run that was killed")
        subprocess.run(["snakemake", "--unlock", "--quiet"], check=True)


if __name__ == "__main__":
    run(main)
