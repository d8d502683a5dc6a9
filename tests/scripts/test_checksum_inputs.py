import hashlib

import checksum_inputs
import pytest
from report_factory import write, write_lines

from vision_r1.files import UserError, read_json


def words(folder, file):
    return [
        *("--file", "training file", str(file), "--weights", str(folder / "model")),
        *("--archive", "archive coco", str(folder / "coco.json")),
        *("--index", str(folder / "images.jsonl"), "--output_json", str(folder / "checksums.json")),
    ]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.safetensors").write_bytes(b"weights")
    (tmp_path / "train.jsonl").write_bytes(b"rows")
    write(tmp_path / "coco.json", {"bytes": 7, "sha256": "e" * 64})
    write_lines(tmp_path / "images.jsonl", [{"dataset": "scenes", "sha256": "a" * 64}])
    return tmp_path


def test_every_input_has_its_checksum(folder):
    checksum_inputs.main(words(folder, folder / "train.jsonl"))
    found = {item["name"]: item for item in read_json(folder / "checksums.json")}
    assert list(found) == ["training file", "base weights, model.safetensors", "archive coco", "images of scenes"]
    assert found["training file"]["sha256"] == hashlib.sha256(b"rows").hexdigest()
    assert found["base weights, model.safetensors"]["bytes"] == 7
    assert found["archive coco"]["sha256"] == "e" * 64 and found["images of scenes"]["files"] == 1


def test_a_missing_input_is_named_and_nothing_is_written(folder):
    with pytest.raises(UserError, match=r"gone\.jsonl: no such file \(training file\)"):
        checksum_inputs.main(words(folder, folder / "gone.jsonl"))
    assert not (folder / "checksums.json").exists()
