"""GPUs of one machine, handed out so that no two jobs of a user share one."""

import fcntl
import logging
import os
import shutil
import subprocess
import time
from pathlib import Path

from vision_r1.files import UserError
from vision_r1.launcher.lock import POLL, try_lock

log = logging.getLogger(__name__)


def visible_devices() -> list[str]:
    """Return the GPUs of this machine as CUDA_VISIBLE_DEVICES names them: from there, or from nvidia-smi."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        named = ",".join(subprocess.run(query, capture_output=True, text=True).stdout.split())
    return [name.strip() for name in (named or "").split(",") if name.strip()]


def take_devices(count: int, folder: Path) -> list[str]:
    """Wait until `count` GPUs are free, hold them until this process (or what it execs) ends, and return their names.

    Each GPU is a lock file in `folder`, the same for all jobs. Whoever collects holds the queue, so two jobs never
    wait for each other's halves. Raises UserError where there are fewer on this machine.
    """
    devices = visible_devices()
    if count > len(devices):
        shown = f"{len(devices)} ({', '.join(devices)})" if devices else "none"
        raise UserError(f"--gpus {count}: this machine shows {shown}; ask for fewer in section compute")
    if not count:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "queue.lock").open("w") as queue:
        fcntl.flock(queue, fcntl.LOCK_EX)
        taken: list[str] = []
        while len(taken) < count:
            for name in devices:
                if len(taken) < count and name not in taken and try_lock(folder / f"{name}.lock") is not None:
                    taken.append(name)
            if len(taken) < count:
                time.sleep(POLL)
    log.info("GPUs %s", ", ".join(taken))
    return taken
