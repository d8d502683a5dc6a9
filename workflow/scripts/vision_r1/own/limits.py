"""The limits of a run on own data, derived from the data: answers, pixels, samples and steps."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vision_r1.families import family
from vision_r1.launcher.modes import processes
from vision_r1.own.data import Part
from vision_r1.preflight.lengths import LABEL, ON_COCO
from vision_r1.prompts import Templates

if TYPE_CHECKING:
    from vision_r1.processors import ImageOnlyProcessor

ROOM = 1.5  # the longest answer allowed, as a multiple of the longest right one
MOST_SAMPLES = 30_000  # of a task; the paper's largest number
PASSES = 3  # over the training file, in each training
FEWEST_STEPS, MOST_STEPS = 50, 1531  # the paper has 1531 in each GRPO stage
# A base that has never seen a photograph needs many passes in SFT before GRPO finds something to reward.
MINIATURE_SFT_STEPS, MINIATURE_GRPO_STEPS = 400, 60


@dataclass(frozen=True)
class Limits:
    """Tokens, objects, pixels, samples and steps of a run.

    longest: the longest right answer of the training images, tokens; answer: longer right answers are dropped;
    completion: longest answer that a model may write; instances: most objects of an answer; over: training images
    whose right answer is too long. pixels: the model's largest input. sft_steps, grpo_steps: optimiser steps.
    """

    longest: int
    answer: int
    completion: int
    instances: int
    over: int
    pixels: int
    held_out: float
    positive: int
    negative: int
    sft_steps: int
    grpo_steps: int


def answer_counter(config: Mapping[str, Any], processor: "ImageOnlyProcessor | None") -> Callable[[list[str]], int]:
    """Return a function: labels of an answer's objects -> tokens of the right answer.

    Boxes have as many digits as the model's frame can need. Without a processor it is an upper bound: Qwen's tokens of
    an object, and one for each byte of a label longer than theirs.
    """
    items: dict[str, int] = {}
    if processor is None:

        def item(label: str) -> int:
            return ON_COCO.item + max(0, len(label.encode()) - len(LABEL))

        fence = ON_COCO.fence
    else:
        model = config["model"]
        far = 999 if family(model["family"]).frame == "rel1000" else max(100, math.isqrt(model["max_pixels"]) - 1)
        write = Templates.of(config["templates"]).answer

        def count(labels: list[str]) -> int:
            text = write([[far] * 4] * len(labels), labels)
            return len(processor.tokenizer(text, add_special_tokens=False).input_ids)

        def item(label: str) -> int:
            return count([label] * 2) - count([label])

        fence = count([]) + 1  # and the token that ends an answer

    def tokens(labels: list[str]) -> int:
        items.update({label: item(label) for label in {*labels} - items.keys()})
        return fence + sum(items[label] for label in labels)

    return tokens


def limits_of(
    config: Mapping[str, Any], train: Part, numbers: Mapping[str, Any], tokens: Callable[[list[str]], int], room: int
) -> Limits:
    """Return the limits of a run whose training images are `train`, with at most `room` tokens an answer.

    config: what the run is laid over; its batches, and the pixels that it allows, stay.
    """
    labels = [[item.label for item in image.objects if not item.crowd] for image in train.coco.images]
    lengths = [(tokens(own), len(own)) for own in labels if own]
    longest = max(length for length, _ in lengths)
    room = max(room, min(length for length, _ in lengths))
    fitting = [count for length, count in lengths if length <= room]
    factor, model = family(config["model"]["family"]).factor, config["model"]
    cells = math.ceil(math.sqrt(numbers["pixels"]) / factor + 1) ** 2  # both sides are rounded up to whole cells
    held_out = round(min(0.1, max(0.03, 20 / numbers["images"])), 3)
    positive = max(1, min(MOST_SAMPLES, int(numbers["labelled"] * (1 - held_out))))
    negative = min(round(positive / 5), int(numbers["without_category"] * (1 - held_out)))
    miniature = model["source"] == "made"
    rows = 2 * positive + negative
    return Limits(
        longest=longest,
        answer=min(longest, room),
        completion=max(min(longest, room), min(room, 16 * math.ceil(ROOM * longest / 16))),
        instances=max(fitting),
        over=len(lengths) - len(fitting),
        pixels=max(model["min_pixels"], min(model["max_pixels"], cells * factor**2)),
        held_out=held_out,
        positive=positive,
        negative=negative,
        sft_steps=MINIATURE_SFT_STEPS if miniature else _steps(rows, _batch(config, "sft")),
        grpo_steps=MINIATURE_GRPO_STEPS
        if miniature
        else _steps(rows / 2, _batch(config, "grpo") / config["grpo"]["num_generations"]),
    )


def _batch(config: Mapping[str, Any], section: str) -> int:
    values, devices = config[section], processes(config, f"train_{section}")
    return values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] * devices


def _steps(rows: float, batch: float) -> int:
    return max(FEWEST_STEPS, min(MOST_STEPS, math.ceil(PASSES * rows / batch)))
