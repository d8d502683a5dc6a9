"""Boxes and labels drawn on an image."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vision_r1.parsing import label_key
from vision_r1.report.style import INK, contrast
from vision_r1.text import shorten, visible

FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"  # Pillow's own has no é
SIDE = 360  # pixels of the longer side of an image on a page
# Okabe and Ito's palette, one colour per label in the order of the data set's categories.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True)
class Objects:
    """Boxes (n, 4) x1 y1 x2 y2 in pixels of the original image, and their n labels."""

    boxes: np.ndarray
    labels: tuple[str, ...]


def palette(names: Iterable[str]) -> dict[str, str]:
    """Return label key -> colour for category names, the same in all images; repeated when they run out."""
    return {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(dict.fromkeys(map(label_key, names)))}


def ink(colour: str) -> str:
    """Return the colour of text on a background: white or black, whichever is easier to read."""
    return max(("#ffffff", "#000000"), key=lambda text: contrast(text, colour))


def draw(image: Image.Image, objects: Objects, colours: Mapping[str, str]) -> str:
    """Draw boxes and labels on a copy of the image, its longer side SIDE pixels, as a data URI."""
    content = io.BytesIO()
    draw_boxes(image, objects, colours, SIDE).save(content, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def draw_boxes(image: Image.Image, objects: Objects, colours: Mapping[str, str], side: int) -> Image.Image:
    """Return a copy of the image whose longer side is `side` pixels, with boxes and labels.

    colours: label key -> colour. Lines and letters grow with the copy, so that they look alike at every size.
    """
    scale, unit = side / max(image.size), max(1, round(side / SIDE))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = image.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)
    pen, font = ImageDraw.Draw(canvas), ImageFont.truetype(FONT, 12 * unit)
    corners = np.clip(objects.boxes * scale, 0, [*size, *size]).reshape(-1, 2, 2)
    corners = np.sort(corners, axis=1).reshape(-1, 4)  # a model may write the far corner first
    own = [colours.get(label_key(label), INK) for label in objects.labels]
    for (x1, y1, x2, y2), colour in zip(corners.tolist(), own, strict=True):
        pen.rectangle((x1 - unit, y1 - unit, x2 + unit, y2 + unit), outline="white", width=5 * unit)
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=3 * unit)
    for (x1, y1, _, _), label, colour in zip(corners.tolist(), objects.labels, own, strict=True):  # above all boxes
        text, at = visible(shorten(label, 18)) or "no label", (x1 + 3 * unit, y1 + unit)
        left, top, right, bottom = pen.textbbox(at, text, font=font)
        pen.rectangle((left - 3 * unit, top - 2 * unit, right + 3 * unit, bottom + 2 * unit), fill=colour)
        pen.text(at, text, font=font, fill=ink(colour))
    return canvas
