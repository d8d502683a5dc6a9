"""Progress of long work: a line in the log at intervals, the same in all programs, and how it is read back."""

import logging
import re
import time
from datetime import timedelta

log = logging.getLogger(__name__)

PAUSE = 5  # seconds between two lines at first, and before the first one

_LINE = re.compile(r" progress (\d+)/(\d+) .*  ([\d.e+-]+) [\w ]+/s  left ")


class Progress:
    """Logs lines such as `progress 650/2600 steps  loss 0.412  2.38 steps/s  left 0:13:39`.

    The pauses between lines grow to a hundredth of the elapsed time, so that a log of days stays readable.

    Args:
        total: units of work in all; None where unknown.
        unit: what is counted, in the plural.
        done: units that were done before, in an interrupted run.
    """

    def __init__(self, total: int | None, unit: str, done: int = 0) -> None:
        self.total, self.unit, self.before = total, unit, done
        self.began = self.logged = time.monotonic()

    def update(self, done: int, text: str = "") -> None:
        """Log that `done` units are done, if it is time for a line and there is something new to say."""
        now = time.monotonic()
        if done > self.before and now - self.logged >= max(PAUSE, (now - self.began) / 100):
            self.log(done, text)

    def log(self, done: int, text: str = "") -> None:
        """Log that `done` units are done, and what else there is to say."""
        self.logged = time.monotonic()
        pace = (done - self.before) / max(self.logged - self.began, 1e-9)
        left = timedelta(seconds=round((self.total - done) / pace)) if self.total and pace else "unknown"
        parts = [f"{done}/{self.total or '?'} {self.unit}", text, f"{pace:.3g} {self.unit}/s", f"left {left}"]
        log.info("progress %s", "  ".join(filter(None, parts)))


def last_progress(text: str) -> tuple[float, float] | None:
    """Return the share done, 0..1, and the seconds left, from a log's last such line; None where there is none."""
    found = _LINE.findall(text)
    if not found or not float(found[-1][2]):
        return None
    done, total, pace = map(float, found[-1])
    return done / total, (total - done) / pace
