"""One false box of each type, and the gain from fixing it, counted by hand."""

import coco_factory
import numpy as np
import pytest

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.box_errors import ERROR_KINDS, error_costs
from vision_r1.evaluation.coco_ap import Detection, match

OBJECTS = {1: [(1, [0, 0, 20, 20])], 2: [(1, [40, 40, 20, 20])]}
RIGHT = [Detection(1, 1, (0, 0, 20, 20), 0.9), Detection(2, 1, (40, 40, 20, 20), 0.8)]


@pytest.fixture
def costs(tmp_path):
    def run(detections, objects=OBJECTS):
        dataset = read_coco("set", coco_factory.write(tmp_path, coco_factory.content(objects))[0])
        return error_costs(match(dataset, detections), detections)

    return run


def test_no_errors_cost_nothing(costs):
    assert costs(RIGHT) == {kind: {"count": 0, "cost": 0} for kind in ERROR_KINDS}


# AP50 if both are found after one false box: precision 2/3 up to recall 1.
@pytest.mark.parametrize(
    ("kind", "box", "category"),
    [
        ("background", (60, 0, 20, 20), 1),
        ("duplicate", (1, 0, 20, 20), 1),
        ("both", (12, 0, 20, 20), 2),  # IoU 0.25 with a circle
    ],
)
def test_a_false_box_is_fixed_by_deleting_it(costs, kind, box, category):
    found = costs([*RIGHT, Detection(1, category, box, 0.85 if kind == "duplicate" else 0.95)])
    assert {name: each["count"] for name, each in found.items() if each["count"]} == {kind: 1}
    # A box of a category without objects costs nothing: pycocotools leaves that category out.
    cost = {"background": 1 - 2 / 3, "duplicate": 1 - (51 + 50 * 2 / 3) / 101, "both": 0}[kind]
    assert found[kind]["cost"] == pytest.approx(cost)


def test_a_loose_box_is_fixed_by_moving_it(costs):
    found = costs([RIGHT[0], Detection(2, 1, (50, 40, 20, 20), 0.8)])  # IoU 1/3
    assert found["loose_box"] == {"count": 1, "cost": pytest.approx(1 - 51 / 101)}
    # Fixing the loose box would find the object, so it doesn't count as missed.
    assert found["missed"] == {"count": 0, "cost": 0}


def test_a_wrong_class_is_fixed_for_the_box_with_the_higher_score(costs):
    wrong = [Detection(2, 2, (40, 40, 20, 20), score) for score in (0.7, 0.8)]
    found = costs([RIGHT[0], *wrong])
    assert found["wrong_class"] == {"count": 2, "cost": pytest.approx(1 - 51 / 101)}
    assert found["missed"]["count"] == 0


def test_a_missed_object_is_fixed_by_removing_it(costs):
    found = costs(RIGHT[:1])
    assert found["missed"] == {"count": 1, "cost": pytest.approx(1 - 51 / 101)}


@pytest.mark.parametrize("boxes", [[], [Detection(1, 2, (60, 60, 9, 9), 0.5)]], ids=["none", "of_another_class"])
def test_the_cost_of_missing_everything_is_undefined(costs, boxes):
    """Without the missed objects there is none left, so there is no AP50; 0 would say that missing them is free."""
    found = costs(boxes)
    assert found["missed"] == {"count": 2, "cost": None}
    assert all(each["cost"] == 0 for kind, each in found.items() if kind != "missed")


def test_boxes_on_empty_images_and_crowds(costs):
    objects = {**OBJECTS, 3: []}
    assert costs([*RIGHT, Detection(3, 1, (0, 0, 9, 9), 0.1)], objects)["background"]["count"] == 1
    assert costs([], {1: []})["missed"] == {"count": 0, "cost": None}


@pytest.mark.parametrize("box", [(20, 20, -10, 10), (0, 0, 2e5, 1e5)])
def test_a_box_that_ap_leaves_out_is_an_error_that_costs_nothing(costs, box):
    found = costs([*RIGHT, Detection(1, 1, box, 0.95)])
    assert found["background"] == {"count": 1, "cost": 0}


