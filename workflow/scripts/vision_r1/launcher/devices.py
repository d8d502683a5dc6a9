"""GPUs of one machine, handed out so that no two jobs of a user, nor two processes of one job, share one."""

import fcntl
import logging
import os
import shutil
import subprocess
import time
from collections.abc import MutableMapping
from pathlib import Path

from vision_r1.files import UserError
from vision_r1.launcher.lock import POLL, private_folder, try_lock

log = logging.getLogger(__name__)

# Variables by which torchrun and `accelerate launch` tell their processes of each other.
RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "TORCHELASTIC_USE_AGENT_STORE",
)


def visible_devices() -> list[str]:
    """Return the GPUs of this machine as CUDA_VISIBLE_DEVICES names them: from there, or from nvidia-smi."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True)
        named = "" if answer.returncode else ",".join(answer.stdout.split())  # without a driver it prints sentences
    return [name.strip() for name in (named or "").split(",") if name.strip()]


def take_devices(count: int, folder: Path) -> list[str]:
    """Wait until `count` GPUs are free, hold them until this process (or what it execs) ends, and return their names.

    Each GPU is a lock file in `folder`, the same for all jobs, where nobody else can write. A job that collects GPUs
    holds the queue's lock, so two jobs never each hold GPUs that the other waits for. Raises UserError where this
    machine has fewer.
    """
    devices = visible_devices()
    if count > len(devices):
        shown = f"{len(devices)} ({', '.join(devices)})" if devices else "none"
        raise UserError(f"--gpus {count}: this machine shows {shown}; ask for fewer in section compute")
    if not count:
        return []
    private_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    queue = os.open(folder / "queue.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(queue, fcntl.LOCK_EX)
        taken: list[str] = []
        while len(taken) < count:
            for name in devices:
                if len(taken) < count and name not in taken and try_lock(folder / f"{name}.lock") is not None:
                    taken.append(name)
            if len(taken) < count:
                time.sleep(POLL)
    finally:
        os.close(queue)
    log.info("taken: GPU %s", ", ".join(taken))
    return taken


def take_one_card(environment: MutableMapping[str, str]) -> None:
    """Leave a process only the card of its LOCAL_RANK, and no variable that tells of the processes beside it.

    For a library that expects one process per machine and takes the first card. Call it before anything uses cards:
    CUDA reads CUDA_VISIBLE_DEVICES once. Raises UserError where that variable names too few cards; where it is empty
    (no cards), it stays so.
    """
    place, named = environment.get("LOCAL_RANK"), environment.get("CUDA_VISIBLE_DEVICES")
    if place is not None and named is None:
        environment["CUDA_VISIBLE_DEVICES"] = place
    elif place is not None and named.strip():
        cards = [card.strip() for card in named.split(",")]
        if int(place) >= len(cards):
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={named}: no card for process {int(place) + 1} of this machine; "
                "start one process per card"
            )
        environment["CUDA_VISIBLE_DEVICES"] = cards[int(place)]
    for name in RANK_VARIABLES:
        environment.pop(name, None)
