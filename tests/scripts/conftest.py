"""A tiny untrained checkpoint and a few made scenes, for the programs that need a model."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from vision_r1.data.scenes import CATEGORIES, Style, draw_scene
from vision_r1.data.tasks import ask

# Small matrices: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A folder with a Qwen2.5-VL of one layer and random weights, and its processor."""
    from vision_r1.miniature.model import make_model
    from vision_r1.miniature.processor import make_processor

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    processor = make_processor(CATEGORIES)
    make_model(processor.tokenizer, hidden_size=32, text_layers=1, vision_layers=1, seed=0).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def train_file(tmp_path_factory):
    """Eight rows of training data: seven detections and a negative."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    rows = []
    while len(rows) < 8:
        scene = draw_scene(Style(), rng)
        asked = ask("detection" if len(rows) < 7 else "negative", scene.objects, CATEGORIES, rng)
        if asked is None:
            continue
        image = folder / f"{len(rows)}.png"
        Image.fromarray(scene.image).save(image)
        sizes = dict.fromkeys(("width", "height", "input_width", "input_height"), 84)
        about = {"num_instances": len(asked["objects"]), "frame": "pixel", "task": "detection", "source_id": image.stem}
        rows.append({**asked, **sizes, **about, "image": str(image)})
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
