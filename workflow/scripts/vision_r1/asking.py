"""How a checkpoint is asked: with the words and the limits that it was trained with. A release keeps them as a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_r1.evaluation.protocols import used_protocols
from vision_r1.files import UserError, read_json
from vision_r1.model_folder import ASKING, pixel_limits
from vision_r1.run_folder import Run

KEYS = ("dtype", "min_pixels", "max_pixels", "max_new_tokens", "templates")
MAX_NEW_TOKENS = 1024  # where neither a run nor a release says how to ask


def of_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a run's checkpoints are asked, as a release keeps it.

    {dtype; min_pixels, max_pixels: of an image as the model sees it; max_new_tokens: the most that a protocol of the
    report allows; templates: the words}.
    """
    evaluation, model = config["evaluation"], config["model"]
    return {
        **{key: model[key] for key in ("dtype", "min_pixels", "max_pixels")},
        "max_new_tokens": max(evaluation["protocols"][name]["max_new_tokens"] for name in used_protocols(config)),
        "templates": dict(config["templates"]),
    }


def of_checkpoint(folder: Path) -> dict[str, Any]:
    """Return what is known of how to ask a checkpoint: from its run, its release, or its processor's settings.

    Raises UserError where the release's file is damaged, and for a run of another version.
    """
    if run := Run.of_model(folder):
        try:
            return of_run(run.config)
        except (KeyError, TypeError):
            raise UserError(
                f"{run.settings}: written by another version of this pipeline; run it again, or give a release"
            ) from None
    known: dict[str, Any] = {"max_new_tokens": MAX_NEW_TOKENS}
    if limits := pixel_limits(folder):
        known |= {"min_pixels": limits[0], "max_pixels": limits[1]}
    if (folder / ASKING).is_file():
        kept = read_json(folder / ASKING)
        if not isinstance(kept, dict):
            raise UserError(f"{folder / ASKING}: not a JSON object; release or fetch the checkpoint again")
        if unknown := sorted(kept.keys() - KEYS):
            raise UserError(f"{folder / ASKING}: unknown key {unknown[0]!r}; known: {', '.join(KEYS)}")
        known |= kept
    return known
