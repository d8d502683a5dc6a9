import coco_factory
import pytest
from curate_train import main

from vision_r1.files import UserError, read_json, read_jsonl


def words(places, out, **options):
    values = {
        **{"family": "qwen2_5_vl", "min_pixels": 784, "max_pixels": 7056, "order": "shuffle", "seed": 0},
        **{"detection": 2, "grounding": 2, "negative": 2, "min_instances": 1, "max_instances": 30},
        **{"output": out / "train.jsonl", "summary": out / "curation.json"},
        **options,
    }
    return ["--dataset", "set", *places, *(word for key, value in values.items() for word in (f"--{key}", str(value)))]


def test_same_arguments_same_bytes(tmp_path):
    places = coco_factory.write(tmp_path)
    for name in ("one", "two"):
        main(words(places, tmp_path / name))
    for file in ("train.jsonl", "curation.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    main(words(places, tmp_path / "three", seed=1))
    assert (tmp_path / "one/train.jsonl").read_bytes() != (tmp_path / "three/train.jsonl").read_bytes()


def test_says_where_there_are_fewer_than_asked_for(tmp_path, caplog):
    main(words(coco_factory.write(tmp_path), tmp_path, negative=50))
    summary = read_json(tmp_path / "curation.json")
    assert summary["short"] == ["negative"] and summary["samples"]["negative"]["written"] == 3
    assert "negative: 50 samples asked for, 3 possible" in caplog.text
    assert len(read_jsonl(tmp_path / "train.jsonl")) == summary["rows"] == 7


def test_mistakes_leave_no_file(tmp_path):
    annotations, images = coco_factory.write(tmp_path)
    with pytest.raises(UserError, match="'llava' is not known"):
        main(words((annotations, images), tmp_path, family="llava"))
    with pytest.raises(UserError, match="no sample can be made of them"):
        main(words((annotations, images), tmp_path, detection=0, grounding=0, negative=0))
    with pytest.raises(UserError, match="nowhere/1.png: no such image"):
        main(words((annotations, str(tmp_path / "nowhere")), tmp_path))
    wrong_size, _ = coco_factory.write(tmp_path / "other", coco_factory.content(size=(90, 84)))
    with pytest.raises(UserError, match="84 x 84 pixels, but its annotations are for 90 x 84"):
        main(words((wrong_size, images), tmp_path))
    with pytest.raises(SystemExit):
        main(words((annotations, images), tmp_path, seed=-1))
    assert not (tmp_path / "train.jsonl").exists()


def test_real_coco_goes_through(coco_tiny, tmp_path):
    places = (str(coco_tiny / "annotations/instances_train2017.json"), str(coco_tiny / "train2017"))
    main(words(places, tmp_path, detection=60, grounding=60, negative=20))
    rows = read_jsonl(tmp_path / "train.jsonl")
    summary = read_json(tmp_path / "curation.json")
    assert len(rows) == 140 and not summary["short"]
    assert summary["objects"]["crowd"] == 6
    assert len(rows[0]["categories"]) in (1, 80)
    for row in rows:
        for item in row["objects"]:
            x1, y1, x2, y2 = item["bbox"]
            assert 0 <= x1 < x2 <= row["width"] and 0 <= y1 < y2 <= row["height"]
