"""The datasheet of a training file: what is in it, what was left out and why, and samples to look at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vision_r1.data.images import load_image
from vision_r1.frames import Frame
from vision_r1.parsing import parse
from vision_r1.report.drawing import Objects, draw, palette

Row = Mapping[str, Any]

INSTANCE_BINS = {"0": 0, "1": 1, "2 to 3": 2, "4 to 7": 4, "8 to 15": 8, "16 to 30": 16, "over 30": 31}
# Share of the image that an object's box covers.
SIZE_BINS = {"below 0.1 %": 0, "0.1 to 1 %": 0.001, "1 to 5 %": 0.01, "5 to 20 %": 0.05, "over 20 %": 0.2}


@dataclass(frozen=True)
class Overlay:
    """One sample, drawn twice: `original` with its boxes, `seen` as the model gets it, with the boxes of the answer.

    Both are data URIs.
    """

    row: Row
    answer: str
    original: str
    seen: str


def describe(
    rows: Sequence[Row], curation: Mapping[str, Any], leaks: Mapping[str, Any], licences: Mapping[str, str]
) -> dict[str, Any]:
    """Return the datasheet as JSON values: rows by task, source, category, objects and size; tokens; rows dropped."""
    objects = [(item, row) for row in rows for item in row["objects"]]
    asked = Counter(label for row in rows for label in row["categories"])
    drawn = Counter(item["label"] for item, _ in objects)
    shares = [_area(item["bbox"]) / (row["width"] * row["height"]) for item, row in objects]
    return {
        "rows": len(rows),
        "images": len({row["image"] for row in rows}),
        "tasks": dict(Counter(row["task"] for row in rows).most_common()),
        "sources": {
            name: dict(Counter(row["task"] for row in rows if row["source_id"].partition("/")[0] == name))
            for name in curation["datasets"]
        },
        "categories": {
            label: {"asked": asked[label], "objects": drawn[label]}
            for label in sorted({*asked, *drawn}, key=lambda label: (-drawn[label], label))
        },
        "instances": _binned([row["num_instances"] for row in rows], INSTANCE_BINS),
        "object_sizes": _binned(shares, SIZE_BINS),
        "tokens": {
            name: _spread([row[name] for row in rows]) for name in ("prompt_tokens", "image_tokens", "answer_tokens")
        },
        "images_read": curation["images"],
        "boxes_read": curation["objects"],
        "samples": curation["samples"],
        "short": curation["short"],
        "notes": curation["notes"],
        "answer_pixels": curation.get("answer_pixels"),
        "leakage": dict(leaks),
        "licences": dict(licences),
    }


def choose_overlays(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Pick samples by seed, of every task in turn."""
    by_task: dict[str, list[Row]] = {}
    for place in np.random.default_rng(seed).permutation(len(rows)):
        by_task.setdefault(rows[place]["task"], []).append(rows[place])
    turns = max(map(len, by_task.values()), default=0)
    return [group[turn] for turn in range(turns) for group in by_task.values() if turn < len(group)][:count]


def overlay(row: Row) -> Overlay:
    """Draw one sample's boxes as annotated, and as the taught answer writes them, in the model's own frame."""
    image, answer = load_image(row["image"]), row["answer"]
    colours = palette(item["label"] for item in row["objects"])
    annotated = np.array([item["bbox"] for item in row["objects"]], float).reshape(-1, 4)
    original = draw(image, Objects(annotated, tuple(item["label"] for item in row["objects"])), colours)
    size = (row["input_width"], row["input_height"])
    parsed = parse(answer)
    # The answer's numbers are pixels of the resized image, or thousandths of its sides.
    boxes = parsed.boxes / (Frame.of(row).size * 2) * (size * 2)
    seen = draw(image.resize(size, Image.Resampling.BICUBIC), Objects(boxes, tuple(map(str, parsed.labels))), colours)
    return Overlay(row, answer, original, seen)


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _binned(values: Sequence[float], bins: Mapping[str, float]) -> dict[str, int]:
    edges = [*bins.values(), float("inf")]
    return dict(zip(bins, np.histogram(values, edges)[0].tolist(), strict=True))


def _spread(values: Sequence[int]) -> dict[str, int]:
    points = {"smallest": 0, "median": 50, "95 of 100 below": 95, "largest": 100}
    return {name: int(np.percentile(values, point, method="nearest")) for name, point in points.items()}
