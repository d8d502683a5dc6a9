"""F1 in its four averages, each counted by hand."""

import coco_factory
import pytest

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.coco_ap import Detection, match
from vision_r1.evaluation.f1 import VARIANTS, f1_scores


@pytest.fixture
def dataset(tmp_path):
    """Three images: a circle; a circle and a square; a crowd of circles. No image has a triangle."""
    coco = coco_factory.content({1: [(1, [0, 0, 20, 20])], 2: [(1, [40, 40, 20, 20]), (2, [0, 0, 40, 40])], 3: []})
    coco["annotations"].append(
        {"id": 9, "image_id": 3, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 1}
    )
    return read_coco("set", coco_factory.write(tmp_path, coco)[0])


BOXES = [
    Detection(1, 1, (0, 0, 20, 20), 0.9),  # right
    Detection(2, 1, (40, 40, 20, 16), 0.9),  # IoU 0.8: right at 7 of 10 thresholds
    Detection(2, 2, (60, 0, 20, 20), 0.9),  # false
    Detection(3, 1, (5, 5, 20, 20), 0.9),  # on a crowd
    Detection(1, 3, (0, 0, 20, 20), 0.9),  # a category that is not in the image
]


def scores(dataset, boxes):
    return f1_scores(dataset, match(dataset, boxes), boxes)


def triple(precision, recall):
    both = precision + recall
    return pytest.approx({"precision": precision, "recall": recall, "F1": 2 * precision * recall / both})


def test_micro_counts_all_boxes_together(dataset):
    found = scores(dataset, BOXES)["micro"]
    assert found["0.50"] == triple(2 / 4, 2 / 3)
    assert found["0.95"] == triple(1 / 4, 1 / 3)
    mean = {"precision": (7 * 2 / 4 + 3 * 1 / 4) / 10, "recall": (7 * 2 + 3) / 30, "F1": (7 * 4 / 7 + 3 * 2 / 7) / 10}
    assert found["mean"] == pytest.approx(mean)


def test_macro_includes_every_category(dataset):
    """Precision is over circle, square and triangle; recall over circle and square."""
    found = scores(dataset, BOXES)["macro"]
    assert found["0.50"] == triple((1 + 0 + 0) / 3, (1 + 0) / 2)
    assert found["0.95"] == triple((0.5 + 0 + 0) / 3, (0.5 + 0) / 2)
    circle = (7 * 1 + 3 * 0.5) / 10
    assert found["mean"] == triple(circle / 3, circle / 2)


def test_rex_omni_by_category_leaves_out_missed_and_absent_categories(dataset):
    found = scores(dataset, BOXES)["rex_omni_categories"]
    circle = (7 * 1 + 3 * 0.5) / 10
    assert [found[key] for key in ("0.50", "0.95", "mean")] == [triple(1, 1), triple(0.5, 0.5), triple(circle, circle)]
    # A circle in an image with only a square is dropped here, while macro F1 counts it.
    more = [*BOXES, Detection(2, 1, (0, 0, 5, 5), 0.9)]
    assert scores(dataset, more)["rex_omni_categories"]["0.50"] == triple(2 / 3, 1)
    absent = [*BOXES, Detection(1, 2, (0, 0, 20, 20), 0.9)]
    assert scores(dataset, absent)["rex_omni_categories"] == found
    assert scores(dataset, absent)["micro"]["0.50"]["precision"] == pytest.approx(2 / 5)


def test_rex_omni_by_image_averages_over_images(dataset):
    """Right boxes and found objects: image 1: 1 of 2, 1 of 1; image 2: 1 of 2, 1 of 2; image 3: a box, no object."""
    found = scores(dataset, BOXES)["rex_omni_images"]
    assert found["0.50"] == triple((1 / 2 + 1 / 2 + 0) / 3, (1 + 1 / 2 + 0) / 3)
    assert found["0.95"] == triple((1 / 2 + 0 + 0) / 3, (1 + 0 + 0) / 3)
    assert found["mean"]["F1"] == pytest.approx((7 * 0.4 + 3 * 2 / 9) / 10)
    silent = [box for box in BOXES if box.image_id != 3]
    assert scores(dataset, silent)["rex_omni_images"]["0.50"] == triple((1 / 2 + 1 / 2 + 1) / 3, (1 + 1 / 2 + 1) / 3)


