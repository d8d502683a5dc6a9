"""Federated data sets, such as LVIS: not every category was annotated in every image."""

import json

import coco_factory
import pytest
from test_curation import curated, recipe

from vision_r1.data.coco import read_coco
from vision_r1.data.selection import selection_as_coco
from vision_r1.data.sources import read_sources

NAMES = ["cat", "dog", "pig", "cow"]


@pytest.fixture
def source(tmp_path):
    """Cats were annotated; pigs were looked for and not found; there may be more dogs than are annotated."""
    coco = coco_factory.content({1: [(1, [10, 20, 30, 40]), (2, [50, 5, 20, 25])], 2: [(1, [0, 0, 84, 42])]}, NAMES)
    coco["images"][0] |= {"neg_category_ids": [3], "not_exhaustive_category_ids": [2]}
    coco["images"][1] |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    return read_sources([("coco", "set", *coco_factory.write(tmp_path, coco))])[0]


def test_no_question_asks_for_categories_that_were_not_annotated(source):
    rows, tally, _ = curated([source], recipe(detection=9, grounding=9, negative=9))
    asked = {task: sorted(row["categories"] for row in rows if row["task"] == task) for task in tally.samples}
    assert asked == {
        "detection": [["cat"], ["cat", "pig"]],
        "grounding": [["cat"]] * 2,
        "negative": [["pig"]],
        "rec": [],
    }
    assert all(item["label"] in row["categories"] for row in rows for item in row["objects"])
    assert tally.samples["negative"]["no_category"] == 1
    assert tally.objects["crowd"] == 1  # the dog


def test_an_image_without_annotated_categories_has_no_question(tmp_path):
    coco = coco_factory.content({1: []}, NAMES)
    coco["images"][0]["neg_category_ids"] = []
    source = read_sources([("coco", "set", *coco_factory.write(tmp_path, coco))])[0]
    rows, tally, _ = curated([source], recipe(min_instances=0))
    assert not rows and tally.samples["detection"]["no_category"] == 1


def test_the_selection_split_stays_federated(source, tmp_path):
    path = tmp_path / "selection.json"
    path.write_text(json.dumps(selection_as_coco([(source, image) for image in source.coco.images])))
    dataset = read_coco("selection", path)
    assert dataset.federated
    assert [image.negatives for image in dataset.images] == [image.negatives for image in source.coco.images]
    assert dataset.images[0].not_exhaustive == (2,)


@pytest.mark.parametrize("folder", ["", "train2017"])
def test_lvis_image_files_are_named_by_their_url(tmp_path, folder):
    coco = coco_factory.content()
    for image in coco["images"]:
        image["file_name"] = f"{image['id']}.jpg"
    annotations, images = coco_factory.write(tmp_path, coco)
    (tmp_path / "images").rename(tmp_path / "train2017")
    for image in coco["images"]:
        image["coco_url"] = f"http://images.cocodataset.org/train2017/{image.pop('file_name')}"
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    dataset = read_coco("lvis", annotations, tmp_path / folder)  # each image must exist
    assert dataset.images[0].path == str(tmp_path / "train2017/1.jpg")
    assert dataset.notes["file names of coco_url"] == 3
