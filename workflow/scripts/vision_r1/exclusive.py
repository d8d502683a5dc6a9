"""One process at a time, with a lock file beside what the processes would both write."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

# Errors of file systems without locks, as some on a network are.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
# Errors where the lock file can't be written.
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def one_at_a_time(output: Path) -> Iterator[None]:
    """Let no other process write `output` meanwhile; wait while one does. Its folder is made; lock_of(output) stays.

    Where there are no locks, or the lock file can't be written (it is a colleague's), the log warns of other processes.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    # Without flock, FileLock would otherwise take the file's existence for the lock, and remove the file.
    lock = FileLock(lock_of(output), fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("another process writes %s; waiting for it", output)
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS + NO_RIGHT:
            raise
        log.warning("%s: can't be locked (%s); make sure that only one process writes it", output, error.strerror)
    try:
        yield
    finally:
        lock.release()


def lock_of(output: Path) -> Path:
    """Return the lock file's path."""
    return output.with_name(f".{output.name}.lock")
