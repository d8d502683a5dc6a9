"""Completions of a batch of questions about images, with the log-probability of every token.

The text of a question doesn't depend on its batch in float32; in bfloat16 near ties may fall differently.
Differs from the released evaluation, which asks one question at a time: same text, many times faster.
"""

import logging
import os
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList

from vision_r1.cuda_graphs import replay_decoding
from vision_r1.data.images import load_image
from vision_r1.evaluation.answers import AnswerReader, Question
from vision_r1.evaluation.decoding import Drawn, Greedy, RepetitionPenalty
from vision_r1.families import Family
from vision_r1.files import UserError
from vision_r1.models import check_checkpoint, load_model
from vision_r1.processors import end_tokens, load_processor, prompt_text

log = logging.getLogger(__name__)

Images = dict[str, tuple[torch.Tensor, torch.Tensor]]  # path -> its patches, and how many: (1, rows, columns)


class Generator:
    """A checkpoint that answers questions, on the GPU of this process's LOCAL_RANK where there is one.

    Raises UserError for a checkpoint that is not whole or not of the family.
    """

    def __init__(self, checkpoint: str | Path, family: Family, dtype: str, device: str | None = None) -> None:
        check_checkpoint(checkpoint, family)
        self.checkpoint, self.family = checkpoint, family
        if device is None and torch.cuda.is_available():
            device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
            torch.cuda.set_device(device)  # CUDA graphs record the current device only
        device = device or "cpu"
        self.model = load_model(checkpoint, dtype).to(device).eval()
        replay_decoding(self.model)
        # Each question brings its own limits of pixels.
        self.processor = load_processor(checkpoint, family, min_pixels=1, max_pixels=1)
        tokenizer = self.processor.tokenizer
        ends = end_tokens(self.model.generation_config, tokenizer)
        self.read = AnswerReader(tokenizer, ends).read
        self.most = sys.maxsize  # questions that the GPU has memory for at once, as far as is known
        # In place of the checkpoint's own settings, which may hold a temperature or a repetition penalty.
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=tokenizer.convert_tokens_to_ids(list(family.never_sampled)),
        )
        self.chat = cache(partial(prompt_text, self.processor))

    def prepare(self, questions: Sequence[Question]) -> Images:
        """Return the images of questions that are decoded alike as the model takes them; each is processed once.

        Needs the processor of images alone, so that a thread can do it while the model answers other questions.
        """
        limits = questions[0].decoding
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
        pixels = processed["pixel_values"].split(grids.prod(1).tolist())
        return dict(zip(images, zip(pixels, grids, strict=True), strict=True))

    def answer(self, questions: Sequence[Question], images: Images | None = None) -> list[dict[str, Any]]:
        """Return an answer to each of several questions, all decoded alike (see AnswerReader.read).

        images: what `prepare` made of them. What the GPU has no memory for is halved; that size holds for later
        batches, and no answer is lost.
        """
        images = self.prepare(questions) if images is None else images
        answers: list[dict[str, Any]] = []
        while len(answers) < len(questions):
            part = questions[len(answers) : len(answers) + self.most]
            try:
                answers += self._answer(part, images)
                continue
            except torch.cuda.OutOfMemoryError:
                if len(part) == 1:
                    raise UserError(f"{part[0].path}: too large for the GPU's memory; lower max_pixels") from None
            # Here, where the failed call's tensors are no longer held.
            torch.cuda.empty_cache()
            self.most = len(part) // 2
            log.warning("out of memory with %d questions at once; continuing with %d", len(part), self.most)
        return answers

    @torch.inference_mode()
    def _answer(self, questions: Sequence[Question], images: Images) -> list[dict[str, Any]]:
        inputs, decoding = self._inputs(questions, images), questions[0].decoding
        prompt_tokens = inputs["input_ids"].shape[1]
        chosen = Drawn(questions, prompt_tokens) if decoding.sampling else Greedy()
        processors = LogitsProcessorList([chosen])
        if decoding.repetition_penalty != 1:
            processors.insert(0, RepetitionPenalty(decoding.repetition_penalty, inputs["attention_mask"]))
        sequences = self.model.generate(**inputs, max_new_tokens=decoding.max_new_tokens, logits_processor=processors)
        tokens = sequences[:, prompt_tokens:].tolist()
        logprobs = torch.stack(chosen.steps, dim=1)
        if not logprobs.isfinite().all():
            raise UserError(
                f"{self.checkpoint}: log-probabilities are not finite; give --dtype float32, or train again"
            )
        values = logprobs.tolist()
        return [self.read(*row) for row in zip(tokens, values, strict=True)]

    def _inputs(self, questions: Sequence[Question], images: Images) -> dict[str, torch.Tensor]:
        """Return the model's inputs, padded on the left."""
        merged = self.processor.image_processor.merge_size**2
        mark = self.processor.image_token
        shown = [images[question.path] for question in questions]
        texts = [
            self.chat(question.prompt, question.system).replace(mark, mark * int(grid.prod() // merged))
            for question, (_, grid) in zip(questions, shown, strict=True)
        ]
        inputs = self.processor.tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        image_token = self.processor.tokenizer.convert_tokens_to_ids(mark)
        tensors = {
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs["attention_mask"],
            "mm_token_type_ids": (inputs["input_ids"] == image_token).int(),
            "pixel_values": torch.cat([pixels for pixels, _ in shown]),
            "image_grid_thw": torch.stack([grid for _, grid in shown]),
        }
        return {name: tensor.to(self.model.device) for name, tensor in tensors.items()}
