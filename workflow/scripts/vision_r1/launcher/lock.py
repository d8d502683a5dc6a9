"""A lock that names the job that holds it, so that the same training never runs twice at once."""

import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from vision_r1.exclusive import NO_LOCKS
from vision_r1.files import UserError

log = logging.getLogger(__name__)

POLL = 2.0  # seconds between two tries
REMIND = 600.0  # seconds between two lines about the wait
SAME_JOB = 120.0  # seconds in which a requeued job's old processes should have ended


def try_lock(path: Path) -> int | None:
    """Return a file descriptor that holds the lock until it is closed, which any end of the process does, or None.

    Raises OSError where the lock's path is a link: writing would go into the file that it names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning("%s: this file system has no locks; make sure that the job runs once only", path)
    os.set_inheritable(descriptor, True)
    return descriptor


def private_folder(path: Path) -> Path:
    """Make a folder for this user alone, in a place where others can write. Raises UserError unless it is private."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = path.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise UserError(f"{path}: not a folder of yours; remove it, or set TMPDIR")
    if state.st_mode & 0o022:
        raise UserError(f"{path}: others can write in it; remove it, or set TMPDIR")
    path.chmod(0o700)  # earlier versions made it readable for all
    return path


def take(path: Path, job: str, process: str) -> int:
    """Wait for the lock, write who holds it into its file, and return its descriptor.

    Raises UserError when the same job holds it already, for longer than a job needs to end: its command was started
    twice.
    """
    began = time.monotonic()
    reminded = -REMIND
    while (descriptor := try_lock(path)) is None:
        waited, holder = time.monotonic() - began, path.read_text(encoding="utf-8").strip()
        if holder.startswith(f"{job},") and waited > SAME_JOB:
            raise UserError(f"{path}: held by {holder}: one job has started the same command twice; ask for one task")
        if waited - reminded >= REMIND:
            log.warning("waiting for %s, which holds %s; cancel it to continue here", holder or "another job", path)
            reminded = waited
        time.sleep(POLL)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{job}, {process}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode(), 0)
    return descriptor
