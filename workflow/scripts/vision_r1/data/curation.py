"""The training mixture: sources in, one question with its answer a row out, and every loss counted.

Differs from the paper, whose 49K samples are given: ours are drawn by seed, and every category keeps its share.
Tasks (paper, section 4.1): `detection` asks for a whole category list, `grounding` for all objects of one category,
`rec` for the one object that a phrase refers to. `negative` (ours) asks for a category that is not in the image.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np

from vision_r1.data.clean import as_answers
from vision_r1.data.coco import CocoImage
from vision_r1.data.draw import draw_order
from vision_r1.data.pools import Pool, make_pool, usable_frames
from vision_r1.data.sources import Sample, Source
from vision_r1.families import Family
from vision_r1.prompts import DEFAULT, Templates

TASKS = ("detection", "grounding", "negative", "rec")  # the place of a task decides its random numbers

Row = dict[str, Any]


class TokenCounter(Protocol):
    """Counts the tokens of each row's prompt, with one image token, and of its right answer: vision_r1.data.tokens."""

    def count(self, rows: Sequence[Row]) -> list[tuple[int, int]]: ...


@dataclass(frozen=True)
class Recipe:
    """What the training file shall hold.

    Samples of each task; min_per_category: each category gets this many samples of a task, or all that it can have,
    before the rest is drawn; fewest and most objects of a sample (negatives have none and are exempt); limits of the
    model's input in pixels; limits of prompt (image included) and answer in tokens, None for no limit: longer rows are
    dropped, never cut; held_out: share of the images kept from training for the selection split; order of the rows,
    `shuffle` or `instances`; seed of all draws.
    """

    detection: int
    grounding: int
    rec: int
    negative: int
    min_per_category: int
    min_instances: int
    max_instances: int
    min_pixels: int
    max_pixels: int
    max_prompt_tokens: int | None
    max_answer_tokens: int | None
    held_out: float
    order: str
    seed: int


@dataclass
class Tally:
    """What was read, kept and lost, by reason."""

    images: Counter = field(default_factory=Counter)
    objects: Counter = field(default_factory=Counter)
    samples: dict[str, dict[str, int]] = field(default_factory=dict)


def curate(
    sources: Sequence[Source],
    family: Family,
    recipe: Recipe,
    refused: Mapping[str, str],
    tokens: TokenCounter,
    templates: Templates = DEFAULT,
) -> tuple[list[Row], Tally, list[tuple[Source, CocoImage]]]:
    """Return the rows of the training file, the tally of how they came about, and the held-out images.

    `refused`: image path -> why it must not be used. Each image serves each task at most once. Each task draws with
    its own generator: asking for more of one task adds samples and leaves the others as they were. Where fewer are
    possible than asked for, all are taken.
    """
    tally = Tally()
    held_out = _hold_out(sources, recipe, refused)
    reasons = {**refused, **{image.path: "held_out" for _, image in held_out}}
    numbers: dict[str, int] = {}
    pools = []
    for source in sources:
        frames, images = usable_frames(source, family, recipe.min_pixels, recipe.max_pixels, reasons)
        pool, objects = make_pool(source, frames, numbers)
        pools.append(pool)
        tally.images.update(images)
        tally.objects.update(objects)
    rows: list[Row] = []
    for number, task in enumerate(TASKS):
        rng = np.random.default_rng((recipe.seed, number))
        counts = Counter(asked=getattr(recipe, task), written=0)
        if counts["asked"]:
            drawn = _rows(_draw(task, pools, recipe, counts, rng), pools, task, templates, rng, counts)
            rows += _within_limits(drawn, recipe, tokens, family, counts)
        tally.samples[task] = dict(counts)
    order = np.random.default_rng((recipe.seed, len(TASKS))).permutation(len(rows))
    rows = [rows[index] for index in order]
    if recipe.order == "instances":
        rows.sort(key=lambda row: row["num_instances"])
    return rows, tally, held_out


def _hold_out(sources: Sequence[Source], recipe: Recipe, refused: Mapping[str, str]) -> list[tuple[Source, CocoImage]]:
    """Draw the selection split from the images in COCO format that have an object and are no crowd alone."""
    candidates = [
        (source, image)
        for source in sources
        if source.coco
        for image in source.coco.images
        if image.path not in refused and not all(item.crowd for item in image.objects)
    ]
    order = np.random.default_rng((recipe.seed, len(TASKS) + 1)).permutation(len(candidates))
    return [candidates[place] for place in sorted(order[: int(recipe.held_out * len(order))])]


