"""Photos and archives as found in the wild; some machines have these cases beside the repository."""

import json
from pathlib import Path

import index_images
import predict_suite
import pytest
import unpack_archive

from vision_r1.data.coco import check_images, read_coco
from vision_r1.files import UserError, read_json, read_jsonl


def indexed(case, tmp_path):
    words = ["--train", "coco", "mine", str(case / "gt.json"), str(case / "images"), "--threads", "1"]
    index_images.main([*words, "--cache", str(tmp_path / "c.sqlite"), "--output_index", str(tmp_path / "i.jsonl")])
    return read_jsonl(tmp_path / "i.jsonl")


def test_a_photo_whose_exif_data_cannot_be_written_again(cases, tmp_path):
    (line,) = indexed(cases / "11-turned-photo-odd-exif", tmp_path)
    assert (line["width"], line["height"], line["fault"]) == (48, 64, None)


def test_a_png_with_invalid_exif_data_is_read_without_it(cases, tmp_path):
    case = cases / "13-png-broken-exif-in-a-benchmark"
    dataset = read_coco("mine", case / "gt.json", case / "images")
    check_images({image.path: (image.width, image.height) for image in dataset.images})
    assert not any(line["fault"] for line in indexed(case, tmp_path))


def test_a_truncated_photo_is_refused_before_a_model_is_loaded(cases, tmp_path):
    case = cases / "37-cut-jpeg-in-a-benchmark"
    words = ["--dataset", "t", str(case / "gt.json"), str(case / "images"), "--family", "qwen2_5_vl"]
    words += ["--checkpoint", str(tmp_path / "no model"), "--min_pixels", "784", "--max_pixels", "7840"]
    words += ["--protocol", "one-prompt", json.dumps({"prompts": "all-in-one", "max_new_tokens": 8})]
    words += ["--batch_size", "2", "--dtype", "float32", "--output_predictions", str(tmp_path / "p.jsonl")]
    with pytest.raises(UserError, match=r"images/1\.jpg: not a readable image \(image file is truncated"):
        predict_suite.main(words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("case", "files"), [("31-tar-archive", {"set/1.jpg"}), ("33-zip-with-backslashes", {"set/1.jpg"})]
)
def test_an_archive_is_unpacked_whatever_its_name_and_slashes(cases, tmp_path, case, files):
    output = tmp_path / "o"
    words = [
        "--archive",
        str(cases / case / "set.zip"),
        "--output_folder",
        str(output),
        "--output_manifest",
        str(tmp_path / "m.json"),
    ]
    unpack_archive.main(words)
    assert {str(path.relative_to(output)) for path in Path(output).rglob("*") if path.is_file()} == files
    assert read_json(tmp_path / "m.json")["files"] == len(files)
