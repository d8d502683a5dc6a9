"""The code blocks of README and docs, taken from the pages as printed."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import coco_factory
import pytest
from tiny_models import make_checkpoint, write_train_file

from vision_r1.data.coco import read_coco
from vision_r1.rewards import REWARDS


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its place, language and text."""

    place: str
    language: str
    text: str


@pytest.fixture(scope="module")
def blocks(root):
    found = []
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = page.read_text()
        fenced = list(re.finditer(r"^```(\w+)\n(.*?)^```\n", text, re.M | re.S))
        assert 2 * len(fenced) == text.count("```"), f"{page.name}: a block without language or end, or indented"
        for block in fenced:
            line = text.count("\n", 0, block.start()) + 1
            found.append(Block(f"{page.relative_to(root)}:{line}", *block.groups()))
    return found


@pytest.fixture
def run_python(root, tmp_path):
    """Runs a page's Python block, as printed, in tmp_path."""

    def run(block):
        environment = os.environ | {"PYTHONPATH": str(root / "workflow/scripts"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", block.text]
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, f"{block.place}: {finished.stderr}"

    return run


@pytest.fixture
def python_block(blocks):
    """Returns the one Python block with these words in it."""

    def find(words):
        (block,) = [block for block in blocks if block.language == "python" and words in block.text]
        return block

    return find


def test_a_script_of_ones_own_trains_on_the_file_of_the_pipeline(python_block, run_python, tmp_path):
    miniature = tmp_path / "results/miniature"
    make_checkpoint(miniature / "models/base/model", "qwen2_5_vl")
    (miniature / "data").mkdir()
    write_train_file(miniature / "data", "qwen2_5_vl")
    run_python(python_block("GRPOTrainer("))
    (state,) = tmp_path.glob("results/own/*/trainer_state.json")
    steps = json.loads(state.read_text())
    assert steps["global_step"] == steps["max_steps"] > 0
    (logged,) = [entry for entry in steps["log_history"] if "reward" in entry]
    assert {f"rewards/{name}/mean" for name in REWARDS} < logged.keys()


def test_a_small_data_set_is_cut_out_of_coco(python_block, run_python, tmp_path):
    coco = coco_factory.content({number: [(1, [10, 20, 30, 40])] for number in range(1, 83)})
    written, images = coco_factory.write(tmp_path, coco)
    (tmp_path / "annotations").mkdir()
    os.rename(written, tmp_path / "annotations/instances_train2017.json")
    os.rename(images, tmp_path / "train2017")
    run_python(python_block("instances_train2017"))
    small = read_coco("small", tmp_path / "small/train.json", tmp_path / "small/images")  # each image must be there
    assert len(small.images) == 80
