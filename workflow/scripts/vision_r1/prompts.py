"""Prompts and answers in the words that Qwen2.5-VL was taught (released code)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vision_r1.frames import Frame

DETECTION_START = (
    "Locate every item from the category list in the image and output the coordinates in JSON format. "
    "The category set includes "
)


def detection_prompt(categories: Sequence[str]) -> str:
    """Ask for every object of a list of categories (released code, detection)."""
    return f"{DETECTION_START}{', '.join(categories)}."


def detection_categories(prompt: str) -> list[str]:
    """Return the categories that a detection prompt lists; none for another prompt."""
    if not prompt.startswith(DETECTION_START):
        return []
    return prompt.removeprefix(DETECTION_START).removesuffix(".").split(", ")


def phrase_prompt(phrase: str) -> str:
    """Ask for every object of one category or phrase (released code, grounding and REC)."""
    return f"Locate every {phrase} in the image and output the coordinates in JSON format."


def question(task: str, names: Sequence[str]) -> str:
    return detection_prompt(names) if task == "detection" else phrase_prompt(", ".join(names))


def format_answer(boxes: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
    """Write boxes (n x 4, x1 y1 x2 y2 in the MODEL's frame) as the fenced JSON list that is asked for.

    Coordinates are rounded to whole numbers, as in the released training data.
    """
    items = [
        {"bbox_2d": [round(float(value)) for value in box], "label": label}
        for box, label in zip(boxes, labels, strict=True)
    ]
    return f"```json\n{json.dumps(items, ensure_ascii=False)}\n```"


def ground_truth_answer(row: Mapping[str, Any]) -> str:
    """Return the answer that a perfect model gives to a row of the training file."""
    boxes = np.array([item["bbox"] for item in row["objects"]], dtype=float).reshape(-1, 4)
    return format_answer(Frame.of(row).from_original(boxes).tolist(), [item["label"] for item in row["objects"]])
