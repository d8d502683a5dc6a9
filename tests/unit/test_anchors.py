import configurations
import pytest

from vision_r1.evaluation.anchors import check, measure
from vision_r1.evaluation.published import Place, read_published

QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.fixture(scope="module")
def published(root):
    return read_published(root / "config/published.yaml")


def metrics(ap, pistols, ties=None):
    own = {"constant": {"AP": ap, "AP50": 0.273, "AP75": 0.19, "AR100": 0.35, "ties": ties or {}}, "order": {"AP": 0.9}}
    coco = {"released-one-prompt": {"mean_score_policies": own, "datasets": {}}}
    sets = {"odinw_pistols": {"score_policies": {"constant": {"AP": pistols}}}}
    odinw = {"released-present": {"mean_score_policies": None, "datasets": sets}}
    return {("base", "coco"): {"protocols": coco}, ("base", "odinw13"): {"protocols": odinw}}


def statuses(lines):
    ours = [line for line in lines if line["checkpoint"] == "base" and line["id"] == QWEN]
    return {(line["suite"], line["dataset"], line["metric"]): line["status"] for line in ours}


def test_every_number_is_reproduced_or_not_or_not_run(published):
    lines = check(published, QWEN, metrics(0.187, 0.40))
    found = statuses(lines)
    assert {key: status for key, status in found.items() if status != "not run"} == {
        ("coco", "mean", "AP"): "reproduced",  # 17.7 +- 1
        ("coco", "mean", "AP50"): "reproduced",
        ("coco", "mean", "AP75"): "reproduced",  # 18.0 +- 1
        ("coco", "mean", "AR100"): "not reproduced",  # 29.8 +- 1
        ("odinw13", "odinw_pistols", "AP"): "not reproduced",  # 48.5 +- 3
    }
    assert ("odinw13", "mean", "AP") in found  # incomplete
    assert {line["status"] for line in lines if line["checkpoint"] != "base"} == {"not run"}
    assert {line["status"] for line in check(published, None, metrics(0.177, 0.485))} == {"not run"}


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(0.16, 0.17, "reproduced"), (0.15, 0.166, "not reproduced"), (0.188, 0.2, "not reproduced")],
)
def test_within_the_tolerance_of_the_range_over_orders_of_equal_scores(published, low, high, status):
    """17.7 +- 1: the range is compared, whatever AP pycocotools' order gives."""
    own = (low + high) / 2
    lines = check(published, QWEN, metrics(own, 0.485, {"AP": {"expected": own, "low": low, "high": high}}))
    assert statuses(lines)["coco", "mean", "AP"] == status
    line = next(line for line in lines if line["measured"] == own)
    assert (line["low"], line["high"]) == (low, high)


def test_the_given_orders_number_is_part_of_the_range():
    scores = metrics(0.2, 0.4, {"AP": {"expected": 0.1, "low": 0.09, "high": 0.11}})
    assert measure(scores, "base", Place("coco", "released-one-prompt", "mean", "AP")) == (0.2, 0.09, 0.2)
    assert measure(scores, "base", Place("coco", "released-one-prompt", "mean", "AR100")) == (0.35, 0.35, 0.35)
    assert measure(scores, "sft", Place("coco", "released-one-prompt", "mean", "AP")) == (None, None, None)


def test_anchors_name_existing_suites_protocols_and_data_sets(published, root):
    asked = {recipe: configurations.load(root, recipe)["evaluation"] for recipe in ("paper", "upstream_2026")}
    for anchor in published:
        evaluation = asked[anchor.recipe]
        assert anchor.protocol in evaluation["suite_protocols"][anchor.suite]
        assert anchor.dataset in {"mean", *evaluation["suites"][anchor.suite]}
        assert 0 <= anchor.value < 1 and 0 < anchor.tolerance and anchor.source
