"""YOLO: the label file of each image, found by its name; and what is given in place of a file or folder of labels."""

import unicodedata

import pytest
from PIL import Image

from vision_r1.data.formats import READERS
from vision_r1.files import UserError

FOUND = "label files whose name has other case or accents than its image's"
WITHOUT = "images without a label file, taken to have no objects"
LEFT = "label files without an image, left out"


@pytest.fixture
def read(tmp_path):
    """Write images and label files, and return {image: number of boxes} and the notes."""

    def run(images, labels, folder="images"):
        for name in images:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 32)).save(tmp_path / name)
        for name in labels:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("0 0.5 0.5 0.5 0.5\n")
        (tmp_path / "data.yaml").write_text("names: [cat]")
        found = READERS["yolo"](tmp_path / "data.yaml", tmp_path / folder)
        return {image.file: len(image.boxes) for image in found.images}, dict(found.notes)

    return run


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("place", ["labels", "images"])
def test_names_with_other_case_or_accents(read, form, place):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    image, label = (unicodedata.normalize(each, "caf\u00e9/\u00fc1") for each in (form, other))
    images = [f"images/{image}.jpg", "images/A2.JPG", "images/3.jpg"]
    found, notes = read(images, [f"{place}/{label}.txt", f"{place}/a2.txt", f"{place}/3.txt"])
    assert list(found.values()) == [1, 1, 1] and notes == {FOUND: 2}


def test_names_that_several_may_mean_are_left_alone(read):
    found, notes = read(["images/a1.jpg", "images/A1.JPG", "images/b.jpg"], ["labels/a1.txt", "labels/b.txt"])
    assert found == {"A1.JPG": 0, "a1.jpg": 1, "b.jpg": 1}  # the exact name has it
    assert notes == {f"{WITHOUT}, such as A1.JPG": 1}
    found, notes = read(["images/c1.jpg"], ["labels/C1.txt", "labels/c1.TxT"])
    assert found["c1.jpg"] == 0 and notes[f"{LEFT}, such as C1.txt"] == 1


def test_labels_beside_inner_image_folders(read):
    found, notes = read(
        ["all/a/images/X.jpg", "all/a/images/y.jpg"], ["all/a/labels/x.txt", "all/a/labels/y.txt"], "all"
    )
    assert list(found.values()) == [1, 1] and notes == {FOUND: 1}


def test_a_folder_given_in_place_of_the_file_in_it(tmp_path):
    (tmp_path / "_annotations.coco.json").touch()
    with pytest.raises(UserError, match="no XML files in it; give .*/_annotations.coco.json$"):
        READERS["voc"](tmp_path, tmp_path)
    (tmp_path / "1.json").touch()  # labelme has one for each image
    with pytest.raises(UserError, match="no XML files in it; give VOC's folder, or the file of COCO, of CSV"):
        READERS["voc"](tmp_path, tmp_path)
