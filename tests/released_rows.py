"""Rows in the formats of the authors' released training set."""

import io
import json

import numpy as np
from PIL import Image

from vision_r1.prompts import DEFAULT

GRIFFON = {
    "detection": "Examine the image for any objects from the category set. Report the coordinates of each detected "
    "object. The category set includes {}.",
    "grounding": "Locate the exact position of {} in the picture, if you can.",
    "rec": "Can you point out {} in the image and provide the coordinates of its location?",
}


def encoded(pixels, kind="JPEG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def image(number):
    return encoded(np.random.default_rng(number).integers(256, size=(48, 64, 3), dtype=np.uint8), "JPEG")


def row(problem, answer, number=0, **changes):
    values = {
        "image": {"bytes": image(number), "path": None},
        "problem": f"<image>{problem}",
        "solution": json.dumps(answer),
        **{"width": 64, "height": 48, "num_instances": len(answer), "target_id_maps": json.dumps({"background": 0})},
    }
    return values | changes


def rows():
    """One row of each wording, with flat and nested boxes."""
    return [
        row(GRIFFON["detection"].format("cup, dog"), [["cup", [1, 2, 30, 40]], ["dog", [[0, 0, 9, 9], [5, 5, 8, 8]]]]),
        row(GRIFFON["grounding"].format("dog"), [["dog", [[5, 5, 20, 20]]]], 1),
        row(GRIFFON["rec"].format("man, on the left"), [["man, on the left", [1, 1, 8, 9]]], 1),
        row(DEFAULT.ask("detection", ["boat", "whale"]), []),
        row(DEFAULT.ask("grounding", ["dog"]), [["dog", [5, 5, 20, 20]]]),
        row(DEFAULT.ask("rec", ["man"]), [["man", [1, 1, 8, 9]]]),
        row(DEFAULT.ask("grounding", ["man"]), [["man", [1, 1, 8, 9]], ["man", [3, 1, 8, 9]]]),
    ]
