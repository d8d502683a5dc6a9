"""Canned completions: the same for a prompt's n-th copy in every process, whatever the model would sample."""

import zlib
from contextlib import contextmanager

import numpy as np

from vision_r1.prompts import format_answer


def answer(prompt_ids, copy):
    """Return invalid JSON for every fourth copy, and one to three random boxes for the others."""
    if copy % 4 == 3:
        return "no boxes here"
    rng = np.random.default_rng([zlib.crc32(str(prompt_ids).encode()), copy])
    corners = rng.integers(0, 50, (rng.integers(1, 4), 2))
    boxes = np.concatenate([corners, corners + rng.integers(10, 40, corners.shape)], axis=1)
    return format_answer(boxes, ["circle"] * len(boxes))


@contextmanager
def canned_completions(text=answer):
    """Within this block GRPOTrainer uses `text(prompt ids, number of the copy)` instead of sampling."""
    import trl

    original = trl.GRPOTrainer._generate_single_turn

    def given(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        tokenizer = self.processing_class.tokenizer
        texts = [text(ids, place % num_generations) for place, ids in enumerate(prompt_ids)]
        return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts).input_ids], None

    trl.GRPOTrainer._generate_single_turn = given
    try:
        yield
    finally:
        trl.GRPOTrainer._generate_single_turn = original
