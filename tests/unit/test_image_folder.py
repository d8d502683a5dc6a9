"""The images of a folder: found by the names that annotations of any form give them, and by no other's."""

import unicodedata
from pathlib import Path

import coco_factory
import pytest
from label_writers import content, converted, write_csv, written
from PIL import Image

from vision_r1.data.coco import read_coco
from vision_r1.data.formats import READERS
from vision_r1.data.image_folder import ImageFolder
from vision_r1.files import UserError, read_json, write_json


@pytest.fixture
def folder(tmp_path):
    """A folder with content() in COCO format and its images in images/."""
    coco_factory.write(tmp_path, content())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/1.jpg", ["a/1.jpg"]),
        ("A\\1.JPG", ["a/1.jpg"]),
        ("1.jpg", ["a/1.jpg", "b/1.jpg"]),
        ("/home/me/b/2.png", ["b/2.png"]),
        ("2.jpg", ["b/2.png"]),
        ("2.xml", ["b/2.png"]),
        ("2", ["b/2.png"]),
        ("c.d", ["c.d.png"]),
        ("c", []),
        ("3.jpg", []),
        ("", []),
    ],
)
def test_files_are_found_by_name_or_path(tmp_path, name, found):
    for file in ("a/1.jpg", "b/1.jpg", "b/2.png", "c.d.png", "notes.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert list(ImageFolder(tmp_path).matches([name])) == found


@pytest.mark.parametrize("kind", ["csv", "voc"])
def test_one_set_of_labels_for_two_folders_with_equal_names(tmp_path, kind):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (80, 50)).save(tmp_path / f"{name}/1.jpg")
        (tmp_path / f"Ann/{name}").mkdir(parents=True)
        x = {"train": 10, "test": 20}[name]
        (tmp_path / f"Ann/{name}/1.xml").write_text(
            f"<annotation><object><name>cat</name><bndbox><xmin>{x}</xmin><ymin>5</ymin><xmax>40</xmax>"
            "<ymax>30</ymax></bndbox></object></annotation>"
        )
    lines = "filename,xmin,ymin,xmax,ymax,class\ntrain/1.jpg,10,5,40,30,cat\ntest/1.jpg,20,5,40,30,cat\n"
    (tmp_path / "all.csv").write_text(lines)
    annotations = tmp_path / {"csv": "all.csv", "voc": "Ann"}[kind]
    found = converted(kind, annotations, tmp_path / "train")
    assert [image["file_name"] for image in found["images"]] == ["1.jpg"]
    assert [item["bbox"][0] for item in found["annotations"]] == [10]


def test_images_found_by_their_name_in_another_folder_are_counted(folder):
    path = write_csv(folder, content())
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *(f"other/{line}" for line in lines[1:])]))
    notes = READERS["csv"](path, folder / "images").notes
    found = notes["images found by their name alone, as annotations name another folder"]
    assert found > 1
    path.write_text(path.read_text().replace("other/1.v1.png", "./1.v1.png"))  # no folder at all
    notes = READERS["csv"](path, folder / "images").notes
    assert notes["images found by their name alone, as annotations name another folder"] == found - 1


def test_an_absent_folder_s_names_are_not_another_folder_s_images(tmp_path):
    (tmp_path / "images/cam1").mkdir(parents=True)
    for name in ("1", "3"):
        Image.new("RGB", (80, 50)).save(tmp_path / f"images/cam1/{name}.jpg")
    lines = [f"{name},10,5,40,30,cat" for name in ("cam1/1.jpg", "cam2/3.jpg")]
    (tmp_path / "all.csv").write_text("\n".join(["filename,xmin,ymin,xmax,ymax,class", *lines]))
    found = converted("csv", tmp_path / "all.csv", tmp_path / "images")
    assert [image["file_name"] for image in found["images"]] == ["cam1/1.jpg"]


def test_an_absolute_path_into_the_folder_names_the_same_image(tmp_path):
    for name in ("a/1", "c/2"):
        (tmp_path / f"images/{name}").parent.mkdir(parents=True)
        Image.new("RGB", (80, 50)).save(tmp_path / f"images/{name}.jpg")
    table, absolute = tmp_path / "all.csv", f"{tmp_path}/images/c/2.jpg"

    def named(*names):
        lines = [f"{name},10,5,40,30,cat" for name in names]
        table.write_text("\n".join(["filename,xmin,ymin,xmax,ymax,class", *lines]))
        return [image["file_name"] for image in converted("csv", table, tmp_path / "images")["images"]]

    assert named("a/1.jpg", absolute) == ["a/1.jpg", "c/2.jpg"]
    with pytest.raises(UserError, match="are both the image c/2.jpg"):
        named("a/1.jpg", "c/2.jpg", absolute)


