"""What every criterion returns: the parts of an answer's reward, and their weights in the sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vision_r1.parsing import Parsed, Verdict


@dataclass(frozen=True)
class Score:
    """The parts of one answer's reward, by name, and what was found while it was read."""

    parts: dict[str, float]
    verdict: Verdict
    num_predictions: int
    num_duplicates: int  # predictions that repeat an earlier one, label and all four coordinates

    @classmethod
    def of(cls, parts: dict[str, float], parsed: Parsed) -> "Score":
        """Return the score of a parsed answer."""
        distinct = set(zip(parsed.labels, map(tuple, parsed.boxes.tolist()), strict=True))
        return cls(parts, parsed.verdict, len(parsed.labels), len(parsed.labels) - len(distinct))


def weighted(parts: Mapping[str, float], weights: Sequence[float] | None) -> dict[str, float]:
    """Return the weight of each part in the reward's sum: `weights` in the parts' order, or the parts' own.

    Raises ValueError if their number is wrong, one is negative, or none is above 0.
    """
    if weights is None:
        return dict(parts)
    names = ", ".join(parts)
    if len(weights) != len(parts):
        raise ValueError(f"reward_weights: {len(weights)} given for {len(parts)} ({names}); give one for each part")
    if min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"reward_weights: {list(weights)} ({names}): weights must be 0 or more, and one above 0")
    return dict(zip(parts, map(float, weights), strict=True))
