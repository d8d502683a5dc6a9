import pytest
from check_anchors import main

from vision_r1.files import UserError, read_json, write_json


def run_with(root, folder, suite, protocols, model="Qwen/Qwen2.5-VL-7B-Instruct"):
    """Write a run in which the base model was measured on one suite; return the program's arguments."""
    write_json(folder / f"metrics/base/{suite}.json", {"suite": suite, "protocols": protocols})
    write_json(folder / "config.json", {"model": {"id": model}, "report": {"suites": [suite]}})
    published = ["--published", str(root / "config/published.yaml"), "--scope", "gate"]
    return ["--run", str(folder), *published, "--output_json", str(folder / "a.json")]


@pytest.fixture
def words(root, tmp_path):
    def build(ap, *options):
        own = {"constant": {"AP": ap, "AP50": 0.273, "AP75": 0.18, "AR100": 0.3}}
        scores = {"mean_score_policies": own, "datasets": {}}
        protocols = {"released-one-prompt": scores}
        return run_with(root, tmp_path, "coco", protocols) + list(options)

    return build


def test_numbers_within_the_tolerance_pass(words, tmp_path):
    main(words(0.175, "--stop"))
    assert sum(line["status"] == "reproduced" for line in read_json(tmp_path / "a.json")) == 4


def test_a_number_outside_the_tolerance_stops_the_run_and_leaves_no_file(words, tmp_path):
    message = (
        "1 of 4 published means are not reproduced: base on coco mean .released-one-prompt.: AP 0.100, published 0.177 "
    )
    with pytest.raises(UserError, match=message):
        main(words(0.1, "--stop"))
    assert not (tmp_path / "a.json").exists()
    main(words(0.1))
    assert sum(line["status"] == "not reproduced" for line in read_json(tmp_path / "a.json")) == 1


def test_a_single_data_set_does_not_stop_the_run(root, tmp_path):
    one = {"odinw_pistols": {"score_policies": {"constant": {"AP": 0.1}}}}
    scores = {"mean_score_policies": {"constant": {"AP": 0.375}}, "datasets": one}
    main([*run_with(root, tmp_path, "odinw13", {"released-present": scores}), "--stop"])
    found = {line["dataset"]: line["status"] for line in read_json(tmp_path / "a.json") if line["measured"] is not None}
    assert found == {"mean": "reproduced", "odinw_pistols": "not reproduced"}


def test_a_missing_number_stops_the_run(words):
    with pytest.raises(UserError, match="AP missing, published 0.177"):
        main(words(None, "--stop"))


def test_a_model_without_anchors_is_not_stopped(root, words, tmp_path):
    flags = words(0.1, "--stop")
    run_with(root, tmp_path, "coco", {}, model="mine")
    main(flags)
    assert {line["status"] for line in read_json(tmp_path / "a.json")} == {"not run"}
