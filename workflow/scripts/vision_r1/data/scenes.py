"""Synthetic scenes: coloured shapes on a plain ground, with exact boxes. Needs numpy and Pillow only.

The shapes are first drawn into a map of object numbers and the boxes measured on that map, so a box
is always tight around the pixels that are visible, however a shape was turned or covered.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vision_r1.files import check_replaceable, write_json, written_whole

Palette = Sequence[tuple[int, int, int]]
PALETTE = ((220, 40, 40), (40, 170, 60), (50, 80, 220), (235, 150, 20), (150, 60, 190))


def _arc(start: float, end: float) -> np.ndarray:
    """Return (32, 2) points of the circle in the unit square, from one angle to another, in turns clockwise."""
    angles = 2 * np.pi * np.linspace(start, end, 32)
    return 0.5 + 0.5 * np.stack([np.cos(angles), np.sin(angles)], 1)


def _regular(corners: int, inner: float = 1.0) -> np.ndarray:
    """Return a regular polygon with a corner on top; with `inner` below 1 a star of twice as many corners."""
    count = corners if inner == 1 else 2 * corners
    angles = 2 * np.pi * np.arange(count) / count - np.pi / 2
    radius = np.where(np.arange(count) % 2, inner, 1.0) if inner != 1 else np.ones(count)
    return radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def _heart() -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    down = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return np.stack([16 * np.sin(turn) ** 3, -down], 1)


def _fitted(corners: np.ndarray | Sequence[tuple[float, float]]) -> np.ndarray:
    """Stretch corners over the unit square."""
    corners = np.array(corners, float)
    corners = corners - corners.min(0)
    return corners / corners.max(0)


OUTLINES = {  # corners of each shape in a unit square, y down
    "circle": np.stack([0.5 + 0.5 * f(np.linspace(0, 2 * np.pi, 64, endpoint=False)) for f in (np.cos, np.sin)], 1),
    "square": np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float),
    "triangle": np.array([(0.5, 0), (1, 1), (0, 1)], float),
    "arrow": _fitted([(0, 3), (5, 3), (5, 0), (10, 5), (5, 10), (5, 7), (0, 7)]),
    "bolt": _fitted([(6, 0), (2, 5), (5, 5), (3, 10), (9, 4), (6, 4), (9, 0)]),
    "chevron": _fitted([(0, 0), (5, 0), (10, 5), (5, 10), (0, 10), (5, 5)]),
    "crescent": _fitted(np.concatenate([_arc(0.15, 0.85), 0.6 * _arc(0.85, 0.15) + (0.3, 0.2)])),
    "cross": _fitted(
        [(3, 0), (7, 0), (7, 3), (10, 3), (10, 7), (7, 7), (7, 10), (3, 10), (3, 7), (0, 7), (0, 3), (3, 3)]
    ),
    "diamond": _fitted([(5, 0), (10, 5), (5, 10), (0, 5)]),
    "dome": _fitted(_arc(0.5, 1.0)),
    "drop": _fitted(np.concatenate([_arc(-0.08, 0.58), [(0.5, -0.6)]])),
    "ell": _fitted([(0, 0), (4, 0), (4, 6), (10, 6), (10, 10), (0, 10)]),
    "flag": _fitted([(0, 0), (10, 3), (2, 6), (2, 10), (0, 10)]),
    "heart": _fitted(_heart()),
    "hexagon": _fitted(_regular(6)),
    "hourglass": _fitted([(0, 0), (10, 0), (6, 5), (10, 10), (0, 10), (4, 5)]),
    "house": _fitted([(5, 0), (10, 4), (8, 4), (8, 10), (2, 10), (2, 4), (0, 4)]),
    "kite": _fitted([(5, 0), (10, 3), (5, 10), (0, 3)]),
    "parallelogram": _fitted([(4, 0), (10, 0), (6, 10), (0, 10)]),
    "pentagon": _fitted(_regular(5)),
    "stairs": _fitted([(0, 0), (3, 0), (3, 3), (6, 3), (6, 6), (10, 6), (10, 10), (0, 10)]),
    "star": _fitted(_regular(5, 0.4)),
    "tee": _fitted([(0, 0), (10, 0), (10, 3), (7, 3), (7, 10), (3, 10), (3, 3), (0, 3)]),
    "trapezoid": _fitted([(3, 0), (7, 0), (10, 10), (0, 10)]),
}
CATEGORIES = ("circle", "square", "triangle")


@dataclass(frozen=True)
class Style:
    """How scenes of one domain look. Lengths are in units of `scale` pixels; ranges include both ends."""

    categories: tuple[str, ...] = CATEGORIES
    shape: str | None = None  # outline of all categories; None: each category is one of OUTLINES
    width: int = 84
    height: int = 84
    scale: tuple[float, float] = (1, 1)
    objects: tuple[int, int] = (1, 3)
    sides: tuple[int, int] = (16, 40)
    max_overlap: float = 0.05  # IoU of two objects' boxes
    tries: int = 50  # per scene; objects that then have no free place are left out, but one always fits
    max_turn: float = 0.0  # degrees, either way
    line_width: int = 0  # units; 0 fills the shapes
    bars: int = 0  # strips of ground colour laid over the objects
    palette: Palette | Mapping[str, Palette] = PALETTE  # of all categories, or of each
    ground: tuple[int, int] = (190, 255)
    effect: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray] | None = None


@dataclass(frozen=True)
class Scene:
    """`image` (height, width, 3) uint8; `objects` [{label, bbox [x1, y1, x2, y2]}] in its pixels, left to right.

    Corner x2, y2 lies one pixel past the last visible pixel, so x2 - x1 is a width in pixels.
    """

    image: np.ndarray
    objects: list[dict[str, Any]]


def draw_scene(style: Style, rng: np.random.Generator) -> Scene:
    """Draw one scene."""
    scale = rng.uniform(*style.scale)
    width, height = round(style.width * scale), round(style.height * scale)
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    ground = rng.integers(style.ground[0], style.ground[1], 3, endpoint=True)
    placed: list[np.ndarray] = []
    labels: list[str] = []
    wanted = rng.integers(*style.objects, endpoint=True)
    for _ in range(style.tries):
        if len(placed) == wanted:
            break
        label = style.categories[rng.integers(len(style.categories))]
        corners = _outline(label, style, scale, rng)
        free = np.array((width, height)) - 1 - corners.max(0)
        corners = corners + rng.integers(0, np.floor(free), endpoint=True)
        box = np.concatenate([corners.min(0), corners.max(0) + 1])
        if any(_iou(box, other) > style.max_overlap for other in placed):
            continue
        placed.append(box)
        labels.append(label)
        points = [tuple(point) for point in corners]
        if style.line_width:
            draw.line([*points, *points[:2]], fill=len(placed), width=round(style.line_width * scale), joint="curve")
        else:
            draw.polygon(points, fill=len(placed))
    numbers = np.array(canvas)
    palettes = [style.palette[label] if isinstance(style.palette, Mapping) else style.palette for label in labels]
    colours = rng.integers([len(palette) for palette in palettes])
    for _ in range(style.bars):
        thickness, upright = round(5 * scale), rng.integers(2) == 0
        start = rng.integers((width if upright else height) - thickness)
        strip = slice(start, start + thickness)
        numbers[(slice(None), strip) if upright else strip] = 0
    paints = [palette[colour] for palette, colour in zip(palettes, colours, strict=True)]
    image = np.array([ground, *paints], np.uint8)[numbers]
    if style.effect:
        image = style.effect(image, numbers, rng)
    objects = [
        {"label": label, "bbox": box}
        for number, label in enumerate(labels, start=1)
        if (box := visible_box(numbers == number)) is not None
    ]
    return Scene(image, sorted(objects, key=lambda item: item["bbox"][:2]))


def visible_box(mask: np.ndarray) -> list[float] | None:
    """Return the tight [x1, y1, x2, y2] of a (height, width) mask, x2 and y2 exclusive; None where it is empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return [float(value) for value in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def _outline(label: str, style: Style, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Return a shape's (n, 2) corners in pixels, moved so that the least x and the least y are 0."""
    low, high = (round(side * scale) for side in style.sides)
    width = rng.integers(low, high, endpoint=True)
    height = np.clip(round(width * rng.uniform(0.7, 1.4)), low, high)
    corners = OUTLINES[style.shape or label] * (width - 1, height - 1)
    if style.max_turn:
        angle = np.radians(rng.uniform(-style.max_turn, style.max_turn))
        corners = corners @ np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    return corners - corners.min(0)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(sides[0], 0.0) * max(sides[1], 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def draw_scenes(style: Style, count: int, seed: int | Sequence[int]) -> Iterator[Scene]:
    """Draw `count` scenes; the same seed gives the same scenes, and a longer run begins with a shorter one's."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield draw_scene(style, rng)


def write_scenes(
    style: Style, count: int, seed: int | Sequence[int], annotations: str | Path, images: str | Path
) -> None:
    """Write scenes as PNG files in the folder `images` and their boxes as COCO-format JSON `annotations`.

    `file_name` is relative to `images`; `bbox` is [x, y, width, height] in pixels, `area` the box's.
    """
    coco: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(style.categories, start=1)],
    }
    ours = all(re.fullmatch(r"\d{6}\.png", file.name) for file in Path(images).glob("*"))
    check_replaceable(Path(images), *([Path(annotations)] if ours else []))
    with written_whole(images) as folder:
        folder.mkdir()
        for image_id, scene in enumerate(draw_scenes(style, count, seed), start=1):
            name = f"{image_id:06d}.png"
            Image.fromarray(scene.image).save(folder / name)
            height, width = scene.image.shape[:2]
            coco["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})
            for item in scene.objects:
                x1, y1, x2, y2 = item["bbox"]
                coco["annotations"].append(
                    {
                        "id": len(coco["annotations"]) + 1,
                        "image_id": image_id,
                        "category_id": style.categories.index(item["label"]) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )
    write_json(annotations, coco)
