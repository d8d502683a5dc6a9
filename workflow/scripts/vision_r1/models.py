"""Loading a checkpoint's model, whole or not at all; its processor is loaded by vision_r1.processors.

A checkpoint is a folder as the hub has it, or as `save_pretrained` writes it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from vision_r1.families import FAMILIES, Family
from vision_r1.files import UserError, hash_folder, read_json
from vision_r1.model_folder import check_configuration, check_weights, weight_files
from vision_r1.text import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = ("float32", "bfloat16")


def check_checkpoint(checkpoint: str | Path, family: Family) -> None:
    """Raise UserError unless `checkpoint` is a folder with a model of `family`; reads one small file."""
    if not Path(checkpoint).is_dir():
        raise UserError(f"{checkpoint}: no such folder; a checkpoint is a folder with config.json and safetensors")
    hash_folder(checkpoint, ["config.json"])
    found = family_of(checkpoint).name
    if found != family.name:
        raise UserError(f"{checkpoint}/config.json: a model of family {found!r}, not {family.name!r}; fix the family")


def family_of(checkpoint: str | Path) -> Family:
    """Return the family of the model in a folder; reads one small file.

    Raises UserError where it is not one of FAMILIES, or can't be trained from or predicted with.
    """
    check_configuration(Path(checkpoint))
    config = read_json(Path(checkpoint) / "config.json")
    if "auto_map" in config:
        raise UserError(f"{checkpoint}/config.json: it needs code of its own (auto_map), which is never run")
    found = config.get("model_type")
    if found not in list(FAMILIES):  # a list or an object has no hash
        raise UserError(f"{checkpoint}/config.json: a model of family {found!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[found]


def load_model(checkpoint: str | Path, dtype: str) -> "PreTrainedModel":
    """Return the checkpoint's model with weights of `dtype` (one of DTYPES).

    Raises UserError for weights that are cut off or not safetensors, and unless model and checkpoint have exactly the
    same weights: transformers only warns, and continues with random weights. All must be finite, too; ZeRO-3 splits
    them while they load, which hides that.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModelForImageTextToText

    from vision_r1.positions import position_once
    from vision_r1.vision_encoder import speed_up_encoder

    check_configuration(Path(checkpoint))
    check_weights(Path(checkpoint), weight_files(Path(checkpoint)))
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            checkpoint,
            dtype=dtype,
            attn_implementation="sdpa",  # config.json may name one that isn't installed
            ignore_mismatched_sizes=True,  # they are refused below
            output_loading_info=True,
            trust_remote_code=False,
        )
    except (AttributeError, LookupError, StrictDataclassError, TypeError, ValueError) as error:  # not a full memory
        raise UserError(
            f"{checkpoint}: no model can be built from its files ({one_line(error)[:300]}); fetch it again"
        ) from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info[problem]:
            names = sorted(each if isinstance(each, str) else " ".join(map(str, each)) for each in info[problem])
            raise UserError(f"{checkpoint}: {problem}: {len(names)} weights, the first is {names[0]}; is it whole?")
    for name, weight in model.named_parameters():
        if not weight.sum(dtype=torch.float32).isfinite():
            raise UserError(f"{checkpoint}: weight {name} has values that are not finite; train or fetch it again")
    return position_once(speed_up_encoder(model))
