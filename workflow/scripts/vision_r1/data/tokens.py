"""Lengths of prompts and answers in tokens, by the model's own tokenizer and chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1.families import Family
from vision_r1.processors import ImageOnlyProcessor, prompt_text


def token_lengths(row: Mapping[str, Any], counted: tuple[int, int], family: Family) -> dict[str, int]:
    """Return a row's columns of lengths in tokens from what a TokenCounter counted; the prompt's holds the image's."""
    prompt, answer = counted
    image = row["input_width"] * row["input_height"] // family.factor**2
    return {"prompt_tokens": prompt - 1 + image, "image_tokens": image, "answer_tokens": answer}


class ProcessorTokens:
    """Counts tokens as the model's processor does; RowWriter adds the image's by the family's rule."""

    def __init__(self, processor: ImageOnlyProcessor) -> None:
        self.processor = processor
        self._lengths: dict[tuple[str, str | None], int] = {}  # by prompt and system message: most recur

    def count(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
        """Return each row's lengths: the whole prompt with one image token, and the right answer with its end token.

        The prompt is the question in its turn, what the template puts before it, and the opening of the answer.
        """
        asked = [(row["prompt"], row["system"]) for row in rows]
        new = [question for question in dict.fromkeys(asked) if question not in self._lengths]
        turns = [prompt_text(self.processor, *question) for question in new]
        self._lengths.update(zip(new, self._count(turns), strict=True))
        answers = self._count([row["answer"] for row in rows])
        return [(self._lengths[question], answer + 1) for question, answer in zip(asked, answers, strict=True)]

    def _count(self, texts: Sequence[str]) -> list[int]:
        lengths: list[int] = []
        for start in range(0, len(texts), 1000):  # so that memory does not grow with the data
            part = texts[start : start + 1000]
            found = self.processor.tokenizer(part, add_special_tokens=False, return_attention_mask=False)
            lengths += map(len, found.input_ids)
        return lengths
