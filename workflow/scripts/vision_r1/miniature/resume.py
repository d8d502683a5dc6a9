"""What an interrupted pretraining resumes from: checkpoints of all its processes, marked as the trainers' are."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vision_r1.files import naming_full_disk, read_json, sync
from vision_r1.miniature.together import SharedGradients
from vision_r1.training.checkpoints import (
    MARKER,
    last_complete,
    mark_complete,
    prune,
    prune_checkpoints,
    remove_damaged,
    sync_and_hash,
)

log = logging.getLogger(__name__)

SAVE_EVERY = 500  # steps; a multiple of LOG_EVERY, whose losses no checkpoint holds


class Checkpoints:
    """The checkpoints of one pretraining, in a folder named by a hash of all that decides its result.

    Every process keeps a file of its own, with the state of the optimisers that it steps; that of rank 0 holds the
    weights, too. Opened before the other processes are forked.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        remove_damaged(folder)
        prune(folder.parent)
        self.folder = folder
        self.last = last_complete(folder)
        self.seconds = read_json(self.last / MARKER)["seconds"] if self.last else 0.0  # of training, up to it

    def load(
        self, rank: int, model: torch.nn.Module, optimizers: Sequence[Any], schedules: Sequence[Any]
    ) -> tuple[int, list[dict[str, float]]]:
        """Restore a process; return the saved step and the history up to it, 0 and none without a checkpoint."""
        if self.last is None:
            return 0, []
        found = torch.load(self.last / f"rank{rank}.pt", map_location="cpu", weights_only=True)
        if rank == 0:
            model.load_state_dict(found["model"])
            log.info("resuming from %s", self.last)
        for kind, states in (("optimizers", optimizers), ("schedules", schedules)):
            for each, state in zip(states, found[kind], strict=True):
                each.load_state_dict(state)
        return found["step"], found["history"]

    def save(
        self,
        rank: int,
        step: int,
        model: torch.nn.Module,
        optimizers: Sequence[Any],
        schedules: Sequence[Any],
        history: Sequence[dict[str, float]],
        seconds: float,
        gradients: SharedGradients,
    ) -> None:
        """Save a process, as all others do at this step; `seconds`: of training, over all interruptions."""
        place = self.folder / f"checkpoint-{step}"
        place.mkdir(exist_ok=True)
        state = {"step": step, "history": list(history), "model": model.state_dict() if rank == 0 else None}
        state |= {"optimizers": [each.state_dict() for each in optimizers]}
        state |= {"schedules": [each.state_dict() for each in schedules]}
        with naming_full_disk(place):
            torch.save(state, place / f"rank{rank}.pt")
            sync(place)
        gradients.wait()
        if rank == 0:
            mark_complete(place, seconds, sync_and_hash(place))
            prune_checkpoints(self.folder)