def test_a_label_file_in_another_folder_names_its_image_itself(tmp_path):
    for image, label in (("a/1", "a/1"), ("c/2", "b/2")):
        for place in (tmp_path / f"images/{image}.jpg", tmp_path / f"xml/{label}.xml"):
            place.parent.mkdir(parents=True)
        Image.new("RGB", (80, 50)).save(tmp_path / f"images/{image}.jpg")
        (tmp_path / f"xml/{label}.xml").write_text(
            f"<annotation><filename>{image}.jpg</filename><object><name>cat</name><bndbox><xmin>1</xmin>"
            "<ymin>5</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object></annotation>"
        )
    found = converted("voc", tmp_path / "xml", tmp_path / "images")
    assert [image["file_name"] for image in found["images"]] == ["a/1.jpg", "c/2.jpg"]


def test_names_of_several_files_and_of_none(folder):
    path, images = written("csv", folder)
    (images / "b").mkdir()
    Image.new("RGB", (64, 32)).save(images / "b/1.v1.png")
    Image.new("RGB", (64, 32)).save(images / "b/2.v1.jpg")
    path.write_text(path.read_text().replace("1.v1.png", "c/1.v1.png"))
    assert READERS["csv"](path, images).notes["images whose name several files have, left out"] == 1
    path.write_text(path.read_text().replace(".v1.png", ".v7.png"))
    with pytest.raises(UserError, match="labels.csv: none of its 3 images is in .*images, such as 'c/1.v7.png'"):
        READERS["csv"](path, images)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_as_macos_writes_them(folder, form):
    path, images = written("csv", folder)
    (images / "1.v1.png").rename(images / unicodedata.normalize(form, "caf\u00e9.png"))
    path.write_text(path.read_text().replace("1.v1.png", "caf\u00e9.png"))
    found = converted("csv", path, images)
    write_json(folder / "converted.json", found)
    assert all(Path(image.path).is_file() for image in read_coco("own", folder / "converted.json", images).images)
    for other in ("NFC", "NFD"):
        found["images"][0]["file_name"] = unicodedata.normalize(other, "caf\u00e9.png")
        write_json(folder / "converted.json", found)
        coco = read_coco("own", folder / "converted.json", images)
        assert all(Path(image.path).is_file() for image in coco.images)


def test_an_image_whose_name_can_t_be_written_is_named(folder):
    path, images = written("yolo", folder)
    Image.new("RGB", (64, 32)).save(images / "caf\udce9.png")
    with pytest.raises(UserError, match=r"the image 'caf\\udce9.png' has no UTF-8 name of one line; rename the file"):
        converted("yolo", path, images)


def test_a_name_that_can_t_be_written_does_no_harm_where_no_annotation_means_it(folder, tmp_path):
    path, images = written("csv", folder)
    Image.new("RGB", (64, 32)).save(images / "caf\udce9.png")
    write_json(tmp_path / "converted.json", converted("csv", path, images))
    moved = read_json(tmp_path / "converted.json")
    for image in moved["images"]:
        image["file_name"] = f"elsewhere/{image['file_name']}"
    write_json(tmp_path / "moved.json", moved)
    assert all(Path(image.path).is_file() for image in read_coco("own", tmp_path / "moved.json", images).images)


def test_one_image_under_two_names_is_an_error(folder):
    path, images = written("csv", folder)
    path.write_text(path.read_text() + "other/1.v1.png,64,32,circle,1,2,3,4\n")
    with pytest.raises(UserError, match=r"'1.v1.png' and 'other/1.v1.png' are both the image 1.v1.png"):
        converted("csv", path, images)


def test_images_in_linked_folders_are_found_once(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    (folder / "images/2.v1.png").rename(elsewhere / "2.v1.png")
    (folder / "images/b").symlink_to(elsewhere)
    (folder / "images/again").symlink_to(folder / "images")
    assert ImageFolder(folder / "images").files == ["1.v1.png", "3.v1.png", "b/2.v1.png"]
