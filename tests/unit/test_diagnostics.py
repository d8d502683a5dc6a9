"""Numbers other than AP, counted by hand."""

import json
from itertools import pairwise
from math import inf
from pathlib import Path

import coco_factory
import pytest

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.coco_ap import Detection, match
from vision_r1.evaluation.diagnostics import ASPECT_RATIOS, OBJECT_COUNTS, answer_quality, mean_iou, slices
from vision_r1.parsing import parse
from vision_r1.prompts import format_answer


@pytest.fixture
def dataset(tmp_path):
    coco = coco_factory.content({1: [(1, [0, 0, 20, 20])], 2: [(1, [40, 40, 20, 20]), (2, [0, 0, 40, 40])], 3: []})
    coco["images"][1].update(width=200, height=84)
    coco["annotations"].append(
        {"id": 9, "image_id": 3, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 1}
    )
    return read_coco("set", coco_factory.write(tmp_path, coco)[0])


BOXES = [
    Detection(1, 1, (0, 0, 20, 20), 0.9),  # found
    Detection(2, 1, (40, 40, 20, 16), 0.8),  # found, IoU 0.8: at 7 of 10 thresholds
    Detection(2, 2, (60, 0, 20, 20), 0.7),  # false
    Detection(3, 1, (5, 5, 20, 20), 0.6),  # in a crowd: neither found nor false
]


def test_mean_iou(dataset):
    assert mean_iou(match(dataset, BOXES), BOXES) == pytest.approx(0.9)
    assert mean_iou(match(dataset, []), []) is None


def test_slices(dataset):
    by = slices(dataset, match(dataset, BOXES))
    assert [by["size"][name]["ground_truth"] for name in ("small", "medium", "large")] == [2, 1, 0]
    counted = {
        name: (each["images"], each["ground_truth"], each["predictions"]) for name, each in by["objects"].items()
    }
    assert counted == {"0": (1, 0, 1), "1": (1, 1, 1), "2 to 5": (1, 2, 2), "6 to 10": (0, 0, 0), "above 10": (0, 0, 0)}
    assert [by["objects"][name]["AP50"] for name in ("0", "1", "2 to 5")] == [
        None,
        pytest.approx(1),
        pytest.approx(0.5),
    ]
    assert by["aspect_ratio"]["2:1 and above"]["images"] == 1 and by["aspect_ratio"]["4:5 to 5:4"]["images"] == 2


def test_an_area_on_an_edge_is_of_both_sizes_as_in_pycocotools(tmp_path):
    content = coco_factory.content({1: [(1, [0, 0, 32, 32])]})
    edge = read_coco("set", coco_factory.write(tmp_path, content)[0])
    by = slices(edge, match(edge, [Detection(1, 1, (0, 0, 32, 32), 0.9)]))["size"]
    assert [by[name]["ground_truth"] for name in ("small", "medium", "large")] == [1, 1, 0]
    assert [by[name]["AP"] for name in ("small", "medium")] == [pytest.approx(1)] * 2


def test_answers():
    boxes = [(0, 0, 20, 20), (0, 0, 20, 20), (0, 0, 20, 20)]
    texts = [format_answer(boxes, ["dog", "Dog ", "cat"]), "[]", '[{"bbox_2d": [1,']
    lines = [{"truncated": number == 2} for number in range(3)]
    assert answer_quality(lines, [parse(text) for text in texts], images=2) == {
        **{"parse_rate": pytest.approx(2 / 3), "truncation_rate": pytest.approx(1 / 3)},
        **{"duplicate_rate": pytest.approx(1 / 3), "boxes_per_image": 1.5},
        "verdicts": {"clean": 1, "fenced": 1, "truncated": 1},
    }
    empty = answer_quality([], [], images=2)
    assert (empty["parse_rate"], empty["duplicate_rate"], empty["boxes_per_image"]) == (None, None, 0)


@pytest.mark.parametrize("parts", [OBJECT_COUNTS, ASPECT_RATIOS])
def test_every_image_is_in_one_slice(parts):
    edges = list(parts.values())
    assert edges[0][0] == 0 and edges[-1][1] == inf
    assert all(one[1] == other[0] and one[0] < one[1] for one, other in pairwise(edges))


def test_an_image_of_unknown_size_is_in_no_slice_by_shape(tmp_path):
    content = coco_factory.content({1: [(1, [0, 0, 20, 20])]})
    file = coco_factory.write(tmp_path, content)[0]
    content["images"][0].update(width=0, height=0)
    Path(file).write_text(json.dumps(content))
    dataset = read_coco("set", file)
    by = slices(dataset, match(dataset, []))
    assert sum(each["images"] for each in by["aspect_ratio"].values()) == 0


def test_boxes_that_overlap_by_exactly_the_limit_are_duplicates():
    answer = parse(format_answer([(0, 0, 10, 10), (0, 0, 10, 9)], ["a", "a"]))
    assert answer_quality([{"truncated": False}], [answer], images=1)["duplicate_rate"] == 0.5
