"""A model's processor, text and images only, built from the files that the hub has, without torchvision.

transformers' own Qwen processors take videos too, and need torchvision for that. Ours leave the videos out and resize
with Pillow. Saving one writes the files it was loaded from, so that a trained checkpoint loads wherever its base does:
in plain transformers beside torchvision, in vLLM, and here. Only the pixel limits in them are this training's.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoImageProcessor, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase, ProcessorMixin

from vision_r1.families import Family
from vision_r1.files import UserError, hash_folder
from vision_r1.model_folder import PROCESSOR_FILES, check_processor
from vision_r1.text import one_line

IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"


class ImageOnlyProcessor(ProcessorMixin):
    """A family's processor without its video part. `files`: name -> content of the files that it was loaded from."""

    files: Mapping[str, bytes]

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.image_token, self.video_token = IMAGE, VIDEO
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
        self.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO)
        # Skips the family's own constructor, which requires a video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> list[str]:
        """Write the files that it was loaded from, with its present pixel limits."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        size = {name: self.image_processor.size[name] for name in ("shortest_edge", "longest_edge")}
        for name, content in self.files.items():
            (folder / name).write_bytes(_with_limits(name, content, size))
        return [str(folder / name) for name in self.files]

    def __reduce__(self) -> tuple:  # for workers: pickle can't find a class by name that is created at run time
        return _blank, (type(self).__name__,), self.__dict__


@cache
def _without_videos(name: str) -> type[ImageOnlyProcessor]:
    return type(name, (ImageOnlyProcessor, getattr(transformers, name)), {})


def _blank(name: str) -> ImageOnlyProcessor:
    return _without_videos(name).__new__(_without_videos(name))


def load_processor(folder: str | Path, family: Family, min_pixels: int, max_pixels: int) -> ImageOnlyProcessor:
    """Return the processor in a model's folder with these limits of pixels per image; it pads on the left.

    Raises UserError naming the folder where its files don't make a processor, or one of another family.
    """
    if min_pixels > max_pixels:  # transformers would obey one of them
        raise UserError(f"--min_pixels {min_pixels}: above --max_pixels {max_pixels}; lower it")
    folder = Path(folder)
    hash_folder(folder, PROCESSOR_FILES)
    check_processor(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", trust_remote_code=False)
        # Pillow's, even where torchvision is installed: pixels must not depend on what happens to be there.
        images = AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
        template = ProcessorMixin.get_processor_dict(folder)[0].get("chat_template") or tokenizer.chat_template
        cell = images.patch_size * images.merge_size
    except Exception as error:  # on damaged files, tokenizers and transformers raise anything
        raise UserError(
            f"{folder}: no processor can be built from its files ({one_line(error)[:300]}); fetch it again, or fix the "
            "family"
        ) from error
    if tokenizer.pad_token is None:
        raise UserError(f"{folder}: its tokenizer has no pad token; take the model's own tokenizer_config.json")
    if not template:
        raise UserError(f"{folder}: no chat template; take the folder of an instruct model")
    if cell != family.factor:
        raise UserError(
            f"{folder}: an image token of its processor is {cell} pixels wide, one of {family.name} {family.factor}; "
            "fix the family, or take the folder of such a model"
        )
    images.size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
    processor = _without_videos(family.processor)(images, tokenizer, chat_template=template)
    try:
        text = prompt_text(processor, "")
    except Exception as error:  # a template is a program, and may raise whatever it likes
        remedy = "take the template of a vision-language model"
        raise UserError(f"{folder}: its chat template can't be used ({one_line(error)}); {remedy}") from None
    if text.count(IMAGE) != 1:
        raise UserError(f"{folder}: its chat template has no {IMAGE} for the image; take a vision-language model's")
    if text.rstrip().endswith("<think>"):  # SFT, GRPO and the readers of answers know none
        raise UserError(f"{folder}: its chat template begins every answer with a thought; take the instruct model")
    processor.files = {name: (folder / name).read_bytes() for name in PROCESSOR_FILES if (folder / name).is_file()}
    return processor


def prompt_text(processor: ProcessorMixin, prompt: str, system: str | None = None) -> str:
    """Return a question about one image as the model reads it: as the user's turn, with all that the template adds.

    system: a system message before the question; None leaves that to the template.
    """
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    turns = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system is not None else []
    return processor.apply_chat_template(
        [*turns, {"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


def end_tokens(settings: GenerationConfig, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end an answer: those of a checkpoint's settings, and the tokenizer's, which ends a turn.

    transformers stops at the first alone, and trainings teach the second.
    """
    own = settings.eos_token_id
    ends = own if isinstance(own, list) else [] if own is None else [own]
    return ends if tokenizer.eos_token_id in ends else [*ends, tokenizer.eos_token_id]


def _with_limits(name: str, content: bytes, size: Mapping[str, int]) -> bytes:
    """Return a processor's file with these limits where it holds image settings, under the keys that it uses."""
    if name not in ("preprocessor_config.json", "processor_config.json"):
        return content
    settings = json.loads(content)
    images = settings if name == "preprocessor_config.json" else settings.get("image_processor")
    if images is None:
        return content
    images["size"] = dict(size)
    for old, limit in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        if old in images:
            images[old] = size[limit]
    return (json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode()
