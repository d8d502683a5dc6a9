"""Synthetic apples that look a little like photographs: for a base model that is to learn from photographs of apples.

Discs in the colours of fresh and of rotten apples, lit from one side, on smooth or busy grounds, slightly out of focus.
"""

import numpy as np
from PIL import Image, ImageFilter

from vision_r1.data.scenes import Style

COLOURS = {
    "fresh_apple": ((200, 30, 35), (225, 70, 60), (150, 15, 35), (120, 180, 40), (190, 205, 90), (235, 200, 70)),
    # Brown ones, and some that look fresh but for their spots.
    "rotten_apple": (
        *((95, 55, 30), (130, 80, 40), (60, 40, 30), (150, 110, 60)),
        *((190, 40, 40), (205, 80, 60), (130, 25, 35), (130, 165, 55), (180, 190, 100), (215, 185, 80)),
    ),
}


def photographed(image: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add light, ground and focus to flat colours (height, width, 3), uint8; numbers (height, width): 0 is ground."""
    height, width = numbers.shape
    result = np.where((numbers == 0)[..., None], _ground(height, width, rng), image.astype(float))
    for number in range(1, numbers.max() + 1):
        rows, columns = np.nonzero(numbers == number)
        if not len(rows):
            continue
        across = (columns - columns.mean()) / (np.ptp(columns) + 1) * 2
        down = (rows - rows.mean()) / (np.ptp(rows) + 1) * 2
        towards = rng.uniform(-0.5, 0.5, 2)
        distance = (across - towards[0]) ** 2 + (down - towards[1]) ** 2
        result[rows, columns] *= (1.25 - rng.uniform(0.2, 0.5) * distance)[:, None]
        if tuple(image[rows[0], columns[0]].tolist()) in COLOURS["rotten_apple"]:
            _rot(result, rows, columns, across, down, rng)
        result[rows, columns] += rng.normal(0, 18, 3) + 90 * np.exp(-distance / 0.03)[:, None]
    blotches = _smooth(rng.normal(0, rng.uniform(4, 30), (12, 12, 1)), height, width)
    pixels = (result + blotches + rng.normal(0, 4, result.shape)).clip(0, 255).astype(np.uint8)
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9) * width / 84)))


def _rot(
    result: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Draw up to four spots, dark, brown or mouldy, on one apple; across and down are from -1 to 1 over it."""
    for _ in range(rng.integers(1, 5)):
        middle, size = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.15, 0.6)
        spot = ((across - middle[0]) ** 2 + (down - middle[1]) ** 2) < size**2 * rng.uniform(0.7, 1.3, len(rows))
        colour = np.array(((50, 30, 20), (110, 70, 35), (25, 20, 15), (215, 210, 195))[rng.integers(4)])
        result[rows[spot], columns[spot]] = 0.25 * result[rows[spot], columns[spot]] + 0.75 * colour


def _ground(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A studio's white or black, or leaves, wood and sky: smooth fields of one hue, coarse and fine."""
    if rng.random() < 0.4:
        return np.full((height, width, 3), rng.choice((250, 250, 240, 20)), float) + rng.normal(0, 6, 3)
    hue = rng.uniform(20, 235, 3)
    coarse = _smooth(hue + rng.normal(0, 35, (4, 4, 3)), height, width)
    return coarse + _smooth(rng.normal(0, rng.uniform(5, 50), (18, 18, 1)), height, width)


def _smooth(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch a coarse grid (rows, columns, channels) over (height, width, channels)."""
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        for plane in values.transpose(2, 0, 1)
    ]
    return np.stack([np.array(plane) for plane in planes], axis=2)


STYLE = Style(
    categories=tuple(COLOURS),
    shape="circle",
    sides=(16, 76),
    objects=(1, 3),
    max_overlap=0.03,
    palette=COLOURS,
    effect=photographed,
)
