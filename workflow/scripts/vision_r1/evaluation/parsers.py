"""How an evaluation reads a completion; a protocol names its parser.

strict    the parser of the rewards (vision_r1.parsing)
official  the released evaluation's rules, which are not those of the released reward (vision_r1.official)
"""

import ast
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from vision_r1 import parsing
from vision_r1.parsing import MAX_BOXES, MAX_CHARACTERS, MAX_COORDINATE, Parsed


def official(text: str, known: Collection[str] | None = None) -> Parsed:
    """Read a completion as the released evaluation does. Never raises.

    - The text after a line that is "```json", up to the next fence; the whole text where there is none.
    - It is a Python literal; where it is not, what ends with its last `"}`, closed by "]", is tried.
    - No rounding, and no test that x1 < x2: such a box has no overlap with anything, and counts as false.
    - An item that can't be read is left out; so is, when scored, one of an unknown label.

    Ours: the verdict, which is that of `parsing.parse`, and its caps on characters, boxes and coordinates.
    """
    verdict = parsing.parse(text, known).verdict
    items = _literal(_unfenced(text[:MAX_CHARACTERS]))
    boxes, labels = [], []
    for item in items if isinstance(items, list | tuple) else ():
        box, label = _box(item), item.get("label") if isinstance(item, dict) else None
        if box is not None and isinstance(label, str) and len(boxes) < MAX_BOXES:
            boxes.append(box)
            labels.append(label)
    return Parsed(np.array(boxes, np.float64).reshape(-1, 4), labels, verdict, verdict in parsing.WELL_FORMED)


def _unfenced(text: str) -> str:
    lines = text.splitlines()
    if "```json" not in lines:
        return text
    return "\n".join(lines[lines.index("```json") + 1 :]).split("```")[0]


def _literal(text: str) -> Any:
    for attempt in (text, text[: text.rfind('"}') + 2] + "]"):
        try:
            return ast.literal_eval(attempt)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _box(item: Any) -> list[float] | None:
    box = item.get("bbox_2d") if isinstance(item, dict) else None
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    if not all(isinstance(value, int | float) and abs(value) < MAX_COORDINATE for value in box):
        return None
    return [float(value) for value in box]


PARSERS: dict[str, Callable[[str, Collection[str] | None], Parsed]] = {"strict": parsing.parse, "official": official}
