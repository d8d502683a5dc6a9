"""The miniature's processor: Qwen2.5-VL's image settings, a tokenizer of its own, turns without a system message."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import Qwen2VLImageProcessorPil
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from vision_r1.data.worlds import WORLDS, World
from vision_r1.families import family
from vision_r1.files import write_json, write_text
from vision_r1.miniature.tokenizer import make_tokenizer
from vision_r1.processors import ImageOnlyProcessor, load_processor
from vision_r1.prompts import DEFAULT, Templates

MIN_PIXELS = 28 * 28
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_processor(world: World, templates: Templates = DEFAULT, names: Sequence[str] = ()) -> ImageOnlyProcessor:
    """Build the processor for a world of synthetic scenes and a recipe's words: files as on the hub, then loaded.

    names: of more categories that are one token each, where they would take one per letter.
    """
    qwen = family("qwen2_5_vl")
    with TemporaryDirectory() as folder:
        make_tokenizer([*world.plain.categories, *names], world.largest_number, templates).save_pretrained(folder)
        settings = {**Qwen2VLImageProcessorPil().to_dict(), "processor_class": qwen.processor}
        write_json(Path(folder) / "preprocessor_config.json", settings)
        write_text(Path(folder) / "chat_template.jinja", CHAT_TEMPLATE)
        return load_processor(folder, qwen, MIN_PIXELS, world.max_pixels)


def made_processor(config: Mapping[str, Any]) -> ImageOnlyProcessor:
    """Return the processor of the base model that a configuration makes: section base, in the words of templates."""
    base = config["base"]
    return make_processor(WORLDS[base["world"]], Templates.of(config["templates"]), base["names"])


def patchify(images: torch.Tensor) -> torch.Tensor:
    """Return `pixel_values` of (n, height, width, 3) uint8 images whose sides are multiples of 28, on their device.

    Equal to the image processor's for images that need no resizing, and many times faster.
    """
    count, height, width = images.shape[:3]
    mean, deviation = (
        torch.tensor(values, device=images.device).view(3, 1, 1) for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    pixels = (images.permute(0, 3, 1, 2).float() / 255 - mean) / deviation
    # Patches of 14 x 14 in groups of 2 x 2 (the merger's); a still image is two equal frames.
    blocks = pixels.view(count, 3, height // 28, 2, 14, width // 28, 2, 14).permute(0, 2, 5, 3, 6, 1, 4, 7)
    return blocks.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1).reshape(-1, 3 * 2 * 14 * 14)
