"""The miniature's model: the real Qwen2.5-VL architecture with few and narrow layers, weights at random."""

import torch
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vision_r1.miniature.tokenizer import IMAGE, VIDEO, VISION_END, VISION_START

HEAD_SIZE = 16
# Rotary sections (time, height, width) of a head, and a base so low that one cell to the side, which the
# last and slowest pairs tell, still turns them by .13 radian; at Qwen's base of 1e6 it is .00001 (ours).
ROPE_SECTIONS, ROPE_THETA = (2, 3, 3), 10.0
# Three times Qwen's .02: at this width the signal would otherwise fade (ours).
INITIALIZER_RANGE = 0.06


def make_model(
    tokenizer: PreTrainedTokenizerFast, hidden_size: int, text_layers: int, vision_layers: int, seed: int
) -> Qwen2_5_VLForConditionalGeneration:
    """Build an untrained model in float32; `hidden_size`, a multiple of 16, is the width of both towers."""
    heads = hidden_size // HEAD_SIZE
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
                "mrope_section": list(ROPE_SECTIONS),
                "rope_theta": ROPE_THETA,
            },
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": INITIALIZER_RANGE,
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": hidden_size,
            "intermediate_size": 2 * hidden_size,
            "num_heads": heads,
            "out_hidden_size": hidden_size,
            "fullatt_block_indexes": list(range(vision_layers)),
            "initializer_range": INITIALIZER_RANGE,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        video_token_id=tokenizer.convert_tokens_to_ids(VIDEO),
        vision_start_token_id=tokenizer.convert_tokens_to_ids(VISION_START),
        vision_end_token_id=tokenizer.convert_tokens_to_ids(VISION_END),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
