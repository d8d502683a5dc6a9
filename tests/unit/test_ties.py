"""AP over orders of equal scores, against pycocotools on images with permuted ids."""

from dataclasses import replace

import numpy as np
import pytest

from vision_r1.data.coco import CocoDataset, CocoImage, read_coco
from vision_r1.evaluation.coco_ap import Detection, match
from vision_r1.evaluation.ties import ap_by_order, orders, over_orders


@pytest.fixture(scope="module")
def val(coco_tiny):
    return read_coco("val", coco_tiny / "annotations/instances_val2017.json")


@pytest.fixture(scope="module")
def predicted(val):
    """Detections that are nearly right, far away, of another category, or on crowd regions."""
    rng = np.random.default_rng(0)
    categories = list(val.categories)
    return [
        Detection(
            image.id,
            item.category_id if rng.random() < 0.8 else int(rng.choice(categories)),
            (item.bbox[0] + rng.normal(0, distance), item.bbox[1] + rng.normal(0, distance), *item.bbox[2:]),
            0.99,
        )
        for image in val.images
        for item in image.objects
        for distance in (5, 50)
    ]


def with_ids(dataset, detections, matches, places):
    """Number the images again, so that their ids have the order of `places`."""
    new = {image_id: int(place) + 1 for image_id, place in zip(matches.image_ids, places, strict=True)}
    images = tuple(CocoImage(new[each.id], each.path, each.width, each.height, each.objects) for each in dataset.images)
    changed = CocoDataset(dataset.name, dataset.source, dataset.categories, images)
    return changed, [replace(each, image_id=new[each.image_id]) for each in detections]


@pytest.mark.parametrize("levels", [1, 3])
def test_each_order_has_the_ap_that_pycocotools_gives_for_ids_in_that_order(val, predicted, levels):
    rng = np.random.default_rng(levels)
    detections = [replace(each, score=float(rng.integers(1, levels + 1))) for each in predicted]
    matches = match(val, detections)
    assert matches.ignored.any()
    places = orders(val.name, len(val.images), count=4)
    found = ap_by_order(matches, places)
    for number, order in enumerate(places):
        brute = match(*with_ids(val, detections, matches, order)).stats
        assert {key: own[number] for key, own in found.items()} == pytest.approx(
            {key: brute[key] for key in found}, abs=1e-12
        )
    assert len({round(value, 6) for value in found["AP"]}) == 4


def test_the_files_order_has_the_usual_ap_which_is_in_the_range(val, predicted):
    matches = match(val, predicted)
    own = ap_by_order(matches, np.arange(len(val.images))[None])
    assert {key: value[0] for key, value in own.items()} == pytest.approx({key: matches.stats[key] for key in own})
    around = over_orders(ap_by_order(matches, orders(val.name, len(val.images))))
    assert around["orders"] == 1000
    for key in own:
        assert around[key]["low"] < around[key]["expected"] < around[key]["high"]
        assert around[key]["low"] <= matches.stats[key] <= around[key]["high"]


def test_orders_depend_on_the_data_sets_name_and_size_only():
    places = orders("a", 50, count=3)
    assert (places == orders("a", 50, count=3)).all() and (places != orders("b", 50, count=3)).any()
    assert (np.sort(places, axis=1) == np.arange(50)).all()


def test_without_equal_scores_nothing_is_left_to_chance(val, predicted):
    ranked = [replace(each, score=1 / (number + 1)) for number, each in enumerate(predicted)]
    matches = match(val, ranked)
    around = over_orders(ap_by_order(matches, orders(val.name, len(val.images), count=20)))
    for key in ("AP", "AP50", "AP75"):
        assert around[key] == pytest.approx(dict.fromkeys(("expected", "low", "high"), matches.stats[key]))


def test_no_detections_and_nothing_to_find(val):
    places = orders("val", len(val.images), count=5)
    assert over_orders(ap_by_order(match(val, []), places))["AP"] == {"expected": 0, "low": 0, "high": 0}
    images = tuple(CocoImage(each.id, each.path, each.width, each.height, ()) for each in val.images)
    empty = CocoDataset("val", "none", val.categories, images)
    assert over_orders(ap_by_order(match(empty, []), places)) == {"orders": 5, "AP": None, "AP50": None, "AP75": None}
