"""Processors for images only, one for each family, so that no torchvision is needed; the miniature's is Qwen2.5-VL's.

Without torchvision, transformers cannot build Qwen's video processor, and AutoProcessor then silently
returns the bare tokenizer. Importing this module registers processors without the video part:
plain AutoProcessor.from_pretrained returns them from then on.
"""

import numpy as np
import torch
from transformers import (
    AutoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLProcessor,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.processing_utils import ProcessorMixin

from vision_r1.data.worlds import World
from vision_r1.miniature.tokenizer import IMAGE, VIDEO, make_tokenizer

MIN_PIXELS = 28 * 28
# Qwen2.5-VL's turns, without its default system message.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class _ImageOnly(ProcessorMixin):
    """A constructor with an image processor and a tokenizer, and no video processor."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.image_token, self.video_token = IMAGE, VIDEO
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
        self.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO)
        # Past the family's own constructor, which asks for a video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


class ImageOnlyProcessor(_ImageOnly, Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor for images only."""


class ImageOnlyQwen3VLProcessor(_ImageOnly, Qwen3VLProcessor):
    """Qwen3-VL's processor for images only."""


AutoProcessor.register(Qwen2_5_VLConfig, ImageOnlyProcessor, exist_ok=True)
AutoProcessor.register(Qwen3VLConfig, ImageOnlyQwen3VLProcessor, exist_ok=True)


def make_processor(world: World) -> ImageOnlyProcessor:
    """Build the processor, with its tokenizer, for a world of made scenes."""
    images = Qwen2VLImageProcessorPil(min_pixels=MIN_PIXELS, max_pixels=world.max_pixels)
    tokenizer = make_tokenizer(world.plain.categories, world.largest_number)
    return ImageOnlyProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE)


def patchify(images: np.ndarray) -> torch.Tensor:
    """Return `pixel_values` of (n, height, width, 3) uint8 images whose sides are multiples of 28.

    Equal to the image processor's for images that need no resizing, and many times faster.
    """
    count, height, width = images.shape[:3]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(OPENAI_CLIP_MEAN).view(3, 1, 1)) / torch.tensor(OPENAI_CLIP_STD).view(3, 1, 1)
    # Patches of 14 x 14 in groups of 2 x 2 (the merger's); a still image is two equal frames.
    blocks = pixels.view(count, 3, height // 28, 2, 14, width // 28, 2, 14).permute(0, 2, 5, 3, 6, 1, 4, 7)
    return blocks.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1).reshape(-1, 3 * 2 * 14 * 14)
