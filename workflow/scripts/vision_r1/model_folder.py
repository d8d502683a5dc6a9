"""A model's folder as the hub lays it out: which of its files are needed, and what is wrong with them.

Only small files and the headers of the weights are read, so a check takes seconds whatever the model's size.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_r1.files import SEAL, UserError, hash_folder, read_json, read_seal

PROCESSOR_FILES = (
    *("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json"),
    *("special_tokens_map.json", "chat_template.json", "chat_template.jinja"),
)
ASKING = "vision_r1.json"  # of a release: how the model is asked (vision_r1.asking)
# Patterns of all files that are needed besides the weights.
LICENCES = ("[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*", "[Nn][Oo][Tt][Ii][Cc][Ee]*")
SMALL_FILES = (*PROCESSOR_FILES, "config.json", "generation_config.json", ASKING, *LICENCES)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "BOOL")  # of weights and buffers; others are quantised
POINTER = b"version https://git-lfs.github.com/spec/"


def check_model(folder: Path) -> None:
    """Raise UserError unless the configuration and the processor's files are there, whole and not quantised."""
    check_configuration(folder)
    check_processor(folder)


def check_configuration(folder: Path) -> None:
    """Raise UserError unless the folder has the configuration of a model that is neither quantised nor has adapters."""
    if (folder / "adapter_config.json").is_file():
        if not (folder / "config.json").exists():
            raise UserError(f"{folder}: adapters without their model (adapter_config.json); merge them into it first")
        raise UserError(  # which transformers would add to the weights
            f"{folder}: adapters beside a whole model; if they are merged into it, remove adapter_config.json and "
            "adapter_model.safetensors, else merge them"
        )
    check_files(folder, ["config.json"])
    config = _read_object(folder / "config.json")
    if (folder / "generation_config.json").is_file():
        _read_object(folder / "generation_config.json")
    for key, ours in (("_attn_implementation", "sdpa"), ("transformers_weights", None)):  # transformers would obey them
        if config.get(key, ours) != ours:
            raise UserError(f"{folder}/config.json: {key} is not the model's to say; remove that line")
    for part in (config, config.get("text_config"), config.get("vision_config")):
        if quantised := part.get("quantization_config") if isinstance(part, dict) else None:
            kind = quantised.get("quant_method", "unknown method") if isinstance(quantised, dict) else quantised
            raise UserError(f"{folder}/config.json: a quantised model ({kind}); take the one in full precision")


def check_processor(folder: Path) -> None:
    """Raise UserError unless the folder holds a tokenizer and image settings, and none of them is a Git LFS pointer."""
    check_files(folder, [name for name in PROCESSOR_FILES if os.path.lexists(folder / name)])
    if not (folder / "tokenizer.json").is_file():
        if not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
            raise UserError(f"{folder}: no tokenizer.json, nor vocab.json and merges.txt; take the whole folder")
    settings = image_settings(folder)
    if not settings:
        raise UserError(f"{folder}: no preprocessor_config.json; take the whole folder of a vision-language model")
    if settings.get("image_processor_type") == "Qwen2_5_VLImageProcessor":  # until transformers 4.49
        raise UserError(
            f"{folder}: transformers no longer has Qwen2_5_VLImageProcessor; in a folder of your own (model.source: "
            "folder), change image_processor_type to Qwen2VLImageProcessor, which is the same"
        )


def sealed_files(folder: Path) -> list[str]:
    """Return the files that a folder's seal names; none where it has no seal. What was added later is not among them.

    Raises UserError where one of them is not as it was written.
    """
    names = list(read_seal(folder / SEAL))
    hash_folder(folder, names)
    return names


def image_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings of the image processor, None where there are none; the newer layout is looked for first."""
    if (folder / "processor_config.json").is_file():
        settings = _read_object(folder / "processor_config.json").get("image_processor")
        if settings:
            return _object(settings, folder, "image_processor")
    path = folder / "preprocessor_config.json"
    return _read_object(path) if path.is_file() else None


def pixel_limits(folder: Path) -> tuple[int, int] | None:
    """Return (fewest, most) pixels of an image from a model's processor settings, None where they set none."""
    settings = image_settings(folder) or {}
    size = _object(settings.get("size") or {}, folder, "size")
    # As in transformers: keys of older models win.
    limits = tuple(
        next((own[key] for own, key in ((settings, old), (size, new), (size, old)) if own.get(key) is not None), None)
        for old, new in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge"))
    )
    return None if None in limits else limits


def weight_files(folder: Path) -> list[str]:
    """Return the names of the files that the weights are in, and their index. Raises UserError where there are none."""
    if os.path.lexists(folder / WEIGHTS):
        return [WEIGHTS]
    if not os.path.lexists(folder / INDEX):
        raise UserError(f"{folder}: neither {WEIGHTS} nor {INDEX}; other formats of weights are not loaded")
    check_files(folder, [INDEX])
    index = _read_object(folder / INDEX)
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(name == Path(str(name)).name for name in shards.values()):
        raise UserError(f"{folder}/{INDEX}: its weight_map doesn't name files; fetch the model again")
    if not isinstance(index.get("metadata"), dict):
        raise UserError(f'{folder}/{INDEX}: no "metadata", which transformers reads; fetch it again, or add {{}}')
    return [INDEX, *sorted(set(shards.values()))]


def check_weights(folder: Path, names: Sequence[str]) -> None:
    """Raise UserError unless each file of the weights is there, as long as its header says, and neither quantised nor
    of adapters."""
    from safetensors import SafetensorError, safe_open

    check_files(folder, names)
    for name in names:
        if name.endswith(".safetensors"):
            try:
                with safe_open(folder / name, framework="numpy") as file:
                    _check_tensors(folder / name, {key: file.get_slice(key).get_dtype() for key in file.keys()})
            except SafetensorError as error:
                raise UserError(f"{folder / name}: cut off or damaged ({error}); fetch it again") from None


def _check_tensors(path: Path, types: Mapping[str, str]) -> None:
    for key, kind in types.items():
        if kind not in TYPES:
            raise UserError(f"{path}: {key} is of type {kind}: quantised weights; take those in full precision")
        if key.startswith("base_model.model.") or ".base_layer." in key or ".lora_" in key:
            raise UserError(f"{path}: {key}: PEFT's adapters, beside what they are added to; merge them first")


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Raise UserError unless each file is there, and is the file itself, not a Git LFS pointer in its place."""
    for name in names:
        path = folder / name
        if not path.is_file():
            what = "a link to a file that is gone" if path.is_symlink() else "no such file"
            raise UserError(f"{path}: {what}; take the model's whole folder, or fetch it again")
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                raise UserError(f"{path}: a Git LFS pointer in place of the file; run `git lfs pull` in {folder}")


def _read_object(path: Path) -> dict[str, Any]:
    return _object(read_json(path), path)


def _object(value: Any, path: Path, key: str = "") -> dict[str, Any]:
    """Return a value that has to be a JSON object. Raises UserError naming the path, and the key where one is given."""
    if not isinstance(value, dict):
        where = f"{path}: {key} of its image processor" if key else path
        raise UserError(f"{where}: not a JSON object; fetch it again")
    return value
