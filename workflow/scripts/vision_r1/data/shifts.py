"""Thirteen domain shifts of the made scenes, in the place of ODinW-13's thirteen data sets (ours).

Each shift changes how scenes look, one thing at a time; what is asked stays the same.
"""

import numpy as np
from PIL import Image, ImageFilter

from vision_r1.data.scenes import Style


def thermal(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey as a heat camera sees (black is hot): each object about as hot as its colour is dark."""
    heat = np.where(numbers > 0, 0.6 * image.mean(2), rng.uniform(170, 220))
    return _pixels(heat[..., None] + rng.normal(0, 4, (*heat.shape, 1)))


def blur(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus."""
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2)))


def noise(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise with a standard deviation of 30 grey levels."""
    return _pixels(image + rng.normal(0, 30, image.shape))


def dark(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three fifths of the light."""
    return _pixels(image * 0.6)


def texture(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slanted stripes over the ground."""
    rows, columns = np.indices(numbers.shape)
    stripe = (rows + columns * rng.choice((-1, 1))) // 4 % 2 == 0
    return _pixels(np.where((stripe & (numbers == 0))[..., None], image * 0.7, image))


def _pixels(values: np.ndarray) -> np.ndarray:
    """Round and clip to (height, width, 3) uint8, spreading one channel over three."""
    return np.broadcast_to(values.round().clip(0, 255).astype(np.uint8), (*values.shape[:2], 3)).copy()


SHIFTS = {
    "none": Style(),
    "thermal": Style(effect=thermal),
    "tiny": Style(sides=(10, 15)),
    "crowd": Style(objects=(5, 7), sides=(12, 24)),
    "blur": Style(effect=blur),
    "noise": Style(effect=noise),
    "dark": Style(effect=dark),
    "texture": Style(effect=texture),
    "outline": Style(line_width=5),
    "rotation": Style(max_turn=30),
    "colours": Style(palette=((20, 20, 20), (120, 80, 40), (0, 150, 160), (230, 120, 170), (110, 120, 130))),
    "occlusion": Style(bars=3),
    "wide": Style(height=56, scale=(2, 2)),
    "large": Style(scale=(2, 3)),
}
