"""Remove the lock that a killed Snakemake left in this folder, unless a job still works in it.

Example: python workflow/scripts/unlock_run.py
"""

import logging
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from vision_r1.cli import parser, run
from vision_r1.files import UserError


def living_jobs(folder: Path) -> list[psutil.Process]:
    """Return Snakemake's and its jobs' processes that have `folder` as working directory, or may have."""
    own = {psutil.Process().pid, *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        ours = False
        try:
            words = process.cmdline()
            ours = any("snakemake" in word or "workflow/scripts/" in word for word in words)
            if ours and "python" in Path(words[0]).name and process.pid not in own and Path(process.cwd()) == folder:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:  # another user's, whose folder can't be seen
            if ours:
                found.append(process)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser(__doc__).parse_args(argv)
    folder = Path.cwd()
    locks = folder / ".snakemake/locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return
    started = folder / ".snakemake/started_on"
    where = started.read_text(encoding="utf-8") if started.is_file() else socket.gethostname()
    if where.partition(",")[0] != socket.gethostname():
        raise UserError(
            f"{folder}: locked by a run on another machine ({where}), whose processes can't be seen from here; run "
            "this there, or, where it has ended, call `snakemake --unlock` yourself"
        )
    if jobs := living_jobs(folder):
        shown = ", ".join(f"{job.pid} of {job.username()}" for job in jobs)
        raise UserError(
            f"{folder}: a run is still at work here, or may be ({shown}); wait for it or end it first, or, where it "
            "works elsewhere, call `snakemake --unlock` yourself"
        )
    logging.info("removing the lock of a run that was killed")
    if subprocess.run(["snakemake", "--unlock", "--quiet"]).returncode:
        raise UserError(f"{folder}: `snakemake --unlock` failed, as told above; fix that, then rerun")


if __name__ == "__main__":
    run(main)