def test_rex_omni_by_image_pools_the_categories_of_the_image(dataset):
    swapped = [Detection(2, 2, (40, 40, 20, 20), 0.9), Detection(2, 1, (0, 0, 40, 40), 0.9)]
    found = scores(dataset, swapped)
    assert found["rex_omni_images"]["0.95"] == triple((0 + 1 + 1) / 3, (0 + 1 + 1) / 3)
    assert found["micro"]["0.50"]["F1"] == 0
    # One box can't find two objects.
    once = [Detection(2, 1, (40, 40, 20, 20), 0.9), Detection(2, 1, (40, 40, 20, 20), 0.9)]
    assert scores(dataset, once)["rex_omni_images"]["0.50"] == triple((0 + 1 / 2 + 1) / 3, (0 + 1 / 2 + 1) / 3)


def test_rex_omni_by_image_takes_objects_in_the_order_of_categories(tmp_path):
    """In the file's order the square would take the box that alone finds the second circle."""
    objects = [(1, [500, 500, 10, 10]), (2, [0, 0, 100, 100]), (1, [0, 30, 100, 100])]
    dataset = read_coco("set", coco_factory.write(tmp_path / "mixed", coco_factory.content({1: objects}))[0])
    boxes = [Detection(1, 1, (0, 15, 100, 100), 0.9), Detection(1, 2, (0, -30, 100, 100), 0.9)]
    assert scores(dataset, boxes)["rex_omni_images"]["0.50"] == triple(1, 2 / 3)


def test_right_answers_empty_answers_and_nothing_to_find(dataset, tmp_path):
    right = [
        Detection(image.id, item.category_id, item.bbox, 0.9)
        for image in dataset.images
        for item in image.objects
        if not item.crowd
    ]
    for numbers in scores(dataset, right).values():
        assert set(numbers) == {"0.50", "0.95", "mean"} and all(each == triple(1, 1) for each in numbers.values())
    silent = scores(dataset, [])
    assert [silent[name]["mean"]["F1"] for name in VARIANTS] == [0, 0, 0, pytest.approx(1 / 3)]
    empty = read_coco("none", coco_factory.write(tmp_path / "none", coco_factory.content({1: []}))[0])
    assert {number for each in scores(empty, []).values() for own in each.values() for number in own.values()} == {None}


@pytest.mark.parametrize("box", [(20, 20, -10, 10), (20, 20, 10, -10), (20, 20, -10, -10), (0, 0, 2e5, 1e5)])
def test_a_box_with_corners_in_the_wrong_order_or_of_absurd_size_is_false(dataset, box):
    """It counts like a valid box far away, while AP leaves it out if its area is invalid."""
    right, away, odd = BOXES[0], Detection(1, 1, (60, 60, 20, 20), 0.95), Detection(1, 1, box, 0.95)
    assert scores(dataset, [right, odd]) == scores(dataset, [right, away])
    ap = {name: match(dataset, boxes).stats["AP"] for name, boxes in (("alone", [right]), ("odd", [right, odd]))}
    assert (ap["odd"] == ap["alone"]) == (not 0 <= box[2] * box[3] <= 1e10)
    assert match(dataset, [right, odd]).false[0].tolist() == [True, False]


def test_rex_omni_by_category_counts_false_boxes_of_every_category_in_the_image(dataset):
    boxes = [Detection(2, 2, (0, 0, 40, 40), 0.9), Detection(2, 2, (60, 0, 20, 20), 0.9)]
    assert scores(dataset, boxes)["rex_omni_categories"]["0.50"] == triple(1 / 2, 1)
    elsewhere = [boxes[0], Detection(1, 2, (0, 0, 20, 20), 0.9)]  # image 1 has no square
    assert scores(dataset, elsewhere)["rex_omni_categories"]["0.50"] == triple(1, 1)
    assert scores(dataset, elsewhere)["macro"]["0.50"] == triple(1 / 2 / 2, 1 / 2)
