"""Pixel limits: all arms train with one pair; checkpoints on disk, or protocols, may have another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_r1.evaluation.protocols import used_protocols
from vision_r1.families import Family
from vision_r1.files import UserError
from vision_r1.model_folder import pixel_limits
from vision_r1.models import check_checkpoint


def check_checkpoints(models: str | Path, family: Family) -> tuple[int, int] | None:
    """Return the pixel limits of the checkpoints that a run has trained so far, None where there is none.

    Raises UserError where one is of another family, or two were trained under different limits.
    """
    first = None
    for metrics in sorted(Path(models).rglob("metrics.json")):
        checkpoint = metrics.parent / "model"
        if metrics.parent == Path(models) / "base":
            continue
        check_checkpoint(checkpoint, family)
        limits = pixel_limits(checkpoint)
        if first is None and limits:
            first = checkpoint, limits
        elif limits and limits != first[1]:
            raise UserError(
                f"arms differ: {checkpoint} was trained with images of {limits[0]} to {limits[1]} pixels, "
                f"{first[0]} with {first[1][0]} to {first[1][1]}; delete the outdated one"
            )
    return first[1] if first else None


def evaluation_limits(config: Mapping[str, Any]) -> list[str]:
    """Say which protocols show other image sizes than training: allowed, since all checkpoints see the same."""
    model, evaluation, lines = config["model"], config["evaluation"], []
    for name in sorted(used_protocols(config)):
        protocol = evaluation["protocols"][name]
        limits = [protocol.get(key, model[key]) for key in ("min_pixels", "max_pixels")]
        if limits != [model["min_pixels"], model["max_pixels"]]:
            lines.append(
                f"Protocol {name} shows images of {limits[0]:,} to {limits[1]:,} pixels to every checkpoint, base and "
                f"all arms alike; training shows {model['min_pixels']:,} to {model['max_pixels']:,}."
            )
    return lines
