"""Coordinate frames: the units in which a model family writes box corners, declared and never guessed.

`pixel`    absolute pixels of the resized image that the model sees (Qwen2.5-VL)
`rel1000`  thousandths of the image's width and height (Qwen3-VL, InternVL)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

FRAMES = ("pixel", "rel1000")
MAX_SIDE = 1_000_000  # pixels


@dataclass(frozen=True)
class Frame:
    """The frame of one image's answer: `kind` is one of FRAMES, sizes are in pixels.

    width, height: the original image; input_width, input_height: the image as the model sees it.
    Raises ValueError on an unknown kind or a size that is not a number in 1..MAX_SIDE.
    """

    kind: str
    width: float
    height: float
    input_width: float
    input_height: float

    def __post_init__(self) -> None:
        if self.kind not in FRAMES:
            raise ValueError(f"frame: unknown {self.kind!r}; choose {', '.join(FRAMES)}")
        for name in ("width", "height", "input_width", "input_height"):
            size = getattr(self, name)
            if type(size) not in (int, float) or not 1 <= size <= MAX_SIDE:
                raise ValueError(f"{name}: {size!r} is not a number of pixels in 1..{MAX_SIDE}")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Frame":
        """Read the frame that a row declares. Raises KeyError naming a missing field, ValueError as above."""
        return cls(row["frame"], row["width"], row["height"], row["input_width"], row["input_height"])

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in units of this frame."""
        return (1000, 1000) if self.kind == "rel1000" else (self.input_width, self.input_height)

    def to_original(self, boxes: np.ndarray, divide_first: bool = False) -> np.ndarray:
        """Convert (n, 4) corners x1 y1 x2 y2 of this frame to pixels of the original image; keeps a float dtype.

        Multiplies by the ratio of the sizes, so that boxes of an image that was not resized stay as they are.
        `divide_first`: as the released code does, which can move them by a rounding error.
        """
        frame, original = self._sides(boxes)
        return boxes / frame * original if divide_first else boxes * (original / frame)

    def from_original(self, boxes: np.ndarray) -> np.ndarray:
        """Convert (n, 4) corners in pixels of the original image to this frame, unrounded; keeps a float dtype."""
        frame, original = self._sides(boxes)
        return boxes / original * frame

    def _sides(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dtype = boxes.dtype if boxes.dtype.kind == "f" else np.float64
        return np.array(self.size * 2, dtype), np.array((self.width, self.height, self.width, self.height), dtype)
