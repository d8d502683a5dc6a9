"""Worlds of synthetic scenes, each with thirteen domain shifts in place of ODinW-13's thirteen data sets (ours).

Each shift changes how scenes look, one thing at a time; what is asked stays the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from vision_r1.data import apples
from vision_r1.data.scenes import OUTLINES, Style


def thermal(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey as a heat camera sees (black is hot): each object about as hot as its colour is dark."""
    heat = np.where(numbers > 0, 0.6 * image.mean(2), rng.uniform(170, 220))
    return _pixels(heat[..., None] + rng.normal(0, 4, (*heat.shape, 1)))


def blur(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: Gaussian blur with a standard deviation of 1/42 of the width."""
    radius = image.shape[1] / 42
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def noise(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise with a standard deviation of 30 grey levels."""
    return _pixels(image + rng.normal(0, 30, image.shape))


def dark(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three fifths of the light."""
    return _pixels(image * 0.6)


def texture(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slanted stripes over the ground, 21 across the width."""
    rows, columns = np.indices(numbers.shape)
    stripe = (rows + columns * rng.choice((-1, 1))) // (numbers.shape[1] // 21) % 2 == 0
    return _pixels(np.where((stripe & (numbers == 0))[..., None], image * 0.7, image))


def _pixels(values: np.ndarray) -> np.ndarray:
    """Round and clip to (height, width, 3) uint8, spreading one channel over three."""
    return np.broadcast_to(values.round().clip(0, 255).astype(np.uint8), (*values.shape[:2], 3)).copy()


def _styles(plain: Style, sizes: Mapping[str, Mapping[str, Any]]) -> dict[str, Style]:
    """Return a world's styles by shift; `sizes` are the changes that depend on how large and many its objects are."""
    changes: dict[str, Mapping[str, Any]] = {
        "none": {},
        "thermal": {"effect": thermal},
        "tiny": sizes["tiny"],
        "crowd": sizes["crowd"],
        "blur": {"effect": blur},
        "noise": {"effect": noise},
        "dark": {"effect": dark},
        "texture": {"effect": texture},
        "outline": {"line_width": 5},
        "rotation": {"max_turn": 30},
        "colours": {"palette": ((20, 20, 20), (120, 80, 40), (0, 150, 160), (230, 120, 170), (110, 120, 130))},
        "occlusion": {"bars": 3},
        "wide": sizes["wide"],
        "large": sizes["large"],
    }
    return {name: replace(plain, **change) for name, change in changes.items()}


@dataclass(frozen=True)
class World:
    """What is drawn, and what a model made for it must be able to see and say.

    styles: by domain shift; max_pixels: of an image as the model sees it; largest_number: the largest coordinate
    that has a token of its own.
    """

    styles: Mapping[str, Style]
    max_pixels: int
    largest_number: int

    @property
    def plain(self) -> Style:
        return self.styles["none"]


WORLDS = {
    "miniature": World(
        _styles(
            Style(),
            {
                "tiny": {"sides": (10, 15)},
                "crowd": {"objects": (5, 7), "sides": (12, 24)},
                "wide": {"height": 56, "scale": (2, 2)},
                "large": {"scale": (2, 3)},
            },
        ),
        max_pixels=10 * 28 * 28,  # an image has 9 cells; exactly 9 would round down
        largest_number=127,
    ),
    # Fifty times the miniature: 336 pixels, 24 categories, up to 20 objects.
    "midi": World(
        _styles(
            Style(
                categories=tuple(OUTLINES),
                width=112,
                height=112,
                scale=(3, 3),
                objects=(1, 20),
                sides=(10, 32),
                tries=200,
            ),
            {
                "tiny": {"sides": (6, 9)},
                "crowd": {"objects": (21, 30), "sides": (8, 16), "tries": 400},
                "wide": {"height": 74, "scale": (4, 4)},
                "large": {"scale": (5, 6)},
            },
        ),
        max_pixels=145 * 28 * 28,
        largest_number=511,
    ),
    # What config/apples.yaml's base model learns from, before it sees photographs.
    "apples": World(
        _styles(
            apples.STYLE,
            {
                "tiny": {"sides": (10, 15)},
                "crowd": {"objects": (5, 7), "sides": (12, 24)},
                "wide": {"height": 56, "sides": (14, 50), "scale": (2, 2)},
                "large": {"scale": (2, 3)},
            },
        ),
        max_pixels=10 * 28 * 28,
        largest_number=127,
    ),
}
SHIFTS = tuple(WORLDS["miniature"].styles)
