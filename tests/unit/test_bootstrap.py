"""The weighted AP against pycocotools: on all images, on parts of them, and with images that occur twice."""

import importlib.util
import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.evaluation.bootstrap import bias, category_ap, interval, recentred, resampled_ap, resamples, weighted_ap
from vision_r1.evaluation.coco_ap import Detection, match

METRICS = ("AP", "AP50", "AP75")


def scene(seed, images=40, categories=4, ties=True):
    """Return a data set with crowd regions, empty images and an absent category, and detections with equal scores."""
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
    part = match(
        replace(dataset, images=kept), [each for each in detections if each.image_id in {image.id for image in kept}]
    ).stats
    weights = np.array([[place % 3 == 0 for place in range(40)]], np.int32)
    values = weighted_ap(match(dataset, detections), weights)
    for metric in METRICS:
        assert values[metric][0] == pytest.approx(part[metric], abs=1e-12)


def test_a_weight_of_two_equals_an_image_that_occurs_twice():
    """This holds if scores differ; equal ones would be ordered box by box instead of image by image."""
    dataset, detections = scene(4, ties=False)
    weights = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40)).astype(np.int32)
    assert weights.max() > 1
    images, boxes = [], []
    for image, weight in zip(dataset.images, weights, strict=True):
        for copy in range(weight):
            number = 100 * image.id + copy
            images.append(msgspec.structs.replace(image, id=number))
            boxes += [replace(each, image_id=number) for each in detections if each.image_id == image.id]
    twice = match(replace(dataset, images=tuple(images)), boxes).stats
    values = weighted_ap(match(dataset, detections), weights[None])
    for metric in METRICS:
        assert values[metric][0] == pytest.approx(twice[metric], abs=1e-12)


def test_a_category_absent_from_a_resample_is_left_out_of_its_mean():
    dataset, detections = scene(5)
    matches = match(dataset, detections)
    of_one = np.array([[any(item.category_id == 1 for item in image.objects) for image in dataset.images]], np.int32)
    assert 0 < of_one.sum() < 40
    without = weighted_ap(matches, 1 - of_one)["AP"]
    of_each = category_ap(matches, 1 - of_one)[:, 0].mean(axis=0)
    assert np.isnan(of_each[0]) and without == pytest.approx(np.nanmean(of_each[1:]))
    assert np.isnan(weighted_ap(matches, np.zeros((1, 40), np.int32))["AP"]).all()


def test_resamples_depend_on_the_data_set_not_on_the_checkpoint():
    assert (resamples("a", 30, 5) == resamples("a", 30, 5)).all()
    assert (resamples("a", 30, 5) != resamples("b", 30, 5)).any()


def test_a_resample_has_half_of_the_images_alternately_rounded_down_and_up():
    assert resamples("a", 31, 4).sum(axis=1).tolist() == [15, 16, 15, 16]
    weights = resamples("a", 30, 2000)
    assert set(weights.ravel().tolist()) == {0, 1} and (weights.sum(axis=1) == 15).all()
    assert weights.mean(axis=0) == pytest.approx(0.5, abs=0.05)


def test_the_interval_equals_that_of_rescored_halves():
    dataset, detections = scene(6)
    weights = resamples("set", 40, 60)
    slow = []
    for row in weights:
        kept = [image for image, weight in zip(dataset.images, row, strict=True) if weight]
        ids = {image.id for image in kept}
        boxes = [each for each in detections if each.image_id in ids]
        slow.append(match(replace(dataset, images=tuple(kept)), boxes).stats["AP"])
    matches = match(dataset, detections)
    assert weighted_ap(matches, weights)["AP"] == pytest.approx(slow, abs=1e-12)
    # No half lacks a category here, so only the spread of Student's t, with 39 degrees of freedom, is added.
    fast = resampled_ap(matches, weights)["AP"]
    assert fast.mean() == pytest.approx(np.mean(slow))
    assert np.corrcoef(fast, slow)[0, 1] == pytest.approx(1)
    assert fast.std() == pytest.approx(np.std(slow) * (40 / 39) ** 0.5 * 2.02269 / 1.95996, rel=1e-4)


