import check_dataset
import coco_factory
import pytest

from vision_r1.files import UserError, read_json


def check(places, tmp_path, *words):
    check_dataset.main(["--source", "coco", "set", *places, *words, "--output_json", str(tmp_path / "checked.json")])
    return read_json(tmp_path / "checked.json")


def test_numbers_are_checked_and_locked(tmp_path):
    places = coco_factory.write(tmp_path)
    expected = ["--expect", "images=3", "--expect", "boxes=3", "--expect", "categories=3"]
    found = check(places, tmp_path, *expected, "--lock", str(tmp_path / "lock.json"))
    assert found == {"dataset": "set", "file": places[0], "images": 3, "boxes": 3, "categories": 3, "missing": 0}
    assert read_json(tmp_path / "lock.json") == {"datasets": {"set": {"images": 3, "boxes": 3, "categories": 3}}}
    with pytest.raises(UserError, match="annotations.json: 3 boxes, not 4; is it whole, and the right one"):
        check(places, tmp_path, "--expect", "boxes=4")
    fewer, images = coco_factory.write(tmp_path / "fewer", coco_factory.content({1: []}))
    with pytest.raises(UserError, match="lock.json: datasets.set.* is 3, but what came now has"):
        check((fewer, images), tmp_path, "--lock", str(tmp_path / "lock.json"))


def test_missing_images_are_counted_and_an_empty_folder_is_an_error(tmp_path, caplog):
    annotations, images = coco_factory.write(tmp_path)
    (tmp_path / "images/2.png").unlink()
    assert check((annotations, images), tmp_path)["missing"] == 1
    assert "1 of 3 images are missing, the first is" in caplog.text
    with pytest.raises(UserError, match="none of its 3 images is there"):
        check((annotations, str(tmp_path / "elsewhere")), tmp_path)


@pytest.mark.parametrize("text", ["pictures=3", "images", "images=many"])
def test_odd_expectations(tmp_path, text):
    with pytest.raises(SystemExit):
        check(coco_factory.write(tmp_path), tmp_path, "--expect", text)
