"""Greedy completions of a batch of questions about images, with the log-probability of every token.

The text of a question doesn't depend on its batch in float32; in bfloat16 near ties may fall differently.
Differs from the released evaluation, which asks one question at a time: same text, many times faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from vision_r1.families import Family
from vision_r1.files import UserError
from vision_r1.models import check_checkpoint, load_model, load_processor


@dataclass(frozen=True)
class Limits:
    """Most new tokens of a completion; fewest and most pixels of an image as the model sees it."""

    max_new_tokens: int
    min_pixels: int
    max_pixels: int


@dataclass(frozen=True)
class Question:
    """All that decides a completion; `input_width` and `input_height` are the image's as the model sees it."""

    path: str
    prompt: str
    limits: Limits
    input_width: int
    input_height: int


class Generator:
    """A checkpoint that answers questions, on the GPU where there is one.

    Raises UserError for a checkpoint that is not whole or not of the family.
    """

    def __init__(self, checkpoint: str | Path, family: Family, dtype: str) -> None:
        check_checkpoint(checkpoint, family)
        self.checkpoint, self.family = checkpoint, family
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_model(checkpoint, dtype).to(device).eval()
        # Each question brings its own limits of pixels.
        self.processor = load_processor(checkpoint, min_pixels=1, max_pixels=1)
        tokenizer = self.processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self.ends = ends if isinstance(ends, list) else [tokenizer.eos_token_id if ends is None else ends]
        # In place of the checkpoint's own settings, which may hold a temperature or a repetition penalty.
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=self.ends,
            pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=tokenizer.convert_tokens_to_ids(list(family.never_sampled)),
        )
        self.chat = cache(self._chat)
        self.piece = cache(self._piece)

    def answer(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Return an answer to each of several questions, all with the same limits.

        {completion; num_tokens: all that were generated, the end token among them; truncated: no end token came;
        mean_logprob: of all tokens; tokens: [[offset of its text in the completion, log-probability], ...]}.
        A batch that the GPU has no memory for is answered in halves.
        """
        try:
            return self._answer(questions)
        except torch.cuda.OutOfMemoryError:
            if len(questions) == 1:
                raise UserError(f"{questions[0].path}: too large for the GPU's memory; lower max_pixels") from None
        torch.cuda.empty_cache()
        middle = len(questions) // 2
        return self.answer(questions[:middle]) + self.answer(questions[middle:])

    @torch.inference_mode()
    def _answer(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        inputs = self._inputs(questions)
        logprobs = LogProbabilities()
        sequences = self.model.generate(
            **inputs,
            max_new_tokens=questions[0].limits.max_new_tokens,
            logits_processor=LogitsProcessorList([logprobs]),
        )
        tokens = sequences[:, inputs["input_ids"].shape[1] :].tolist()
        values = torch.stack(logprobs.steps, dim=1).tolist()
        return [self._read(*row) for row in zip(tokens, values, strict=True)]

    def _inputs(self, questions: Sequence[Question]) -> dict[str, torch.Tensor]:
        """Return the model's inputs, padded on the left. An image with several questions is processed once."""
        limits = questions[0].limits
        images = {question.path: question for question in questions}
        processed = self.processor.image_processor(
            images=[load_image(path) for path in images],
            size={"shortest_edge": limits.min_pixels, "longest_edge": limits.max_pixels},
            return_tensors="pt",
        )
        grids = processed["image_grid_thw"]
        cell = self.processor.image_processor.patch_size
        for question, (_, rows, columns) in zip(images.values(), grids.tolist(), strict=True):
            if (columns * cell, rows * cell) != (question.input_width, question.input_height):
                raise UserError(
                    f"{self.checkpoint}: its processor makes {question.path} {columns * cell} x {rows * cell} pixels, "
                    f"not {question.input_width} x {question.input_height} as family {self.family.name} does"
                )
        pixels = dict(zip(images, processed["pixel_values"].split(grids.prod(1).tolist()), strict=True))
        grid_of = dict(zip(images, grids, strict=True))
        merged = self.processor.image_processor.merge_size**2
        mark = self.processor.image_token
        texts = [
            self.chat(question.prompt).replace(mark, mark * int(grid_of[question.path].prod() // merged))
            for question in questions
        ]
        inputs = self.processor.tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        image_token = self.processor.tokenizer.convert_tokens_to_ids(mark)
        tensors = {
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs["attention_mask"],
            "mm_token_type_ids": (inputs["input_ids"] == image_token).int(),
            "pixel_values": torch.cat([pixels[question.path] for question in questions]),
            "image_grid_thw": torch.stack([grid_of[question.path] for question in questions]),
        }
        return {name: tensor.to(self.model.device) for name, tensor in tensors.items()}

    def _chat(self, prompt: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    def _piece(self, token: int) -> str:
        return self._decode([token])

    def _decode(self, tokens: list[int]) -> str:
        return self.processor.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _read(self, tokens: list[int], logprobs: list[float]) -> dict[str, Any]:
        """Turn the tokens of one row, padded after its end, into an answer."""
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        count = len(tokens) if end is None else end + 1
        tokens, logprobs = tokens[:count], [round(value, 4) for value in logprobs[:count]]
        pieces = [self.piece(token) for token in tokens]
        text = self._decode(tokens)
        if "".join(pieces) == text:
            offsets = [0]
            for piece in pieces[:-1]:
                offsets.append(offsets[-1] + len(piece))
        else:  # a character that several tokens make up
            offsets = [len(self._decode(tokens[:place]).rstrip("\ufffd")) for place in range(count)]
        return {
            "completion": text,
            "num_tokens": count,
            "truncated": end is None,
            "mean_logprob": round(sum(logprobs) / count, 4),
            "tokens": [list(pair) for pair in zip(offsets, logprobs, strict=True)],
        }


class LogProbabilities(LogitsProcessor):
    """Notes the log-probability of the most probable token, which is the one that greedy decoding takes."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores.float().log_softmax(-1).amax(-1))
        return scores


def load_image(path: str) -> Image.Image:
    """Load an image as training does: upright by its EXIF data, in RGB."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")
