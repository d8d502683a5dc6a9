"""Score policies: where a box's score comes from, since AP ranks boxes by score and an answer has none.

constant           the protocol's score for every box (0.99 in the released code): images rank by id, boxes by their
                   order in the answer
order              1, 1/2, 1/3, ... in the order of an answer: all answers' first boxes rank first (ours)
token-probability  how sure the model was of the box's own tokens: their mean probability, geometric (ours)
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate
from math import exp

import numpy as np

from vision_r1.evaluation.predictions import Line
from vision_r1.parsing import Parsed

# A box as it is written, and its label where one follows.
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_WRITTEN = re.compile(
    rf"""["']bbox_2d["']\s*:\s*[\[(]\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*[\])]"""
    r"""(?:\s*,\s*["']label["']\s*:\s*"(?:[^"\\]|\\.)*+")?"""
)


def constant(line: Line, parsed: Parsed, score: float) -> list[float]:
    """Return the score for every box."""
    return [score] * len(parsed.boxes)


def order(line: Line, parsed: Parsed, score: float) -> list[float]:
    """Return 1 / (place in the answer, from 1)."""
    return [1 / place for place in range(1, len(parsed.boxes) + 1)]


def token_probability(line: Line, parsed: Parsed, score: float) -> list[float]:
    """Return exp(mean log-probability) of the tokens of each box's coordinates and label.

    A box whose text can't be found in the completion gets the completion's own mean; where a line has no tokens, each
    box gets the protocol's score.
    """
    tokens = line.get("tokens") or []
    if not tokens:
        return constant(line, parsed, score)
    starts = [offset for offset, _ in tokens]
    sums = [0.0, *accumulate(logprob for _, logprob in tokens)]

    def mean(start: int, end: int) -> float:
        # From the token that `start` lies in to the last one that begins before `end`.
        first, last = max(bisect_right(starts, start) - 1, 0), bisect_left(starts, end)
        return exp((sums[last] - sums[first]) / max(last - first, 1))

    whole = mean(0, len(line["completion"]) + 1)
    return [whole if span is None else mean(*span) for span in written(line["completion"], parsed.boxes)]


def written(text: str, boxes: np.ndarray) -> list[tuple[int, int] | None]:
    """Return where in a completion each box (n, 4) stands, coordinates and label, None where it can't be found.

    Boxes are in the order of the text; what stands between them was not read as a box.
    """
    places: dict[tuple[float, ...], list[tuple[int, int]]] = {}
    for found in _WRITTEN.finditer(text):
        places.setdefault(tuple(map(float, found.groups())), []).append((found.start(1), found.end()))
    spans: list[tuple[int, int] | None] = []
    end = 0
    for box in map(tuple, boxes.tolist()):
        known = places.get(box, [])
        number = bisect_left(known, (end, 0))
        spans.append(known[number] if number < len(known) else None)
        end = end if spans[-1] is None else spans[-1][1]
    return spans


# Policy -> function of a predictions line, its n parsed boxes and the protocol's score that returns their n scores.
SCORE_POLICIES: dict[str, Callable[[Line, Parsed, float], list[float]]] = {
    "constant": constant,
    "order": order,
    "token-probability": token_probability,
}
