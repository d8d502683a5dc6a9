"""Weights as a training saves them, whatever engine split them: whole, under their parent's names, as --dtype."""

import logging
import math
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.utils import is_peft_model
from safetensors import SafetensorError, safe_open
from transformers import Trainer

from vision_r1.files import UserError, read_json, sync, write_json, written_whole
from vision_r1.model_folder import INDEX, weight_files
from vision_r1.training.lora import kept_share

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

ENOUGH = 0.95  # of the adapters' change; a merged model with less is not the one that was trained
STORED = {"float32": "F32", "bfloat16": "BF16"}  # names of types in safetensors files


def keep_used_conversions(model: "PreTrainedModel") -> None:
    """Make the model save its weights under the names that they were loaded from.

    transformers undoes, when it saves, the renamings that loading needed. Under ZeRO-3 it notes all renamings that it
    knows for the family, needed or not, and writes names that neither the hub nor vLLM has.
    """
    model = model.get_base_model() if is_peft_model(model) else model
    model._weight_conversions = [conversion for conversion in model._weight_conversions if conversion.was_used()]


def save_model(trainer: Trainer, output: str | Path, parent: str | Path, dtype: str) -> float | None:
    """Write the trained model and its processor; to be called by all processes, of which one writes.

    Adapters are merged; returns their kept_share, None where there are none. Raises UserError, and writes nothing,
    where the weights are not laid out as their parent's.
    """
    model, kept = trainer.accelerator.unwrap_model(trainer.model), None
    if is_peft_model(model):
        kept = kept_share(model) if trainer.args.should_save else None
        if kept is not None and kept < ENOUGH:
            log.warning(
                "%s: %.0f %% of what the adapters changed stays in weights of this type, the rest is rounded off; "
                "train longer, or with a higher learning rate, or give model.dtype float32",
                output,
                100 * kept,
            )
        model = model.merge_and_unload()
        weights = model.state_dict()
    else:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # whole ones, in one process
    if not trainer.args.should_save:
        return kept
    weights = {name: weight.to(getattr(torch, dtype)) for name, weight in weights.items()}  # FSDP trains float32 copies
    for name in model.all_tied_weights_keys:
        weights.pop(name, None)
    with written_whole(output, sealed=True) as partial:
        model.save_pretrained(partial, state_dict=weights)
        # transformers has written the dtype of FSDP's float32 copies.
        write_json(partial / "config.json", read_json(partial / "config.json") | {"dtype": dtype})
        trainer.processing_class.save_pretrained(partial)
        check_shapes(partial, Path(parent), model.all_tied_weights_keys, dtype)
        sync(partial)
    return kept


def check_shapes(folder: Path, parent: Path, tied: Collection[str], dtype: str) -> None:
    """Raise UserError unless a checkpoint has the names and shapes of its parent's weights, all as `dtype`.

    Weights that are tied to others may be missing from either.
    """
    found = read_shapes(folder)
    expected = {name: (STORED[dtype], shape) for name, (_, shape) in read_shapes(parent).items()}
    names = (found.keys() | expected.keys()) - set(tied)
    different = sorted(name for name in names if found.get(name) != expected.get(name))
    if different:
        first = different[0]
        raise UserError(
            f"{folder}: {len(different)} weights are not laid out as in {parent}; the first is {first}: "
            f"{_shown(found.get(first))} in place of {_shown(expected.get(first))}"
        )


def count_parameters(checkpoint: Path) -> int:
    """Return how many numbers the weights of a checkpoint have."""
    return sum(math.prod(shape) for _, shape in read_shapes(checkpoint).values())


def read_shapes(checkpoint: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return type and shape of each weight of a checkpoint folder, by name; reads headers only.

    Raises UserError for a file that is missing or cut off.
    """
    shapes = {}
    for path in (checkpoint / name for name in weight_files(checkpoint) if name != INDEX):
        try:
            with safe_open(path, "pt") as file:
                weights = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no dict
                shapes |= {name: (weight.get_dtype(), tuple(weight.get_shape())) for name, weight in weights.items()}
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: not a whole safetensors file ({error})") from None
    return shapes


def _shown(weight: tuple[str, tuple[int, ...]] | None) -> str:
    return f"{weight[0]} {list(weight[1])}" if weight else "no such weight"
