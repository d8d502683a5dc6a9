"""From annotations in other formats to a checked data set: the program, and real photographs in two formats."""

import check_dataset
import coco_factory
import convert_annotations
import pytest
from label_writers import boxes_of, content, write_csv, write_voc, write_yolo

from vision_r1.files import UserError, read_json


def convert(kind, annotations, images, output):
    words = ["--format", kind, "--annotations", str(annotations), "--images", str(images), "--output_json", str(output)]
    convert_annotations.main(words)
    return read_json(output)


def check(annotations, images, output):
    check_dataset.main(["--source", "coco", "set", str(annotations), str(images), "--output_json", str(output)])
    return read_json(output)


def test_every_format_becomes_a_data_set(tmp_path):
    coco_factory.write(tmp_path, content())
    images = tmp_path / "images"
    places = {
        "voc": write_voc(tmp_path / "xml", content()),
        "yolo": write_yolo(tmp_path, content(), images),
        "csv": write_csv(tmp_path, content()),
    }
    for kind, annotations in places.items():
        found = convert(kind, annotations, images, tmp_path / f"{kind}.json")
        assert boxes_of(found) == boxes_of(content())
        checked = check(tmp_path / f"{kind}.json", images, tmp_path / "checked.json")
        assert (checked["images"], checked["boxes"], checked["categories"], checked["missing"]) == (3, 3, 3, 0)
        assert not checked["odd"] and not checked["read_as_meant"]


def test_invalid_input_leaves_no_file(tmp_path):
    coco_factory.write(tmp_path, content())
    path = write_csv(tmp_path, content())
    path.write_text(path.read_text().replace("circle", ""))
    with pytest.raises(UserError, match="labels.csv: line 2: no class"):
        convert("csv", path, tmp_path / "images", tmp_path / "out.json")
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        convert("voc", tmp_path / "nowhere", tmp_path / "images", tmp_path / "out.json")
    with pytest.raises(UserError, match="--output_json .*labels.csv: would replace --annotations"):
        convert("csv", path, tmp_path / "images", path)
    voc = write_voc(tmp_path / "xml", content())
    with pytest.raises(UserError, match="--output_json .*1.xml: give a name that ends in .json"):
        convert("voc", voc, tmp_path / "images", voc / "1.xml")
    assert not (tmp_path / "out.json").exists()


def test_images_that_are_left_out_are_reported(tmp_path, caplog):
    coco_factory.write(tmp_path, content())
    annotations = write_voc(tmp_path / "xml", content())
    (annotations / "3.v1.xml").unlink()
    convert("voc", annotations, tmp_path / "images", tmp_path / "out.json")
    assert "image files that no annotation names, left out: 1" in caplog.text


@pytest.mark.parametrize(("kind", "annotations"), [("voc", "annotations"), ("csv", "raccoon_labels.csv")])
def test_real_photographs(root, tmp_path, kind, annotations):
    folder = root.parent / "shared/data/raccoon"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/raccoon")
    found = convert(kind, folder / annotations, folder / "images", tmp_path / "all.json")
    assert boxes_of(found) == boxes_of(read_json(folder / "all.json"))
    checked = check(tmp_path / "all.json", folder / "images", tmp_path / "checked.json")
    assert (checked["images"], checked["boxes"], checked["categories"], checked["missing"]) == (200, 217, 1, 0)
