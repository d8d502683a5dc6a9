"""How an evaluation reads a completion; a protocol names its reader.

strict         the parser of the rewards (vision_r1.parsing)
released_2025  the released evaluation's rules, which are not those of the released reward (vision_r1.released_2025)
upstream_2026  the rules of the authors' later evaluation: a single fault, and nothing is read

All report the verdict of `parsing.parse`, and have its caps on characters, boxes and coordinates.
"""

import ast
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from vision_r1 import parsing
from vision_r1.parsing import MAX_BOXES, MAX_CHARACTERS, MAX_COORDINATE, Parsed

Reader = Callable[[str, Collection[str] | None], Parsed]


def released_2025(text: str, known: Collection[str] | None = None) -> Parsed:
    """Read a completion as the released evaluation does. Never raises.

    - The text after a line that is "```json", up to the next fence; the whole text where there is none.
    - It is read as a Python literal; where that fails, the text up to its last `"}`, closed by "]", is tried.
    - No rounding, and no test that x1 < x2. A box with x1 > x2 overlaps nothing. F1, precision and the kinds of errors
      count it as false; so does pycocotools' AP where both axes are swapped, but with one swapped it drops the box.
    - Of an item with several boxes, a list of them or 8, 12, ... numbers, only the first counts.
    - An item that can't be read is left out, and when scored, so is one with an unknown label.
    """
    lines = text[:MAX_CHARACTERS].splitlines()
    body = text[:MAX_CHARACTERS]
    if "```json" in lines:
        body = "\n".join(lines[lines.index("```json") + 1 :]).split("```")[0]
    items = _literal(body)
    if items is None:
        items = _literal(body[: body.rfind('"}') + 2] + "]")
    read = (_detection(_with_first_box(item)) for item in items) if isinstance(items, list | tuple) else ()
    return _parsed(text, known, [detection for detection in read if detection])


def upstream_2026(text: str, known: Collection[str] | None = None) -> Parsed:
    """Read a completion as the evaluation for Qwen3-VL does. Never raises.

    - What follows the last </think>, less any "```json" and "```", must be a Python literal, or nothing is read.
    - An item whose bbox_2d has not four entries is left out; any other fault, such as a missing label, leaves nothing.
    - No rounding, and no test that x1 < x2.

    Differs in coordinates that are not numbers, or too large to score: that evaluation crashes, and this one reads
    nothing.
    """
    body = text[:MAX_CHARACTERS].split("</think>")[-1].strip().replace("```json", "").replace("```", "")
    items = _literal(body)
    whole = isinstance(items, list | tuple) and all(isinstance(item, dict) for item in items)
    read = [_detection(item) for item in items if _entries(item) == 4] if whole else []
    return _parsed(text, known, read if all(read) else [])


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _with_first_box(item: Any) -> Any:
    box = item.get("bbox_2d") if isinstance(item, dict) else None
    if not isinstance(box, list | tuple):
        return item
    rows = box if box and all(isinstance(row, list | tuple) for row in box) else [box]
    length = len(rows[0])
    whole = length >= 4 and all(len(row) == length for row in rows) and len(rows) * length % 4 == 0
    return {**item, "bbox_2d": rows[0][:4] if whole else None}


def _entries(item: dict[str, Any]) -> int:
    """Return how many entries an item's bbox_2d has; 4 where it can't be counted, which is a fault of another kind."""
    box = item.get("bbox_2d", [])
    return len(box) if isinstance(box, list | tuple | str | dict) else 4


def _detection(item: Any) -> tuple[list[float], str] | None:
    """Return the box and label of an item, None where it lacks either."""
    box, label = (item.get("bbox_2d"), item.get("label")) if isinstance(item, dict) else (None, None)
    if not isinstance(box, list | tuple) or len(box) != 4 or not isinstance(label, str):
        return None
    if not all(isinstance(value, int | float) and abs(value) < MAX_COORDINATE for value in box):
        return None
    return [float(value) for value in box], label


def _parsed(text: str, known: Collection[str] | None, read: list[tuple[list[float], str]]) -> Parsed:
    verdict = parsing.parse(text, known).verdict
    boxes, labels = [box for box, _ in read[:MAX_BOXES]], [label for _, label in read[:MAX_BOXES]]
    return Parsed(np.array(boxes, np.float64).reshape(-1, 4), labels, verdict, verdict in parsing.WELL_FORMED)


READERS: dict[str, Reader] = {"strict": parsing.parse, "released_2025": released_2025, "upstream_2026": upstream_2026}
