"""The sizes of a model that memory and time depend on, without its weights.

The model is built by transformers on torch's meta device, which holds shapes and no numbers, so the parameter counts
are exact for any family that transformers knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# From the repositories' config.json: what differs from the defaults of transformers' configuration classes. For two, a
# test compares the sizes with `total_size` in their model.safetensors.index.json, at 2 bytes per weight.
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": (
        "qwen2_5_vl",
        {
            "text_config": {
                **{"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "vocab_size": 151936},
                **{"num_attention_heads": 16, "num_key_value_heads": 2},
            },
            "vision_config": {"hidden_size": 1280, "out_hidden_size": 2048},
            "tie_word_embeddings": True,
        },
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": (
        "qwen2_5_vl",
        {
            "text_config": {
                **{"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "vocab_size": 152064},
                **{"num_attention_heads": 28, "num_key_value_heads": 4},
            },
            "vision_config": {"hidden_size": 1280, "out_hidden_size": 3584},
            "tie_word_embeddings": False,
        },
    ),
    "Qwen/Qwen3-VL-8B-Instruct": (
        "qwen3_vl",
        {
            "text_config": {
                **{"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "vocab_size": 151936},
                **{"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
            },
            "vision_config": {"out_hidden_size": 4096},
            "tie_word_embeddings": False,
        },
    ),
}


@dataclass(frozen=True)
class Architecture:
    """Sizes of a vision-language model. Widths are in numbers per token (text) or per patch (vision).

    linear: (inputs, outputs) of each linear layer that LoRA adapts: all but the output head. merge: patches per image
    token.
    """

    parameters: int
    vision_parameters: int
    head_parameters: int
    linear: tuple[tuple[int, int], ...]
    layers: int
    hidden: int
    intermediate: int
    queries: int
    keys: int
    vocabulary: int
    vision_layers: int
    vision_hidden: int
    vision_intermediate: int
    merge: int

    def lora_parameters(self, rank: int) -> int:
        """Return how many weights LoRA adds to all linear layers: rank x (inputs + outputs) each."""
        return sum(rank * (inputs + outputs) for inputs, outputs in self.linear)


def architecture_of(config: "PreTrainedConfig") -> Architecture:
    """Return the sizes of the model that a transformers configuration describes."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa")
    text, vision = config.get_text_config(), config.vision_config
    head = model.get_output_embeddings()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Architecture(
        parameters=sum(weight.numel() for weight in model.parameters()),
        vision_parameters=sum(weight.numel() for weight in model.model.visual.parameters()),
        head_parameters=head.weight.numel(),
        linear=tuple(
            (layer.in_features, layer.out_features)
            for layer in model.modules()
            if isinstance(layer, torch.nn.Linear) and layer is not head
        ),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        queries=text.num_attention_heads * size,
        keys=text.num_key_value_heads * size,
        vocabulary=text.vocab_size,
        vision_layers=vision.depth,
        vision_hidden=vision.hidden_size,
        vision_intermediate=vision.intermediate_size,
        merge=vision.spatial_merge_size**2,
    )


def find_architecture(config: Mapping[str, Any], base_model: str | Path) -> tuple[Architecture | None, str]:
    """Return the architecture of a run's model, or None, and where it was found, in words.

    Looked for in this order: the run's base model, a folder that model.id names, the published values above.
    """
    from transformers import AutoConfig

    model = config["model"]
    for folder in (base_model, model["id"] if model["source"] == "folder" else None):
        if folder and (Path(folder) / "config.json").is_file():
            return architecture_of(AutoConfig.from_pretrained(folder, trust_remote_code=False)), f"{folder}/config.json"
    if model["source"] == "made":
        return architecture_of(_made(config)), "section base"
    if model["id"] in PUBLISHED:
        family, sizes = PUBLISHED[model["id"]]
        return architecture_of(AutoConfig.for_model(family, **sizes)), f"the published config.json of {model['id']}"
    return None, f"{model['id']} is not here yet, and its sizes are not in vision_r1/preflight/architecture.py"


def _made(config: Mapping[str, Any]) -> "PreTrainedConfig":
    from vision_r1.miniature.model import make_model
    from vision_r1.miniature.processor import made_processor

    widths = {name: config["base"][name] for name in ("hidden_size", "text_layers", "vision_layers", "head_size")}
    return make_model(made_processor(config).tokenizer, **widths, seed=0).config
