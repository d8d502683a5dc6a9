"""Completions given in advance: the same for a prompt's n-th copy in every process, whatever the model says."""

import zlib
from contextlib import contextmanager

import numpy as np

from vision_r1.prompts import format_answer


def answer(prompt_ids, copy):
    """Return a text: boxes that hit or miss by chance, now and then twice the same box or no JSON."""
    rng = np.random.default_rng([zlib.crc32(str(prompt_ids).encode()), copy])
    corner = rng.integers(0, 50, 2)
    box = [*corner, *(corner + rng.integers(10, 40, 2))]
    if copy % 4 == 3:
        return "no boxes here"
    return format_answer([box] * rng.integers(1, 3), ["circle"] * 2)[:400] if copy % 4 else format_answer([], [])


@contextmanager
def canned_completions(text=answer):
    """Within this block GRPOTrainer samples nothing and takes `text(prompt ids, number of the copy)`."""
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
