"""Rows of the training file: one question about one image, its right answer, and their lengths in tokens."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from vision_r1.data.clean import as_answers
from vision_r1.data.coco import CocoImage
from vision_r1.data.pools import Pool
from vision_r1.data.samples import Sample
from vision_r1.data.tokens import token_lengths
from vision_r1.families import Family
from vision_r1.prompts import Templates

Row = dict[str, Any]


class TokenCounter(Protocol):
    """Counts the tokens of each row's prompt, with one image token, and of its right answer: vision_r1.data.tokens."""

    def count(self, rows: Sequence[Row]) -> list[tuple[int, int]]: ...


@dataclass(frozen=True)
class RowWriter:
    """Turns questions into rows, in the words of `templates` and the family's frame; drops those that are too long.

    answer_pixels: fewest and most pixels of the image in whose frame answers are written; None: as the model sees it.
    max_prompt_tokens (image included), max_answer_tokens: None for no limit.
    """

    family: Family
    templates: Templates
    tokens: TokenCounter
    answer_pixels: tuple[int, int] | None
    max_prompt_tokens: int | None
    max_answer_tokens: int | None

    def rows(
        self,
        questions: Iterable[Sequence[int]],
        pools: Sequence[Pool],
        task: str,
        rng: np.random.Generator,
        counts: Counter,
    ) -> Iterator[Row]:
        """Yield a row for each question: number of the pool, place and label in it (see Pool.questions).

        A negative one asks for a label that is not in the image; where there is none, it is counted and left out.
        """
        for at, place, label in questions:
            pool = pools[at]
            objects, item, asked = pool.objects.only(pool.objects.of(place)), pool.places[place], task
            if isinstance(item, Sample):
                asked, categories = item.asked, list(item.categories)
            elif task == "detection":
                categories = pool.answerable_labels(place)
                if not categories:  # of a federated set
                    counts["no_category"] += 1
                    continue
            elif task == "grounding":
                categories = [pool.labels[label]]
                objects = objects.only(objects.label == label)
            else:
                absent = pool.absent_labels(place)
                if not absent:
                    counts["no_category"] += 1
                    continue
                categories = [absent[rng.integers(len(absent))]]
                objects = objects.only(slice(0))
            frame, answers = pool.frames[place], as_answers(objects, pool.labels)
            written = frame
            if self.answer_pixels:
                size = self.family.input_size(frame.width, frame.height, *self.answer_pixels)
                written = replace(frame, input_width=size[0], input_height=size[1])
            yield {
                "system": self.templates.system,
                "prompt": self.templates.ask(asked, categories),
                "answer": self.templates.right_answer(answers, written),
                "image": pool.path(place),
                "objects": answers,
                "categories": categories,
                "width": frame.width,
                "height": frame.height,
                "input_width": frame.input_width,
                "input_height": frame.input_height,
                "num_instances": len(answers),
                "frame": frame.kind,
                "task": task,
                "source_id": f"{pool.source.name}/{item.id if isinstance(item, CocoImage) else item.image_id}",
            }

    def take(self, rows: Iterator[Row], wanted: int, counts: Counter) -> list[Row]:
        """Return the next `wanted` rows with their lengths in tokens; longer ones are counted and left out."""
        kept: list[Row] = []
        while batch := list(islice(rows, wanted - len(kept))):
            for row, counted in zip(batch, self.tokens.count(batch), strict=True):
                lengths = token_lengths(row, counted, self.family)
                if self.max_prompt_tokens is not None and lengths["prompt_tokens"] > self.max_prompt_tokens:
                    counts["prompt_too_long"] += 1
                elif self.max_answer_tokens is not None and lengths["answer_tokens"] > self.max_answer_tokens:
                    counts["answer_too_long"] += 1
                else:
                    kept.append(row | lengths)
        return kept
