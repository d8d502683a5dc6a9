import pytest
from check_anchors import main

from vision_r1.files import UserError, read_json, write_json


@pytest.fixture
def words(root, tmp_path):
    def build(ap, *options):
        scores = {"mean": {"AP": ap, "AP50": 0.273, "AP75": 0.18}, "datasets": {}}
        write_json(tmp_path / "m.json", {"suite": "coco", "protocols": {"official-coco": scores}})
        published = ["--published", str(root / "config/published.yaml"), "--model", "Qwen/Qwen2.5-VL-7B-Instruct"]
        measured = ["--metrics", "base", "coco", str(tmp_path / "m.json"), "--output", str(tmp_path / "a.json")]
        return [*published, *measured, *options]

    return build


def test_numbers_within_the_tolerance_pass(words, tmp_path):
    main(words(0.175, "--stop"))
    assert sum(line["status"] == "reproduced" for line in read_json(tmp_path / "a.json")) == 3


def test_a_number_outside_stops_and_leaves_no_file(words, tmp_path):
    message = "1 published numbers are not reproduced, the farthest base on coco mean .official-coco.: AP 0.100, "
    with pytest.raises(UserError, match=message + "published 0.177"):
        main(words(0.1, "--stop"))
    assert not (tmp_path / "a.json").exists()
    main(words(0.1))
    assert sum(line["status"] == "not reproduced" for line in read_json(tmp_path / "a.json")) == 1
