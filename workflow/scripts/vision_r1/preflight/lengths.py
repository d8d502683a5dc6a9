"""How long prompts and answers are, in tokens: counted at curation, or bounded from the configuration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from vision_r1.families import family

# Where nothing was counted: the chat template and a list of 80 categories, and one item of an answer.
TEXT_TOKENS = 400
ITEM_TOKENS = 30


@dataclass(frozen=True)
class Lengths:
    """Tokens: `image`, `text` (template and question) and `answer` are those of the longest sample of each kind.

    mean_*: of all samples. long_answers: right answers over the completion limit, of `rows`. counted: from the file?
    """

    counted: bool
    rows: int
    image: int
    text: int
    answer: int
    mean_prompt: float
    mean_answer: float
    answers: tuple[int, ...] = ()

    def longer_than(self, limit: int) -> float:
        """Return the share of right answers with more than `limit` tokens; 0 where none was counted."""
        return sum(answer > limit for answer in self.answers) / len(self.answers) if self.answers else 0.0


def lengths_of(config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None) -> Lengths:
    """Return the lengths of a training file's rows, or upper bounds where it is not there or doesn't hold them.

    Bounds: the most pixels an image may have; TEXT_TOKENS; ITEM_TOKENS for each object that a sample may have; and what
    curation drops as too long.
    """
    data, model = config["data"], config["model"]
    wanted = sum(data[task] for task in ("detection", "grounding", "rec", "negative"))
    if rows and all(name in rows[0] for name in ("prompt_tokens", "image_tokens", "answer_tokens")):
        answers = tuple(row["answer_tokens"] for row in rows)
        return Lengths(
            True,
            len(rows),
            max(row["image_tokens"] for row in rows),
            max(row["prompt_tokens"] - row["image_tokens"] for row in rows),
            max(answers),
            fmean(row["prompt_tokens"] for row in rows),
            fmean(answers),
            answers,
        )
    factor = family(model["family"]).factor
    if rows:
        image = max(row["input_width"] * row["input_height"] for row in rows) // factor**2
        objects = max(row["num_instances"] for row in rows)
    else:
        image, objects = max(1, model["max_pixels"] // factor**2), data["max_instances"]
    text = min(TEXT_TOKENS, (data["max_prompt_tokens"] or image + TEXT_TOKENS) - image)
    answer = min(ITEM_TOKENS * objects + 10, data["max_answer_tokens"] or math.inf)
    return Lengths(False, len(rows) if rows else wanted, image, text, answer, image + text, answer)
