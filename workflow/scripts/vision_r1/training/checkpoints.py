"""Trainer checkpoints that survive `kill -9` and power cuts: which state belongs to a training, which of it is whole.

A state folder holds one sub-folder for each training, named by a fingerprint of what decides its result.
A checkpoint counts only when MARKER lies in it. It is written when all other files are on the disk, and lists them with
size and SHA-256. Sizes show what is half-written, half-deleted or truncated, and are compared at every look. Hashes
show what a power cut or a failing disk changed. They need the whole checkpoint to be read, 133 GB for 8.3 billion
weights under ZeRO, so they are compared only for the checkpoint that a training is about to resume from.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_r1.files import UserError, hash_files, read_json, sync, write_json

log = logging.getLogger(__name__)

MARKER = "complete.json"
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return a hash of what decides the result of a training (settings.settings_of)."""
    # It names the folder of the trainer's checkpoints. A training resumes only under the same name: weights that began
    # with one learning rate, file or code and ended with another would belong to neither. What only watches a training
    # (guards, logging) is left out, so that it can be changed half-way.
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def sync_and_hash(checkpoint: str | Path, process: int = 0, processes: int = 1) -> dict[str, str]:
    """Sync a checkpoint to disk; return the SHA-256 of the files that are this process's share, by name.

    Together, the processes of a training hash every file once. But each syncs all files, since a machine can only sync
    what it has written itself.
    """
    sync(checkpoint)
    sizes = _sizes(Path(checkpoint))
    largest_first = sorted(sizes, key=lambda name: (-sizes[name], name))
    return hash_files(checkpoint, largest_first[process::processes])


def mark_complete(checkpoint: str | Path, seconds: float, hashes: Mapping[str, str]) -> None:
    """Declare a checkpoint whole.

    Args:
        checkpoint: folder whose files are on the disk.
        seconds: training time up to it, over all interruptions.
        hashes: SHA-256 of each of its files, by name (sync_and_hash).
    """
    files = {name: {"bytes": size, "sha256": hashes[name]} for name, size in _sizes(Path(checkpoint)).items()}
    write_json(Path(checkpoint) / MARKER, {"seconds": seconds, "files": files})
    sync(Path(checkpoint) / MARKER)


def is_complete(checkpoint: str | Path) -> bool:
    """Tell whether a checkpoint was marked, and all its files still have the sizes that they had then."""
    marked = {name: entry["bytes"] for name, entry in _marked(Path(checkpoint)).items()}
    return bool(marked) and marked == _sizes(Path(checkpoint))


def damaged_file(checkpoint: str | Path) -> str | None:
    """Return the first file of a complete checkpoint whose contents are not those that were marked; reads all of it."""
    marked = _marked(Path(checkpoint))
    found = hash_files(checkpoint, list(marked))
    return next((name for name in marked if found[name] != marked[name]["sha256"]), None)


def last_complete(state: str | Path) -> Path | None:
    """Return the newest complete checkpoint of a training's state folder, or None."""
    found = [path for path in _checkpoints(Path(state)) if is_complete(path)]
    return found[-1] if found else None


def remove_damaged(state: str | Path) -> None:
    """Delete what a killed process left half done, and the newest checkpoints until one is undamaged."""
    intact = False
    for path in reversed(_checkpoints(Path(state))):
        if not is_complete(path):
            shutil.rmtree(path)
        elif not intact and (name := damaged_file(path)):
            log.warning("%s/%s: damaged (a power cut?); falling back to the checkpoint before", path, name)
            shutil.rmtree(path)
        else:
            intact = True


def prune(states: str | Path) -> None:
    """Delete the state folders of all trainings but the last two."""
    for path in by_age(states)[:-2]:
        shutil.rmtree(path)


def prune_checkpoints(state: str | Path) -> None:
    """Delete all but the last two checkpoints of a training, by their steps: the clocks of machines may differ."""
    # Two: while the newest is being written, the one before it is the only whole one.
    for path in _checkpoints(Path(state))[:-2]:
        shutil.rmtree(path, ignore_errors=True)  # what is left, as of files that NFS keeps, is no whole checkpoint


def by_age(states: str | Path) -> list[Path]:
    """Return the state folders of all trainings, the one that was begun last at the end.

    Other folders, which may be the user's, are left out.
    """
    found = (path for path in Path(states).iterdir() if path.is_dir() and _FINGERPRINT.fullmatch(path.name))
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _checkpoints(state: Path) -> list[Path]:
    found = [path for path in state.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def _marked(checkpoint: Path) -> dict[str, dict[str, Any]]:
    """Return size and hash of each file as they were marked; {} where the marker itself is missing or damaged."""
    try:
        return read_json(checkpoint / MARKER)["files"]
    except (UserError, KeyError):
        return {}


def _sizes(checkpoint: Path) -> dict[str, int]:
    # Hidden files are not the trainer's: Snakemake puts one into every folder that is an output.
    found = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
    files = (path for path in found if path.name != MARKER and not path.name.startswith("."))
    return {str(path.relative_to(checkpoint)): path.stat().st_size for path in files}
