"""How long prompts and answers are, in tokens: counted at curation, or bounded from the configuration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING, Any

from vision_r1.data.mixture import samples_asked_for, training_sources
from vision_r1.data.worlds import WORLDS
from vision_r1.families import family
from vision_r1.prompts import Templates

if TYPE_CHECKING:
    from vision_r1.processors import ImageOnlyProcessor

# Counted with Qwen's vocabulary, which Qwen2.5-VL and Qwen3-VL share: the chat template and the question about COCO's
# 80 categories, without the image.
TEXT_TOKENS = 234
# Used for all labels while there is no training file: 33 tokens per object with Qwen's vocabulary, as in ON_COCO.
LABEL = "traffic light"
SAMPLE = 200  # objects of the training file that are measured to represent all


@dataclass(frozen=True)
class AnswerSize:
    """Tokens of an answer: `fence` around it and its end, `item` for each object; `source`: how they were counted."""

    fence: int
    item: float
    source: str

    def tokens(self, objects: int) -> int:
        """Return the length of an answer with so many objects."""
        return math.ceil(self.fence + self.item * objects)

    def objects(self, limit: int) -> int:
        """Return how many objects fit into `limit` tokens."""
        return max(0, int((limit - self.fence) / self.item))


# Right answers about real COCO images, with their own labels and digits, had at most this (15 objects 479 to 501
# tokens, 16 objects 512 to 534, 30 objects 959 to 990).
ON_COCO = AnswerSize(7, 33, "at most, on COCO with Qwen's vocabulary; the model's own tokenizer is not here yet")


def answer_size(
    config: Mapping[str, Any], processor: "ImageOnlyProcessor | None", rows: Sequence[Mapping[str, Any]] | None
) -> AnswerSize:
    """Return the size of answers by the tokenizer of the run's processor, ON_COCO where that doesn't exist yet.

    Labels are those of the training file's first objects; without one, those of the synthetic scenes, or those that a
    made model knows, else LABEL. Boxes have as many digits as the largest image's.
    """
    if processor is None:
        return ON_COCO
    tokenizer = processor.tokenizer
    labels = list(islice((item["label"] for row in rows or [] for item in row["objects"]), SAMPLE))
    model = config["model"]
    largest = max(model["max_pixels"], config["data"]["answer_pixels"] or 0)
    labels = labels or _categories_of_scenes(config) or _names_of_made_model(config) or [LABEL]
    far = 999 if family(model["family"]).frame == "rel1000" else math.isqrt(largest) - 1
    boxes = [[far // 4, far // 4, far, far]] * len(labels)
    write = Templates.of(config["templates"]).answer
    fence, whole = (
        len(tokenizer(write(boxes[:count], labels[:count]), add_special_tokens=False).input_ids) + 1
        for count in (0, len(labels))
    )
    return AnswerSize(fence, (whole - fence) / len(labels), "on average, by the model's own tokenizer")


def _names_of_made_model(config: Mapping[str, Any]) -> list[str]:
    if config["model"]["source"] != "made":
        return []
    base = config["base"]
    return base["names"] or list(WORLDS[base["world"]].plain.categories)


def _categories_of_scenes(config: Mapping[str, Any]) -> list[str]:
    scenes = [config["datasets"][name].get("scenes") for name in training_sources(config)]
    return [label for each in scenes if each for label in WORLDS[each.get("world", "miniature")].plain.categories]


@dataclass(frozen=True)
class Lengths:
    """Tokens: `image`, `text` (template and question) and `answer` are those of the longest sample of each kind.

    mean_*: over all samples. answers: of each right one, none where they weren't counted. counted: from the file?
    """

    counted: bool
    rows: int
    image: int
    text: int
    answer: int
    mean_image: float
    mean_prompt: float
    mean_answer: float
    answers: tuple[int, ...] = ()

    def longer_than(self, limit: int) -> float:
        """Return the share of right answers with more than `limit` tokens; 0 where none was counted."""
        return sum(answer > limit for answer in self.answers) / len(self.answers) if self.answers else 0.0


def lengths_of(
    config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None, size: AnswerSize = ON_COCO
) -> Lengths:
    """Return the lengths of a training file's rows, or upper bounds where the file is missing or doesn't hold them.

    Bounds: the most pixels an image may have; TEXT_TOKENS; an answer of `size` with as many objects as a sample may
    have; and the lengths above which curation drops rows.
    """
    data, model = config["data"], config["model"]
    wanted = samples_asked_for(config)
    if rows and all(name in rows[0] for name in ("prompt_tokens", "image_tokens", "answer_tokens")):
        answers = tuple(row["answer_tokens"] for row in rows)
        return Lengths(
            True,
            len(rows),
            max(row["image_tokens"] for row in rows),
            max(row["prompt_tokens"] - row["image_tokens"] for row in rows),
            max(answers),
            fmean(row["image_tokens"] for row in rows),
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
    limit = data["max_prompt_tokens"] or math.inf
    image = min(image, limit)
    text = min(TEXT_TOKENS, limit - image)
    answer = min(size.tokens(objects), data["max_answer_tokens"] or math.inf)
    return Lengths(False, len(rows) if rows else wanted, image, text, answer, image, image + text, answer)
