"""The right answer of a row, read from any of the forms in which tables hold it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vision_r1.parsing import MAX_COORDINATE


def ground_truth(row: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Return a row's boxes (n, 4) in pixels of the original image, and its n labels.

    They are in `objects`, a list of {"label", "bbox"} or the dict of lists {"label": [...], "bbox": [...]}
    that some table formats make of it, or in `solution`, a list of [label, [x1, y1, x2, y2]] or its JSON
    text. Raises ValueError or KeyError naming the field, also for a box whose corners are not in order.
    """
    name = "solution" if "solution" in row and "objects" not in row else "objects"
    objects = row[name]
    try:
        if isinstance(objects, str):
            objects = json.loads(objects)
        if isinstance(objects, Mapping):
            labels, boxes = objects["label"], objects["bbox"]
        elif name == "objects":
            labels, boxes = [item["label"] for item in objects], [item["bbox"] for item in objects]
        else:
            labels, boxes = [label for label, _ in objects], [box for _, box in objects]
        boxes = np.array(boxes, np.float64).reshape(len(labels), 4)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name}: not a list of labels with four coordinates each ({error!r})") from None
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{name}: a label is not text")
    if not (np.abs(boxes) < MAX_COORDINATE).all():
        raise ValueError(f"{name}: a coordinate is not finite")
    for box in boxes[~(boxes[:, :2] < boxes[:, 2:]).all(1)].tolist():
        # No answer can overlap such a box: its reward would always be 0, and SFT would learn to write it.
        raise ValueError(f"{name}: box {box} is not x1 y1 x2 y2 with x1 < x2 and y1 < y2")
    return boxes, labels
