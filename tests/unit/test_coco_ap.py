"""The scorer against pycocotools itself, and on cases whose AP is known."""

import contextlib
import io
import json
from dataclasses import replace

import coco_factory
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.coco_ap import METRICS, Detection, match
from vision_r1.evaluation.curves import mean_curves


@pytest.fixture(scope="module")
def val(coco_tiny):
    return read_coco("val", coco_tiny / "annotations/instances_val2017.json")


def truth(dataset):
    """Return detections that equal the ground truth."""
    return [
        Detection(image.id, item.category_id, item.bbox, 0.99)
        for image in dataset.images
        for item in image.objects
        if not item.crowd
    ]


def shifted(detections, pixels):
    return [replace(item, bbox=(item.bbox[0] + pixels, *item.bbox[1:])) for item in detections]


def test_ap_is_1_for_the_truth_0_for_no_boxes_or_wrong_labels_and_between_for_shifted_boxes(val, capsys):
    perfect = match(val, truth(val)).stats
    assert perfect["AP"] == pytest.approx(1)
    assert perfect["AP50"] == pytest.approx(1)
    silent = match(val, []).stats
    assert (silent["AP"], silent["AR100"]) == (0, 0)
    absent = {image.id: min(set(val.categories) - {item.category_id for item in image.objects}) for image in val.images}
    wrong = match(val, [replace(item, category_id=absent[item.image_id]) for item in truth(val)]).stats
    assert wrong["AP"] == 0
    by_shift = [match(val, shifted(truth(val), pixels)).stats["AP"] for pixels in (0, 2, 5, 20)]
    assert by_shift == sorted(by_shift, reverse=True) and 0 < by_shift[3] < by_shift[2] < by_shift[1] < 1
    assert capsys.readouterr().out == ""


def test_the_area_under_the_precision_recall_curve_is_its_ap(val):
    matches = match(val, shifted(truth(val), 5)[::2])
    for metric, curve in zip(("AP50", "AP75"), mean_curves(matches).values(), strict=True):
        assert len(curve) == 101 and curve == sorted(curve, reverse=True)
        assert np.mean(curve) == pytest.approx(matches.stats[metric], abs=1e-4)


def test_equals_plain_pycocotools_number_for_number(val):
    rng = np.random.default_rng(0)
    detections = [
        replace(item, bbox=tuple(np.abs(np.array(item.bbox) + rng.normal(0, 6, 4)).tolist()), score=float(rng.random()))
        for item in truth(val)
        if rng.random() < 0.8
    ]
    results = [
        {"image_id": d.image_id, "category_id": d.category_id, "bbox": list(d.bbox), "score": d.score}
        for d in detections
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO(val.source)
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = match(val, detections).stats
    assert [ours[name] for name in METRICS] == evaluation.stats.tolist()


def test_hand_counted_case(tmp_path):
    """One of two objects is found, by the first box: precision 1 up to recall .5, which is 51 of 101 points."""
    coco = coco_factory.content({1: [(1, [0, 0, 20, 20]), (1, [40, 40, 20, 20])], 2: []})
    dataset = read_coco("set", coco_factory.write(tmp_path, coco)[0])
    found = [Detection(1, 1, (0, 0, 20, 20), 0.99), Detection(2, 1, (0, 0, 20, 20), 0.5)]
    matches = match(dataset, found)
    scores = matches.stats
    assert scores["AP"] == pytest.approx(51 / 101)
    assert matches.per_category == {"circle": pytest.approx(51 / 101), "square": None, "triangle": None}
    assert (scores["APs"], scores["APl"]) == (pytest.approx(51 / 101), None)
    # With the stray box first, precision is 1/2 up to recall .5.
    assert match(dataset, [replace(found[0], score=0.1), found[1]]).stats["AP"] == pytest.approx(51 / 101 / 2)


def test_annotation_ids_from_0_lose_no_object(tmp_path):
    coco = coco_factory.content()
    for entry in coco["annotations"]:
        entry["id"] -= 1
    dataset = read_coco("set", coco_factory.write(tmp_path, coco)[0])
    assert match(dataset, truth(dataset)).stats["AP"] == pytest.approx(1)


def test_no_ground_truth_is_none_and_json(tmp_path):
    dataset = read_coco("set", coco_factory.write(tmp_path, coco_factory.content({1: []}))[0])
    scores = match(dataset, [Detection(1, 1, (0, 0, 5, 5), 0.99)]).stats
    assert {scores[name] for name in METRICS} == {None}
    json.dumps(scores, allow_nan=False)


def test_curves_are_the_mean_over_the_categories_that_have_objects(tmp_path):
    dataset = read_coco("set", coco_factory.write(tmp_path, coco_factory.content({1: [(1, [0, 0, 20, 20])]}))[0])
    assert mean_curves(match(dataset, truth(dataset))) == {"0.50": [1] * 101, "0.75": [1] * 101}
    empty = read_coco("set", coco_factory.write(tmp_path / "none", coco_factory.content({1: []}))[0])
    assert mean_curves(match(empty, [])) == {}
