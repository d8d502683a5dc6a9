"""The weighted AP against pycocotools: on all images, on parts of them, and on images that are there twice."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.evaluation.bootstrap import bias, interval, interval_around, resamples, weighted_ap
from vision_r1.evaluation.coco_ap import Detection, average_precision, match

METRICS = ("AP", "AP50", "AP75")


def scene(seed, images=40, categories=4, ties=True):
    """Return a data set with crowd regions, empty images and an absent category, and boxes with equal scores."""
    rng = np.random.default_rng(seed)
    records, detections = [], []
    for number in range(images):
        objects = []
        for _ in range(int(rng.integers(0, 6))):
            x, y, width, height = map(float, rng.uniform((0, 0, 10, 10), (300, 300, 150, 150)))
            category = int(rng.integers(1, categories))
            objects.append(
                CocoObject(category, str(category), (x, y, width, height), width * height, crowd=rng.random() < 0.1)
            )
            for _ in range(int(rng.integers(0, 3))):
                box = np.abs(np.array([x, y, width, height]) + rng.normal(0, 6, 4))
                named = category if rng.random() < 0.8 else int(rng.integers(1, categories + 1))
                score = float(rng.choice([0.99, 0.5])) if ties else float(rng.random())
                detections.append(Detection(7 * number + 3, named, tuple(box.tolist()), score))
        records.append(CocoImage(7 * number + 3, "", 640, 480, tuple(objects)))
    return CocoDataset("set", "set", {key: str(key) for key in range(1, categories + 1)}, tuple(records)), detections


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_one_are_pycocotools(seed):
    matches = match(*scene(seed))
    values = weighted_ap(matches, np.ones((1, 40), np.int32))
    assert matches.stats["AP"] > 0.1
    for metric in METRICS:
        assert values[metric][0] == pytest.approx(matches.stats[metric], abs=1e-12)


def test_weights_of_zero_leave_images_out():
    dataset, detections = scene(3)
    kept = dataset.images[::3]
    part = average_precision(
        replace(dataset, images=kept), [each for each in detections if each.image_id in {image.id for image in kept}]
    )
    weights = np.array([[place % 3 == 0 for place in range(40)]], np.int32)
    values = weighted_ap(match(dataset, detections), weights)
    for metric in METRICS:
        assert values[metric][0] == pytest.approx(part[metric], abs=1e-12)


def test_a_weight_of_two_is_an_image_that_is_there_twice():
    """Where scores differ; where they are equal, the two copies' boxes stand side by side, not image by image."""
    dataset, detections = scene(4, ties=False)
    (weights,) = resamples("set", 40, 1)
    assert weights.sum() == 40 and weights.max() > 1
    images, boxes = [], []
    for image, weight in zip(dataset.images, weights, strict=True):
        for copy in range(weight):
            number = 100 * image.id + copy
            images.append(msgspec.structs.replace(image, id=number))
            boxes += [replace(each, image_id=number) for each in detections if each.image_id == image.id]
    twice = average_precision(replace(dataset, images=tuple(images)), boxes)
    values = weighted_ap(match(dataset, detections), weights[None])
    for metric in METRICS:
        assert values[metric][0] == pytest.approx(twice[metric], abs=1e-12)


def test_a_category_absent_from_a_resample_is_left_out_of_its_mean():
    dataset, detections = scene(5)
    matches = match(dataset, detections)
    of_one = np.array([[any(item.category_id == 1 for item in image.objects) for image in dataset.images]], np.int32)
    assert 0 < of_one.sum() < 40
    without = weighted_ap(matches, 1 - of_one)["AP"]
    others = replace(matches, categories=matches.categories[1:])
    assert without == weighted_ap(others, 1 - of_one)["AP"]
    assert np.isnan(weighted_ap(matches, np.zeros((1, 40), np.int32))["AP"]).all()


def test_resamples_belong_to_the_data_set_not_to_the_checkpoint():
    assert (resamples("a", 30, 5) == resamples("a", 30, 5)).all()
    assert (resamples("a", 30, 5) != resamples("b", 30, 5)).any()
    assert (resamples("a", 30, 5).sum(axis=1) == 30).all()


def test_the_interval_is_that_of_drawing_and_scoring_anew():
    dataset, detections = scene(6)
    by_image = {image.id: [each for each in detections if each.image_id == image.id] for image in dataset.images}
    weights = resamples("set", 40, 60)
    slow = []
    for row in weights:
        drawn = np.repeat(np.arange(40), row)
        images = [msgspec.structs.replace(dataset.images[place], id=number) for number, place in enumerate(drawn)]
        boxes = [
            replace(each, image_id=number)
            for number, place in enumerate(drawn)
            for each in by_image[dataset.images[place].id]
        ]
        slow.append(average_precision(replace(dataset, images=tuple(images)), boxes)["AP"])
    fast = weighted_ap(match(dataset, detections), weights)["AP"]
    assert fast == pytest.approx(slow, abs=0.02)
    assert interval(fast) == pytest.approx(interval(np.array(slow)), abs=0.01)


def test_interval_and_bias():
    values = np.array([*range(1001), np.nan], float)
    assert interval(values) == pytest.approx([25, 975])
    assert bias(values, 400) == 100
    assert interval_around(0.4, values / 1000) == pytest.approx([0, 0.875])  # less 0.1, within 0..1
    assert interval_around(None, values) is None
    assert interval(np.array([np.nan])) is None and bias(np.array([np.nan]), 1.0) is None