def test_of_all_false_boxes_only_the_one_with_the_highest_score_finds_an_object(costs):
    """As in tidecv: fixing loose boxes gains nothing if a wrong class with a higher score would find the object."""
    loose, wrong = Detection(2, 1, (50, 40, 20, 20), 0.6), Detection(2, 2, (40, 40, 20, 20), 0.7)
    found = costs([RIGHT[0], loose, wrong])
    assert found["loose_box"] == {"count": 1, "cost": pytest.approx(0)}  # deleted, below the one that is right
    assert found["wrong_class"] == {"count": 1, "cost": pytest.approx(1 - 51 / 101)}
    assert found["missed"]["count"] == 0


def test_a_box_on_a_crowd_is_not_an_error_but_may_find_an_object(tmp_path):
    content = coco_factory.content({**OBJECTS, 3: [(1, [0, 0, 60, 60])]})
    content["annotations"][2]["iscrowd"] = 1
    content["annotations"] += [{**content["annotations"][0], "id": 9, "image_id": 3, "bbox": [30, 30, 20, 20]}]
    detections = [*RIGHT, Detection(3, 1, (40, 30, 20, 20), 0.7)]  # IoU 1/3 with the object, inside the crowd
    dataset = read_coco("set", coco_factory.write(tmp_path, content)[0])
    found = error_costs(match(dataset, detections), detections)
    assert found["loose_box"] == {"count": 0, "cost": pytest.approx(1 - 67 / 101)}
    assert sum(each["count"] for each in found.values()) == 0


def test_an_object_that_ap_leaves_out_cannot_be_found(tmp_path):
    """pycocotools ignores an area above 1e10: a loose box on it, taken to find it, would be one hit too many."""
    content = coco_factory.content({**OBJECTS, 3: [(1, [0, 0, 20, 20])]})
    content["annotations"][2]["area"] = 2e10
    detections = [*RIGHT, Detection(3, 1, (0, 0, 20, 8), 0.7)]
    dataset = read_coco("set", coco_factory.write(tmp_path, content)[0])
    found = error_costs(match(dataset, detections), detections)
    assert {kind: each["count"] for kind, each in found.items() if each["count"]} == {"background": 1}
    assert {each["cost"] for each in found.values()} == {0}


# Costs from tidecv 1.0.1 for these boxes, in points of AP50; crowd regions were passed to it as regions to ignore.
TIDECV = {
    "missed": 9.919,
    "background": 0,
    "duplicate": 0.697,
    "wrong_class": 16.172,
    "loose_box": 11.118,
    "both": 2.222,
}


def test_costs_on_real_images_equal_tidecvs(coco_tiny):
    dataset = read_coco("val", coco_tiny / "annotations/instances_val2017.json", coco_tiny / "val2017")
    rng = np.random.default_rng(0)
    ids = list(dataset.categories)
    detections = []
    for image in dataset.images:
        for item in image.objects:
            if not item.crowd:
                x, y, width, height = item.bbox
                for _ in range(rng.integers(0, 3)):
                    moved = rng.normal(0, 0.15, 4)
                    size = width * np.exp(moved[2]), height * np.exp(moved[3])
                    box = (x + moved[0] * width, y + moved[1] * height, *size)
                    named = item.category_id if rng.random() < 0.8 else int(rng.choice(ids))
                    detections.append(Detection(image.id, named, tuple(map(float, box)), float(rng.random())))
    found = error_costs(match(dataset, detections), detections)
    assert {kind: round(100 * each["cost"], 2) for kind, each in found.items()} == pytest.approx(TIDECV, abs=0.05)


@pytest.mark.parametrize(("height", "kind"), [(10, "duplicate"), (2, "loose_box")])
def test_an_iou_on_an_edge_is_of_the_better_kind(costs, height, kind):
    found = costs([*RIGHT, Detection(1, 1, (0, 0, 20, height), 0.5)])  # IoU 0.5 and 0.1
    assert {name: each["count"] for name, each in found.items() if each["count"]} == {kind: 1}
