"""How the released code reads a completion, oddities included (rewards agree with it to 1e-6).

Where that code would crash, on a text or number too large for it, nothing is read instead.
"""

import json
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from vision_r1 import parsing
from vision_r1.parsing import MAX_BOXES, MAX_CHARACTERS, MAX_COORDINATE, Parsed

_FENCE = re.compile("```json\n|\n```")
_COORDINATE = r"(\d{1,3}|1000)"
_ITEM = re.compile(
    r'\{"bbox_2d": \[' + ", ".join([_COORDINATE] * 4) + r'\], "label": "([^"]+)"\}',
)
_JSON_SPACE = " \t\n\r"
_BROKEN = object()


def parse(text: str, known: Collection[str] | None = None) -> Parsed:
    """Read the detections of a completion by the released code's rules. Never raises.

    Odd, and kept:
    - The dual-format reward and the boxes have different rules for the fence. A text with a blank line before its
      fence has boxes but no format.
    - {}, [], numbers, nested lists, items without a label and boxes of four nulls are well formed.
    - int() reads every coordinate: 13.6 becomes 13, "454" and True become 454 and 1; an item that int()
      refuses is dropped.
    - an item without a label, or with one that is not text, is a detection of no class.
    - where no item survives, a regular expression looks for {"bbox_2d": [a, b, c, d], "label": "..."} with
      these very spaces in the raw text: whole numbers of one to three digits or 1000, so that a truncated
      or chatty answer keeps its boxes only in images of up to 1000 pixels.

    Ours: the verdict, which is that of `parsing.parse`, and its caps on characters, boxes and coordinates.
    """
    verdict = parsing.parse(text, known).verdict
    text = text[:MAX_CHARACTERS]
    bare = _FENCE.sub("", text).strip()
    value = _decode(bare)
    body = _body(text)
    boxes, labels = _items(value if body == bare else _decode(body))
    if not boxes:
        boxes, labels = _found(text)
    return Parsed(np.array(boxes[:MAX_BOXES], np.float64).reshape(-1, 4), labels[:MAX_BOXES], verdict, _formed(value))


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _BROKEN


def _formed(value: Any) -> bool:
    if type(value) is not list:
        return value is not _BROKEN
    for item in value:
        if type(item) is dict and "bbox_2d" in item and "label" in item:
            box = item["bbox_2d"]
            if type(box) is not list or len(box) != 4:
                return False
    return True


def _body(text: str) -> str:
    text = text.strip()
    if text.startswith("```json"):
        text = "\n".join(text.splitlines()[1:])
    return text.split("```", 1)[0].strip(_JSON_SPACE)


def _items(value: Any) -> tuple[list, list]:
    boxes, labels = [], []
    if type(value) is not list:
        return boxes, labels
    for item in value:
        if type(item) is not dict:
            continue
        box = item.get("bbox_2d")
        if type(box) is not list or len(box) != 4:
            continue
        try:
            x1, y1, x2, y2 = map(int, box)
        except (TypeError, ValueError, OverflowError):
            continue
        if x1 < x2 and y1 < y2 and max(x2, y2, -x1, -y1) < MAX_COORDINATE:
            label = item.get("label")
            boxes.append((x1, y1, x2, y2))
            labels.append(label if type(label) is str else None)
    return boxes, labels


def _found(text: str) -> tuple[list, list]:
    boxes, labels = [], []
    for *corners, label in _ITEM.findall(text):
        x1, y1, x2, y2 = map(int, corners)
        if x1 < x2 and y1 < y2:
            boxes.append((x1, y1, x2, y2))
            labels.append(label)
    return boxes, labels
