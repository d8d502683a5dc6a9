import check_dataset
import coco_factory
import pytest

from vision_r1.files import UserError, read_json


def check(places, tmp_path, *words):
    check_dataset.main(["--source", "coco", "set", *places, *words, "--output_json", str(tmp_path / "checked.json")])
    return read_json(tmp_path / "checked.json")


def test_one_data_set_is_checked(tmp_path, capsys):
    with pytest.raises(UserError, match="--source: give one data set, and only one"):
        check(coco_factory.write(tmp_path), tmp_path, "--source", "coco", "other", *coco_factory.write(tmp_path / "b"))
    with pytest.raises(SystemExit):
        check_dataset.main(["--output_json", str(tmp_path / "checked.json")])
    assert "required: --source" in capsys.readouterr().err


def test_numbers_are_checked_and_locked(tmp_path):
    places = coco_factory.write(tmp_path)
    expected = ["--expect", "images=3", "--expect", "boxes=3", "--expect", "categories=3"]
    found = check(places, tmp_path, *expected, "--lock", str(tmp_path / "lock.json"))
    numbers = {"images": 3, "boxes": 3, "categories": 3}
    assert found == {"dataset": "set", "file": places[0], **numbers, "missing": 0, "odd": {}, "read_as_meant": {}}
    assert read_json(tmp_path / "lock.json") == {"datasets": {"set": numbers}}
    with pytest.raises(UserError, match="annotations.json: 3 boxes, not 4; is it whole, and the right one"):
        check(places, tmp_path, "--expect", "boxes=4")
    fewer, images = coco_factory.write(tmp_path / "fewer", coco_factory.content({1: []}))
    with pytest.raises(UserError, match="lock.json: datasets.set.* is 3, but the download now has"):
        check((fewer, images), tmp_path, "--lock", str(tmp_path / "lock.json"))


def test_missing_images_are_counted_and_an_empty_folder_is_an_error(tmp_path, caplog):
    annotations, images = coco_factory.write(tmp_path)
    (tmp_path / "images/2.png").unlink()
    assert check((annotations, images), tmp_path)["missing"] == 1
    assert "1 of 3 images are missing, the first is" in caplog.text
    with pytest.raises(UserError, match="none of its 3 images is there"):
        check((annotations, str(tmp_path / "elsewhere")), tmp_path)


@pytest.mark.parametrize("text", ["pictures=3", "images", "images=many"])
def test_invalid_expectations(tmp_path, text):
    with pytest.raises(SystemExit):
        check(coco_factory.write(tmp_path), tmp_path, "--expect", text)


BOX = [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("boxes", "odd", "warning"),
    [
        ([BOX, BOX, [5, 5, 0, 12]], {"no_area": 1}, "1 of 3 boxes has no area, so it can't be found"),
        ([BOX, BOX, [5, 5, 9, -2]], {"no_area": 1}, "1 of 3 boxes has no area, so it can't be found"),
        ([BOX, BOX, [60, 5, 27, 10]], {"outside": 1}, "1 of 3 boxes ends outside of its image"),
        ([BOX, BOX, [60, 5, 24.5, 10]], {}, None),  # half a pixel over the edge
        ([BOX, BOX, [0.1, 0.2, 0.3, 0.4]], {"shares": 1}, "1 of 3 boxes lies in the first two pixels; are they shares"),
        ([BOX, BOX, [-20, 5, 10, 10]], {"outside": 1}, "1 of 3 boxes ends outside of its image"),
    ],
)
def test_a_few_suspicious_boxes_are_counted_with_a_warning(tmp_path, caplog, boxes, odd, warning):
    places = coco_factory.write(tmp_path, coco_factory.content({1: [(1, box) for box in boxes]}))
    assert check(places, tmp_path)["odd"] == odd
    assert (warning or "") in caplog.text and bool(caplog.messages) == bool(warning)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[21, 18, 81, 62], [44, 18, 74, 80], BOX], "2 of 3 boxes end outside of their image; are they x1 y1 x2 y2"),
        ([[0.1, 0.2, 0.3, 0.4]] * 2, "2 of 2 boxes lie in the first two pixels; are they shares of the image"),
        ([[5, 5, 0, 12]], "1 of 1 boxes has no area"),
    ],
)
def test_a_file_of_suspicious_boxes_is_refused(tmp_path, boxes, message):
    places = coco_factory.write(tmp_path, coco_factory.content({1: [(1, box) for box in boxes]}))
    with pytest.raises(UserError, match=f"annotations.json: {message}"):
        check(places, tmp_path)
    assert not (tmp_path / "checked.json").exists()
