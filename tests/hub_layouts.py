"""Processors' files as on the hub, with the real chat templates and settings, and a tokenizer of a few words.

older: as in Qwen/Qwen2.5-VL-7B-Instruct, Qwen/Qwen3-VL-8B-Instruct and their fine-tunes of that time, but without
  tokenizer.json, which those two have as well.
newer: as transformers 5 saves a processor, with all settings in processor_config.json.
"""

import json
from pathlib import Path

import trl
from tokenizers import pre_tokenizers
from transformers import ProcessorMixin

from vision_r1.families import family
from vision_r1.processors import load_processor

LAYOUTS = ("older", "newer")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
SPECIAL += ["<|video_pad|>"]
MERGES = ["a s", "s i", "Ġ a", "s t", "e r"]
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"  # Qwen2.5-VL's template puts this in front
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
IMAGES = {
    "qwen2_5_vl": {
        **{"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2},
        **{**CLIP, "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"},
    },
    "qwen3_vl": {
        **{"size": {"longest_edge": 16777216, "shortest_edge": 65536}, "patch_size": 16, "temporal_patch_size": 2},
        **{"merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
        **{"image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen3VLProcessor"},
    },
}
VIDEOS = {
    "qwen2_5_vl": {**IMAGES["qwen2_5_vl"], "video_processor_type": "Qwen2VLVideoProcessor"},
    "qwen3_vl": {
        **{"size": {"longest_edge": 25165824, "shortest_edge": 4096}, "patch_size": 16, "temporal_patch_size": 2},
        **{"merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
        **{"video_processor_type": "Qwen3VLVideoProcessor", "processor_class": "Qwen3VLProcessor"},
    },
}
VIDEOS["qwen2_5_vl"].pop("image_processor_type")


def template(name: str) -> str:
    """Return the family's real chat template, from TRL."""
    return (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text(encoding="utf-8")


def write_processor(folder: Path, name: str, layout: str) -> None:
    """Write the processor's files of family `name` in one of LAYOUTS."""
    if layout == "older":
        _write_older(folder, name)
        return
    _write_older(folder / "older", name)
    processor = load_processor(folder / "older", family(name), 3136, 12845056)
    for file in (folder / "older").iterdir():
        file.unlink()
    (folder / "older").rmdir()
    ProcessorMixin.save_pretrained(processor, folder)  # transformers' method, on a class with the real name
    path = folder / "processor_config.json"
    _write(path, json.loads(path.read_text()) | {"video_processor": VIDEOS[name]})


def _write_older(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]
    added = {token: len(pieces) + number for number, token in enumerate(SPECIAL)}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    settings = {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(number): {"content": token, **flags} for token, number in added.items()},
        "additional_special_tokens": [token for token in SPECIAL if token not in ("<|endoftext|>", "<|im_end|>")],
        "clean_up_tokenization_spaces": False,
        **{"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None},
        **{"errors": "replace", "model_max_length": 131072, "split_special_tokens": False},
        "tokenizer_class": "Qwen2Tokenizer",
        # The tokenizer's template is for text only; the processor's, beside it, is the one that is used.
        "chat_template": "{{ messages[0]['role'] }}",
    }
    _write(folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")
    _write(folder / "added_tokens.json", added)
    _write(folder / "tokenizer_config.json", settings)
    _write(folder / "special_tokens_map.json", {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    _write(folder / "preprocessor_config.json", IMAGES[name])
    _write(folder / "video_preprocessor_config.json", VIDEOS[name])
    _write(folder / "chat_template.json", {"chat_template": template(name)})


def _write(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
