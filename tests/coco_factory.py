"""Small data sets in COCO format for tests."""

import json

import numpy as np
from PIL import Image


def content(boxes=None, categories=("circle", "square", "triangle"), size=(84, 84)):
    """Return a COCO file's content; boxes: {image id: [(category id, [x, y, width, height])]}."""
    boxes = (
        {1: [(1, [10, 20, 30, 40]), (2, [50, 5, 20, 25])], 2: [(3, [0, 0, 84, 42])], 3: []} if boxes is None else boxes
    )
    pairs = [(image_id, *item) for image_id, items in boxes.items() for item in items]
    return {
        "images": [{"id": key, "file_name": f"{key}.png", "width": size[0], "height": size[1]} for key in boxes],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, start=1)],
        "annotations": [
            {
                "id": number,
                "image_id": key,
                "category_id": category,
                "bbox": bbox,
                "area": bbox[2] * bbox[3],
                "iscrowd": 0,
            }
            for number, (key, category, bbox) in enumerate(pairs, start=1)
        ],
    }


def write(folder, coco=None):
    """Write the annotation file and a noise image for each entry; return both paths."""
    coco = content() if coco is None else coco
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for entry in coco["images"]:
        pixels = rng.integers(256, size=(entry["height"], entry["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / entry["file_name"])
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(coco), encoding="utf-8")
    return str(annotations), str(images)
