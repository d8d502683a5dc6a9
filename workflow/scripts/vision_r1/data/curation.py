"""The training file: annotations in, one question with its answer a row out, and every loss counted.

Differs from the paper, whose 49K samples are given: ours are drawn from the annotations by seed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.data.tasks import ask
from vision_r1.families import Family
from vision_r1.frames import Frame


@dataclass(frozen=True)
class Recipe:
    """What the training file shall hold.

    Samples of each task; fewest and most objects of a sample (negatives have none and are exempt); limits of the
    model's input in pixels; order of the rows, `shuffle` or `instances`; seed of all draws.
    """

    detection: int
    grounding: int
    negative: int
    min_instances: int
    max_instances: int
    min_pixels: int
    max_pixels: int
    order: str
    seed: int


@dataclass(frozen=True)
class Candidate:
    """An image that can be asked about, with its usable objects {label, bbox}.

    `whole_labels`: those of the data set's `categories` of which the image has no box that was dropped.
    """

    source_id: str
    path: str
    frame: Frame
    objects: list[dict[str, Any]]
    categories: list[str]
    whole_labels: list[str]


@dataclass
class Tally:
    """What was read, kept and lost, by reason."""

    images: Counter = field(default_factory=Counter)
    objects: Counter = field(default_factory=Counter)
    samples: dict[str, dict[str, int]] = field(default_factory=dict)

    def summary(self, recipe: Recipe, family: Family, datasets: Sequence[CocoDataset]) -> dict[str, Any]:
        """Return the tally as JSON values, with the recipe that it belongs to."""
        return {
            "datasets": {dataset.name: len(dataset.images) for dataset in datasets},
            "family": family.name,
            **asdict(recipe),
            "rows": sum(counts["written"] for counts in self.samples.values()),
            "samples": self.samples,
            "short": [task for task, counts in self.samples.items() if counts["written"] < counts["asked"]],
            "images": dict(sorted(self.images.items())),
            "objects": dict(sorted(self.objects.items())),
        }


def curate(datasets: Sequence[CocoDataset], family: Family, recipe: Recipe) -> tuple[list[dict[str, Any]], Tally]:
    """Return the rows of the training file, and the tally of how they came about.

    Each image serves each task at most once. Each task draws with its own generator: asking for more of one task
    adds samples and leaves the others as they were. Where fewer are possible than asked for, all are taken.
    """
    tally = Tally()
    candidates = [
        candidate
        for dataset in datasets
        for image in dataset.images
        if (candidate := _candidate(dataset, image, family, recipe, tally)) is not None
    ]
    rows: list[dict[str, Any]] = []
    for number, task in enumerate(("detection", "grounding", "negative")):
        wanted = getattr(recipe, task)
        counts = Counter(asked=wanted, written=0)
        rng = np.random.default_rng((recipe.seed, number))
        for index in rng.permutation(len(candidates)):
            if counts["written"] == wanted:
                break
            row = _sample(task, candidates[index], recipe, rng)
            if isinstance(row, str):
                counts[row] += 1
            else:
                rows.append(row)
                counts["written"] += 1
        tally.samples[task] = dict(counts)
    order = np.random.default_rng((recipe.seed, len(tally.samples))).permutation(len(rows))
    rows = [rows[index] for index in order]
    if recipe.order == "instances":
        rows.sort(key=lambda row: row["num_instances"])
    return rows, tally


def _candidate(
    dataset: CocoDataset, image: CocoImage, family: Family, recipe: Recipe, tally: Tally
) -> Candidate | None:
    tally.images["read"] += 1
    try:
        input_size = family.input_size(image.width, image.height, recipe.min_pixels, recipe.max_pixels)
    except ValueError:
        tally.images["too_long"] += 1  # sides that differ so much that the processor refuses the image
        return None
    frame = Frame(family.frame, image.width, image.height, *input_size)
    objects, lost = [], set()
    for item in image.objects:
        tally.objects["read"] += 1
        box, fate = clean_box(item, image, frame)
        tally.objects[fate] += 1
        if box is None:
            lost.add(item.label)
        else:
            objects.append({"label": item.label, "bbox": box})
    categories = list(dataset.categories.values())
    whole = [label for label in categories if label not in lost]
    return Candidate(f"{dataset.name}/{image.id}", image.path, frame, objects, categories, whole)


def clean_box(item: CocoObject, image: CocoImage, frame: Frame) -> tuple[list[float] | None, str]:
    """Return an object's box cut to its image (x1 y1 x2 y2 in original pixels, to a hundredth), and its fate.

    Fates: kept, clipped (kept too); and with None: crowd, degenerate (no area), outside (of the image), too_small
    (no area is left once its corners are whole numbers in the model's frame, so no answer could be right).
    """
    x1, y1, x2, y2 = item.corners
    if item.crowd:
        return None, "crowd"
    if x1 >= x2 or y1 >= y2:
        return None, "degenerate"
    if x1 >= image.width or y1 >= image.height or x2 <= 0 or y2 <= 0:
        return None, "outside"
    inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(image.width)), min(y2, float(image.height))
    box = [round(value, 2) for value in inside]
    answer = np.round(frame.from_original(np.array([box])))[0]
    if answer[0] >= answer[2] or answer[1] >= answer[3]:
        return None, "too_small"
    return box, "kept" if inside == item.corners else "clipped"


def _sample(task: str, candidate: Candidate, recipe: Recipe, rng: np.random.Generator) -> dict[str, Any] | str:
    """Return a row, or the reason why the image can't serve the task."""
    # "Every person" has no complete answer where a crowd of them was dropped, nor is "no person" true there.
    labels = candidate.categories if task == "detection" else candidate.whole_labels
    question = ask(task, candidate.objects, labels, rng)
    if question is None:
        return "no_category"
    count = len(question["objects"])
    if task != "negative" and count < recipe.min_instances:
        return "too_few_instances"
    if task != "negative" and count > recipe.max_instances:
        return "too_many_instances"
    frame = candidate.frame
    return {
        "prompt": question["prompt"],
        "image": candidate.path,
        "objects": question["objects"],
        "categories": question["categories"],
        "width": frame.width,
        "height": frame.height,
        "input_width": frame.input_width,
        "input_height": frame.input_height,
        "num_instances": count,
        "frame": frame.kind,
        "task": task,
        "source_id": candidate.source_id,
    }
