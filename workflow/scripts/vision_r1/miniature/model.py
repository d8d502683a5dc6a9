"""Models made here: the real Qwen2.5-VL architecture with few and narrow layers, and random weights."""

import math
import re

import torch
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vision_r1.miniature.tokenizer import VISION_END, VISION_START
from vision_r1.processors import IMAGE, VIDEO

# Base of the rotary embedding. A head's last and slowest pairs encode the cell's column: this base turns them by a
# tenth of a radian per cell, Qwen's 1e6 by .00001, too little to learn from (ours).
ROPE_THETA = 10.0


def initializer_range(hidden_size: int) -> float:
    """Return three times Qwen's .02 to width 128, where the signal would otherwise fade; less above (ours)."""
    return 0.06 * min(1.0, (128 / hidden_size) ** 0.5)


def make_model(
    tokenizer: PreTrainedTokenizerFast,
    hidden_size: int,
    text_layers: int,
    vision_layers: int,
    seed: int,
    head_size: int = 16,
    number_waves: int = 0,
) -> Qwen2_5_VLForConditionalGeneration:
    """Build an untrained model in float32.

    `hidden_size`, a multiple of `head_size`, is the width of both towers; `head_size` is a multiple of 16.
    number_waves: how many waves each coordinate's first embedding is made of (embed_numbers); 0: it is random.
    """
    heads = hidden_size // head_size
    time, side = head_size // 8, 3 * head_size // 16  # pairs of a head that encode time, height and width
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden_size,
            "intermediate_size": 3 * hidden_size,
            "num_hidden_layers": text_layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [time, side, side],
                "rope_theta": ROPE_THETA,
            },
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": initializer_range(hidden_size),
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": hidden_size,
            "intermediate_size": 2 * hidden_size,
            "num_heads": heads,
            "out_hidden_size": hidden_size,
            "fullatt_block_indexes": list(range(vision_layers)),
            "initializer_range": initializer_range(hidden_size),
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        video_token_id=tokenizer.convert_tokens_to_ids(VIDEO),
        vision_start_token_id=tokenizer.convert_tokens_to_ids(VISION_START),
        vision_end_token_id=tokenizer.convert_tokens_to_ids(VISION_END),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    if number_waves:
        embed_numbers(model, tokenizer, number_waves, seed)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def embed_numbers(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, waves: int, seed: int
) -> None:
    """Give near coordinates similar embeddings to start from, so that what is learned of one serves its neighbours.

    Each embedding is half what numbers of its form share ("[" or a comma before it) and half a sum of sine waves over
    the numbers, in random directions, 8 to 1024 numbers long. The spread stays that of random embeddings (ours).
    """
    embeddings = model.get_input_embeddings().weight.data
    width, spread = embeddings.shape[1], embeddings.std()
    random = torch.Generator().manual_seed(seed)
    frequencies = 2 * math.pi / torch.logspace(3, 10, waves, base=2)
    directions = torch.randn(2 * waves, width, generator=random) / waves**0.5
    forms = {comma: torch.randn(width, generator=random) for comma in ("", ", ")}
    for token in range(len(tokenizer)):
        if number := re.fullmatch(r"(, |)(\d+)", tokenizer.decode([token])):
            angles = int(number[2]) * frequencies
            waves_here = torch.cat([angles.cos(), angles.sin()]) @ directions
            embeddings[token] = spread * (waves_here + forms[number[1]]) / 2**0.5