def _draw(
    task: str, pools: Sequence[Pool], recipe: Recipe, counts: Counter, rng: np.random.Generator
) -> Iterator[tuple[int, int, int]]:
    """Yield (pool, place, label) in the order in which to take them; count what the limits of instances exclude."""
    names = {"": 0}
    parts = []
    for at, pool in enumerate(pools):
        place, label, count = pool.questions(task)
        if task != "negative":
            few, many = count < recipe.min_instances, count > recipe.max_instances
            counts["too_few_instances"] += len(np.unique(place[few])) if task == "detection" else int(few.sum())
            counts["too_many_instances"] += len(np.unique(place[many])) if task == "detection" else int(many.sum())
            place, label = place[~few & ~many], label[~few & ~many]
        stratum = np.array([0] + [names.setdefault(name, len(names)) for name in pool.labels])
        parts.append((np.full(len(place), at), place, label, pool.image[place], stratum[label + 1]))
    pool, place, label, image, stratum = (np.concatenate(column) for column in zip(*parts, strict=True))
    counts["possible"] = len(np.unique(image))
    for index in draw_order(image, stratum, recipe.min_per_category, rng):
        yield int(pool[index]), int(place[index]), int(label[index])


def _rows(
    drawn: Iterable[tuple[int, int, int]],
    pools: Sequence[Pool],
    task: str,
    templates: Templates,
    rng: np.random.Generator,
    counts: Counter,
) -> Iterator[Row]:
    for at, place, label in drawn:
        pool = pools[at]
        objects, item = pool.objects.only(pool.objects.of(place)), pool.places[place]
        if isinstance(item, Sample):
            categories = list(item.categories)
        elif task == "detection":
            categories = pool.labels
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
        given = item.prompt if isinstance(item, Sample) else None
        yield {
            "system": templates.system,
            "prompt": given or templates.ask(task, categories),
            "answer": templates.right_answer(answers, frame),
            "image": pool.path(place),
            "objects": answers,
            "categories": categories,
            "width": frame.width,
            "height": frame.height,
            "input_width": frame.input_width,
            "input_height": frame.input_height,
            "num_instances": len(objects.label),
            "frame": frame.kind,
            "task": task,
            "source_id": f"{pool.source.name}/{item.id if isinstance(item, CocoImage) else item.image_id}",
        }


def _within_limits(
    rows: Iterator[Row], recipe: Recipe, tokens: TokenCounter, family: Family, counts: Counter
) -> Iterator[Row]:
    """Yield rows with their lengths in tokens until as many are there as are asked for; drop and count longer ones."""
    while counts["written"] < counts["asked"] and (batch := list(islice(rows, counts["asked"] - counts["written"]))):
        for row, counted in zip(batch, tokens.count(batch), strict=True):
            lengths = token_lengths(row, counted, family)
            if recipe.max_prompt_tokens is not None and lengths["prompt_tokens"] > recipe.max_prompt_tokens:
                counts["prompt_too_long"] += 1
            elif recipe.max_answer_tokens is not None and lengths["answer_tokens"] > recipe.max_answer_tokens:
                counts["answer_too_long"] += 1
            else:
                counts["written"] += 1
                yield row | lengths


def token_lengths(row: Row, counted: tuple[int, int], family: Family) -> dict[str, int]:
    """Return a row's columns of lengths in tokens from what a TokenCounter counted; the prompt's holds the image's."""
    prompt, answer = counted
    image = row["input_width"] * row["input_height"] // family.factor**2
    return {"prompt_tokens": prompt - 1 + image, "image_tokens": image, "answer_tokens": answer}


def summarise(tally: Tally, recipe: Recipe, family: Family, sources: Sequence[Source]) -> dict[str, Any]:
    """Return a tally as JSON values, with the recipe that it belongs to."""
    return {
        "datasets": {source.name: source.numbers() for source in sources},
        "family": family.name,
        **asdict(recipe),
        "rows": sum(counts["written"] for counts in tally.samples.values()),
        "samples": tally.samples,
        "short": [task for task, counts in tally.samples.items() if counts["written"] < counts["asked"]],
        "images": dict(sorted(tally.images.items(), key=lambda item: -item[1])),
        "objects": dict(sorted(tally.objects.items(), key=lambda item: -item[1])),
    }
