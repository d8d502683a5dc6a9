"""Trainer checkpoints that survive `kill -9`: which state belongs to a training, and which of it is whole.

A state folder holds one sub-folder for each training, named by a fingerprint of what decides its result.
A checkpoint counts only when MARKER lies in it, which is written after everything else and lists all
files with their sizes, so a half-written, half-deleted or truncated checkpoint is recognised.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_r1.files import read_json, write_json

MARKER = "complete.json"


def fingerprint(train_file: str | Path, weights_of: list[str], settings: Mapping[str, Any]) -> str:
    """Return a hash of the training file, the weights of the parent checkpoints, and the settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for file in (
        Path(train_file),
        *(file for folder in weights_of for file in sorted(Path(folder).glob("*.safetensors"))),
    ):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def mark_complete(checkpoint: str | Path, seconds: float) -> None:
    """Declare a checkpoint whole; `seconds` is the training time up to it, over all interruptions."""
    write_json(Path(checkpoint) / MARKER, {"seconds": seconds, "bytes": _sizes(Path(checkpoint))})


def is_complete(checkpoint: str | Path) -> bool:
    """Tell whether a checkpoint was marked, and all its files still are as they were then."""
    marker = Path(checkpoint) / MARKER
    return marker.is_file() and read_json(marker)["bytes"] == _sizes(Path(checkpoint))


def last_complete(state: str | Path) -> Path | None:
    """Return the newest whole checkpoint of a training's state folder, or None."""
    found = [path for path in _checkpoints(Path(state)) if is_complete(path)]
    return found[-1] if found else None


def remove_incomplete(state: str | Path) -> None:
    """Delete what a killed process left half done."""
    for path in _checkpoints(Path(state)):
        if not is_complete(path):
            shutil.rmtree(path)


def prune(states: str | Path, keep: int = 2) -> None:
    """Delete the state folders of other trainings, all but the `keep` that were begun last."""
    folders = [path for path in Path(states).iterdir() if path.is_dir()]
    for path in sorted(folders, key=lambda path: path.stat().st_mtime)[:-keep]:
        shutil.rmtree(path)


def _checkpoints(state: Path) -> list[Path]:
    found = [path for path in state.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def _sizes(checkpoint: Path) -> dict[str, int]:
    # Hidden files are not the trainer's: Snakemake puts one into every folder that is an output.
    found = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
    files = (path for path in found if path.name != MARKER and not path.name.startswith("."))
    return {str(path.relative_to(checkpoint)): path.stat().st_size for path in files}
