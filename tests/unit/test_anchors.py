import pytest
import yaml

from vision_r1.evaluation.anchors import check, read_published
from vision_r1.experiments import merge
from vision_r1.files import UserError

QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.fixture(scope="module")
def published(root):
    return read_published(root / "config/published.yaml")


def metrics(ap, pistols):
    own = {"constant": {"AP": ap, "AP50": 0.273, "AP75": 0.19}, "order": {"AP": 0.9}}
    coco = {"released-coco": {"mean_score_policies": own, "datasets": {}}}
    sets = {"odinw_pistols": {"score_policies": {"constant": {"AP": pistols}}}}
    odinw = {"released-odinw": {"mean_score_policies": None, "datasets": sets}}
    return {("base", "coco"): {"protocols": coco}, ("base", "odinw13"): {"protocols": odinw}}


def statuses(lines):
    ours = [line for line in lines if line["checkpoint"] == "base" and line["id"]]
    return {(line["suite"], line["dataset"], line["metric"]): line["status"] for line in ours}


def test_every_number_is_reproduced_or_not_or_not_run(published):
    lines = check(published, QWEN, metrics(0.187, 0.40))
    assert statuses(lines) == {
        ("coco", "mean", "AP"): "reproduced",  # 17.7 +- 1
        ("coco", "mean", "AP50"): "reproduced",
        ("coco", "mean", "AP75"): "reproduced",
        ("odinw13", "mean", "AP"): "not run",  # incomplete
        ("odinw13", "odinw_pistols", "AP"): "not reproduced",  # 48.5 +- 3
        ("odinw13", "odinw_pothole", "AP"): "not run",
        ("odinw13", "odinw_thermal_dogs_people", "AP"): "not run",
    }
    assert {line["status"] for line in lines if line["checkpoint"] != "base"} == {"not run"}
    assert {line["status"] for line in check(published, None, metrics(0.177, 0.485))} == {"not run"}


def test_anchors_are_of_suites_protocols_and_data_sets_that_we_have(published, root):
    config = {}
    for name in ("config", "datasets", "experiments", "paper"):
        config = merge(config, yaml.safe_load((root / f"config/{name}.yaml").read_text()))
    evaluation = config["evaluation"]
    for anchor in published:
        assert anchor.protocol in evaluation["suite_protocols"][anchor.suite]
        assert anchor.dataset in {"mean", *evaluation["suites"][anchor.suite]}
        assert 0 < anchor.tolerance < anchor.value < 1 and anchor.source
    assert {anchor.id for anchor in published} == {config["model"]["id"], None}


def test_the_method_s_own_numbers(published):
    """Against the table as it was printed."""
    found = {
        (anchor.model, anchor.suite, anchor.metric): round(100 * anchor.value, 1)
        for anchor in published
        if anchor.dataset == "mean"
    }
    assert found["Qwen2.5-VL-7B", "coco", "AP"] == 17.7 and found["Qwen2.5-VL-7B", "odinw13", "AP"] == 37.0
    assert found["Qwen2.5-VL-7B + Vision-R1", "coco", "AP"] == 26.6
    assert found["Qwen2.5-VL-7B + Vision-R1", "odinw13", "AP"] == 46.0


def test_an_entry_that_lacks_something(tmp_path):
    (tmp_path / "p.yaml").write_text("published:\n  - { model: x, id: null, checkpoint: base, suite: coco }\n")
    with pytest.raises(UserError, match="p.yaml: entry 0: KeyError.'protocol'."):
        read_published(tmp_path / "p.yaml")
