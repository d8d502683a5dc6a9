"""From a folder of labelled photographs to the report, as described in docs/data.md."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml

from vision_r1.files import read_json

# Few images and steps, so that the test is short.
SMALL = {
    "base": {"hidden_size": 64, "steps": 20, "exact_steps": 20},
    "data": {"detection": 12, "grounding": 12, "max_answer_tokens": 128},
    "sft": {"max_steps": 2, "per_device_train_batch_size": 4, "save_steps": 2},
    "grpo": {"per_device_train_batch_size": 8, "num_generations": 4, "logging_steps": 1, "save_steps": 1},
    "grpo_stage1": {"max_steps": 1},
    "grpo_stage2": {"max_steps": 1},
    "guards": {"dead_groups": None, "truncated": None},
}


@pytest.fixture
def photographs(raccoon, tmp_path_factory):
    """Thirty photographs of raccoons in VOC form: a folder of XML files and one of images."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    for labels in sorted((raccoon / "annotations").glob("*.xml"))[:30]:
        shutil.copy(labels, folder / "annotations")
        shutil.copy(next((raccoon / "images").glob(f"{labels.stem}.*")), folder / "images")
    return folder


@pytest.mark.slow
def test_labelled_photographs_to_the_report(project, photographs):
    words = ["--name", "raccoons", "--annotations", photographs / "annotations", "--images", photographs / "images"]
    program = "workflow/scripts/new_run.py"
    subprocess.run([sys.executable, program, *map(str, words)], cwd=project.folder, check=True)
    files = ["--configfile", "config/raccoons.yaml", project.overlay(SMALL)]
    asked = project.planned(*files)
    assert asked["predict_suite"] == 4 and "make_scenes" not in asked
    project.snakemake(*files)

    run = project.folder / "results/raccoons"
    overlay = yaml.safe_load((project.folder / "config/raccoons.yaml").read_text())
    trained = {image["file_name"] for image in read_json(project.folder / "config/raccoons/train.json")["images"]}
    tested = {image["file_name"] for image in read_json(project.folder / "config/raccoons/test.json")["images"]}
    assert (len(trained), len(tested)) == (24, 6) and not trained & tested
    metrics = read_json(run / "metrics/strict/grpo_stage2/raccoons.json")
    assert metrics
    rows = (run / "data/train.jsonl").read_text()
    assert rows and not any(f"/{name}" in rows for name in tested)
    page = (run / "report/index.html").read_text()
    for text in (overlay["report"]["title"], *overlay["report"]["disclosures"]):
        assert text in page
    shown = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)
    for word in ("Miniature: shows", "coarse labels"):  # phrases of the miniature's report
        assert word not in shown
