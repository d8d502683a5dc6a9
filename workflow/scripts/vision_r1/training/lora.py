"""LoRA (Hu et al. 2021) by PEFT: small adapters are trained beside frozen weights; finished models are saved merged.

A trainer checkpoint holds the adapters only, so a training resumes from the frozen weights and those adapters. The KL
term's reference is the model with its adapters off, that is, the frozen weights.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.utils import is_peft_model
from transformers.utils import is_peft_available

from vision_r1.files import UserError

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel


@dataclass(kw_only=True)
class LoRAArguments:
    """Arguments of the adapters, under TRL's names.

    Raises UserError where PEFT is missing, or weights are split over processes (they could not be merged).
    """

    lora_r: int | None = field(default=None, metadata={"help": "rank of the adapters; default: train all weights"})
    lora_alpha: float = field(default=32.0, metadata={"help": "adapters are scaled by alpha / r"})
    lora_dropout: float = field(default=0.0, metadata={"help": "dropout before the adapters"})
    lora_target_modules: str = field(
        default="all-linear", metadata={"help": "all-linear, or a regular expression over names of layers"}
    )

    def __post_init__(self) -> None:
        if self.lora_r is None:
            return
        if not is_peft_available():
            raise UserError("--lora_r: adapters need PEFT; pip install -r requirements-gpu.txt")
        if os.environ.get("ACCELERATE_USE_FSDP") == "true" or os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3":
            raise UserError("--lora_r: adapters can't be merged while weights are split; launch with DDP or ZeRO-2")


def lora_config(arguments: LoRAArguments) -> "LoraConfig | None":
    """Return what TRL's trainers take as peft_config, None where all weights are trained."""
    if arguments.lora_r is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=arguments.lora_r,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules=arguments.lora_target_modules,
    )


@torch.no_grad()
def kept_share(model: "PeftModel") -> float:
    """Return how much of the adapters' change their model's weights take up when they are merged; 1 is all.

    Weights in bfloat16 round off what is less than half a step of theirs, which is most of what a short training with
    a low learning rate changes. The share is of the change itself: what is kept, projected on it.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    kept = whole = 0.0
    for layer in (module for module in model.modules() if isinstance(module, BaseTunerLayer)):
        weight = layer.get_base_layer().weight
        exact = weight.float()
        for adapter in layer.active_adapters:
            change = layer.get_delta_weight(adapter).float()
            rounded = (exact + change).to(weight.dtype).float()
            kept += ((rounded - exact) * change).sum().item()
            whole += change.square().sum().item()
    return kept / whole if whole else 1.0


def check_embeddings(model: "PreTrainedModel") -> None:
    """Raise UserError for adapters on embeddings that are the output layer, too: merged, they would change both."""
    if not is_peft_model(model):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    own = model.get_base_model()
    embeddings, output = own.get_input_embeddings(), own.get_output_embeddings()
    if isinstance(embeddings, BaseTunerLayer) and embeddings.base_layer.weight is output.weight:
        raise UserError(
            "--lora_target_modules: matches the embeddings, which this model has as its output layer, too, so that the "
            "saved weights would be another model's; leave them out"
        )


def check_adapters(model: "PreTrainedModel", checkpoint: str | Path) -> None:
    """Raise UserError unless a checkpoint holds exactly the adapters of this model: PEFT would only warn."""
    if not is_peft_model(model):
        return
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    path = Path(checkpoint) / "adapter_model.safetensors"
    if not path.is_file():
        raise UserError(f"{checkpoint}: holds no adapters, but --lora_r is given")
    with safe_open(path, "pt") as file:
        different = set(file.keys()) ^ set(get_peft_model_state_dict(model))
    if different:
        raise UserError(f"{path}: {len(different)} weights differ from the model's, the first is {min(different)}")
