"""The training mixture: sources in, rows of one question and its answer out, and everything dropped is counted.

Differs from the paper, whose 49K samples are fixed: ours are drawn by seed.
Tasks (paper, section 4.1): `detection` asks for a whole category list, `grounding` for all objects of one category,
`rec` for what a phrase refers to. `negative` asks for something that is not in the image.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from vision_r1.data.coco import CocoImage
from vision_r1.data.draw import draw_order
from vision_r1.data.mixture import TASKS, Draw
from vision_r1.data.pools import Pool, make_pool, shown_by_several, usable_frames
from vision_r1.data.rows import Row, RowWriter, TokenCounter
from vision_r1.data.sources import Source
from vision_r1.families import Family
from vision_r1.prompts import DEFAULT, Templates


@dataclass(frozen=True)
class Recipe:
    """What the training file is to hold.

    draws: how many samples of each task from which sources. min_per_category: in each draw, each category gets this
    many samples, or all that it can have, before the rest is drawn. hard_share: share of detection samples with more
    than hard_instances objects, or all such samples if they are fewer, after those of min_per_category; None leaves the
    share to chance. min_instances, max_instances: objects of a sample; negatives have none and are exempt. min_pixels,
    max_pixels: of the model's input. answer_pixels: most pixels of the image in which right answers count, where that
    isn't the model's input (a fault of the released SFT). max_prompt_tokens (image included), max_answer_tokens: longer
    rows are dropped, never cut; None for no limit. held_out: share of the images of sources hold_out_from (none named:
    of all) that is kept from training for the selection split. order: of the rows, `shuffle` or `instances`. seed: of
    all draws.
    """

    draws: tuple[Draw, ...]
    min_per_category: int
    hard_share: float | None
    hard_instances: int
    min_instances: int
    max_instances: int
    min_pixels: int
    max_pixels: int
    answer_pixels: int | None
    max_prompt_tokens: int | None
    max_answer_tokens: int | None
    held_out: float
    hold_out_from: tuple[str, ...]
    order: str
    seed: int


@dataclass
class Tally:
    """What was read, kept and lost, by reason; `samples` by task."""

    images: Counter = field(default_factory=Counter)
    objects: Counter = field(default_factory=Counter)
    samples: dict[str, Counter] = field(default_factory=dict)


def curate(
    sources: Sequence[Source],
    family: Family,
    recipe: Recipe,
    refused: Mapping[str, str],
    tokens: TokenCounter,
    templates: Templates = DEFAULT,
) -> tuple[list[Row], Tally, list[tuple[Source, CocoImage]]]:
    """Return the rows of the training file, the tally of what was kept and lost, and the held-out images.

    `refused`: image path -> why it must not be used. Each image serves each task at most once, unless its source is a
    whole set of questions. Each draw has its own generator: asking for more of one task adds samples and leaves the
    others as they were. Where fewer are possible than asked for, all are taken.
    """
    tally = Tally()
    held_out = _hold_out(sources, recipe, refused)
    paths = {image.path for _, image in held_out}
    ids = {(source.id_space, image.id) for source, image in held_out if source.id_space}
    same = {
        image.path
        for source in sources
        for image in source.images()
        if image.path in paths or (image.id_space, image.id) in ids
    }
    reasons = dict.fromkeys(same, "held_out") | refused
    numbers: dict[Any, int] = {}
    pools = []
    for source in sources:
        frames, images = usable_frames(source, family, recipe.min_pixels, recipe.max_pixels, reasons)
        pool, objects = make_pool(source, frames, numbers, templates.rounding)
        pools.append(pool)
        tally.images.update(images)
        tally.objects.update(objects)
    shown = shown_by_several(pools)
    pools = [replace(pool, shown=shown) for pool in pools]
    answer_pixels = (recipe.min_pixels, recipe.answer_pixels) if recipe.answer_pixels else None
    writer = RowWriter(family, templates, tokens, answer_pixels, recipe.max_prompt_tokens, recipe.max_answer_tokens)
    rows: list[Row] = []
    for number, task in enumerate(TASKS):
        counts = tally.samples.setdefault(task, Counter(asked=0, written=0))
        used: list[int] = []
        for place, draw in enumerate(each for each in recipe.draws if each.task == task):
            rng = np.random.default_rng((recipe.seed, number, place))
            chosen = [pool for pool in pools if not draw.sources or pool.source.name in draw.sources]
            drawn = _drawn(draw, chosen, recipe, writer, counts, used, rng)
            used += [numbers[row["image"]] for row in drawn if row["image"] in numbers]
            rows += drawn
    order = np.random.default_rng((recipe.seed, len(TASKS))).permutation(len(rows))
    rows = [rows[index] for index in order]
    if recipe.order == "instances":
        rows.sort(key=lambda row: row["num_instances"])
    return rows, tally, held_out


def _hold_out(sources: Sequence[Source], recipe: Recipe, refused: Mapping[str, str]) -> list[tuple[Source, CocoImage]]:
    """Draw the selection split from the images of COCO-format sources that have an object other than a crowd."""
    candidates = [
        (source, image)
        for source in sources
        if source.coco and (not recipe.hold_out_from or source.name in recipe.hold_out_from)
        for image in source.coco.images
        if image.path not in refused and not all(item.crowd for item in image.objects)
    ]
    order = np.random.default_rng((recipe.seed, len(TASKS) + 1)).permutation(len(candidates))
    fewest = 1 if recipe.held_out and len(order) > 1 else 0  # else the split would have no categories
    count = max(fewest, int(recipe.held_out * len(order)))
    return [candidates[place] for place in sorted(order[:count])]


def _drawn(
    draw: Draw,
    pools: Sequence[Pool],
    recipe: Recipe,
    writer: RowWriter,
    counts: Counter,
    used: Sequence[int],
    rng: np.random.Generator,
) -> list[Row]:
    """Return the rows of one draw, about images not in `used`; hard ones come first where they have a share."""
    counts["asked"] += draw.count
    questions, hard, floor = _in_order(draw.task, pools, recipe, counts, used, rng)

    def rows(chosen: Any) -> Iterator[Row]:
        return writer.rows(questions[chosen].tolist(), pools, draw.task, rng, counts)

    if recipe.hard_share is None or draw.task != "detection":
        taken = writer.take(rows(slice(None)), draw.count, counts)
    else:
        rest = np.arange(len(hard)) >= floor
        hard_rows = rows(hard & rest)
        taken = writer.take(rows(~rest), draw.count, counts)  # rare categories survive, however many of them are hard
        wanted = round(recipe.hard_share * draw.count) - _hard(taken, recipe)
        taken += writer.take(hard_rows, min(max(0, wanted), draw.count - len(taken)), counts)
        taken += writer.take(rows(~hard & rest), draw.count - len(taken), counts)
        taken += writer.take(hard_rows, draw.count - len(taken), counts)
        counts["hard"] += _hard(taken, recipe)
    counts["written"] += len(taken)
    return taken


def _hard(rows: Sequence[Row], recipe: Recipe) -> int:
    return sum(row["num_instances"] > recipe.hard_instances for row in rows)


def _in_order(
    task: str, pools: Sequence[Pool], recipe: Recipe, counts: Counter, used: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (pool, place, label) (n, 3) in the order in which to take them, which are hard (n,), and how many of the
    first ones are there for min_per_category.

    Counts what the limits of instances exclude.
    """
    names = {"": 0}
    parts = []
    for at, pool in enumerate(pools):
        place, label, count = pool.questions(task)
        if task != "negative":
            few, many = count < recipe.min_instances, count > recipe.max_instances
            counts["too_few_instances"] += len(np.unique(place[few])) if task == "detection" else int(few.sum())
            counts["too_many_instances"] += len(np.unique(place[many])) if task == "detection" else int(many.sum())
            place, label, count = (column[~few & ~many] for column in (place, label, count))
        stratum = np.array([0] + [names.setdefault(name, len(names)) for name in pool.labels])
        hard = count > recipe.hard_instances
        parts.append((np.full(len(place), at), place, label, pool.image[place], stratum[label + 1], hard))
    if used:
        fresh = [~np.isin(part[3], used) for part in parts]
        parts = [tuple(column[kept] for column in part) for part, kept in zip(parts, fresh, strict=True)]
    pool, place, label, image, stratum, hard = (np.concatenate(column) for column in zip(*parts, strict=True))
    counts["possible"] += len(np.unique(image))
    order, floor = draw_order(image, stratum, recipe.min_per_category, rng)
    return np.column_stack([pool, place, label])[order], hard[order], floor


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