def test_rare_categories_count_in_the_mean_of_the_halves():
    """One category is in every image and found; another is in one image, so in half of the halves, and missed."""
    box = (0.0, 0.0, 20.0, 20.0)
    images = [CocoImage(n, "", 99, 99, (CocoObject(1, "a", box, 400, crowd=False),)) for n in range(20)]
    rare = CocoObject(2, "b", (50.0, 50.0, 20.0, 20.0), 400, crowd=False)
    images[3] = msgspec.structs.replace(images[3], objects=(*images[3].objects, rare))
    dataset = CocoDataset("set", "set", {1: "a", 2: "b"}, tuple(images))
    matches = match(dataset, [Detection(n, 1, box, 0.5) for n in range(20)])
    values = weighted_ap(matches, resamples("set", 20, 400))["AP"]
    assert set(values.round(9)) == {0.5, 1.0} and values.mean() == pytest.approx(0.75, abs=0.05)
    assert resampled_ap(matches, resamples("set", 20, 400))["AP"].mean() == pytest.approx(0.5)
    assert bias(resampled_ap(matches, resamples("set", 20, 400))["AP"], 0.5) == pytest.approx(0)


def test_one_image_has_no_interval():
    dataset, detections = scene(6, images=1)
    samples = resampled_ap(match(dataset, detections), resamples("set", 1, 9))["AP"]
    assert interval(0.5, samples) is None


def test_interval_and_bias():
    values = np.array([*range(1001), np.nan], float) / 1000
    # Halves exceed all images by 0.1, which is 0.41 of the bias of all images.
    assert bias(values, 0.4) == pytest.approx(0.1 / (2**0.5 - 1))
    assert recentred(0.4, values).mean() == pytest.approx(0.4 - 0.1 / (2**0.5 - 1))
    assert interval(0.5, values) == pytest.approx([0.025, 0.975])
    assert interval(None, values) is None
    assert interval(0.5, np.array([np.nan])) is None and bias(np.array([np.nan]), 1.0) is None


def test_an_interval_stays_within_possible_values():
    values = np.linspace(-0.5, 0.5, 1001)
    assert interval(0.0, values) == pytest.approx([0, 0.475])
    assert interval(0.0, values, lowest=-1) == pytest.approx([-0.475, 0.475])


def test_intervals_contain_the_true_ap(root, monkeypatch):
    """Test sets of 20 categories and 150 images, with equal scores: plain percentiles contain it in 2 of 100."""
    spec = importlib.util.spec_from_file_location("benchmark_of_coverage", root / "benchmarks/coverage.py")
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, benchmark)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "POPULATION", 30_000)
    setting = benchmark.Setting(20, 150, equal_scores=True)
    truth = benchmark.true_values(setting)
    held = np.mean([benchmark.covered(setting, truth, seed, 100)[:, 0] for seed in range(40)], axis=0)
    assert (held >= 0.83).all()  # 0.95, with a standard error of 0.03


def test_the_order_of_images_and_categories_in_the_file_does_not_matter():
    """pycocotools ranks equal scores by the images' ids."""
    dataset, detections = scene(7)
    turned = replace(dataset, images=dataset.images[::-1], categories=dict(reversed(dataset.categories.items())))
    one, other = (match(each, detections) for each in (dataset, turned))
    assert other.stats == one.stats and (other.image_ids, other.category_ids) == (one.image_ids, one.category_ids)
    assert (other.hit == one.hit).all()


def test_an_object_without_area_is_to_be_found():
    box = (0.0, 0.0, 20.0, 20.0)
    objects = (CocoObject(1, "a", box, 400, crowd=False), CocoObject(1, "a", (50.0, 50.0, 0.0, 0.0), 0, crowd=False))
    dataset = CocoDataset("set", "set", {1: "a"}, (CocoImage(1, "", 99, 99, objects),))
    matches = match(dataset, [Detection(1, 1, box, 0.5)])
    assert weighted_ap(matches, np.ones((1, 1), np.int32))["AP"][0] == pytest.approx(matches.stats["AP"])
