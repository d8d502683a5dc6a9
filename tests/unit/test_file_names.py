"""The images of COCO files whose file_name has folders, endings or case that the image folder hasn't."""

import json

import pytest
from PIL import Image

from vision_r1.data.coco import read_coco
from vision_r1.data.image_folder import ImageFolder
from vision_r1.files import UserError

NOTE = "file names with another folder, case or ending than their files"


@pytest.fixture
def read(tmp_path):
    """Write files and a COCO file with these names; return where each name is found, None for those that aren't."""

    def run(files, names, must_exist=False):
        for file in files:
            (tmp_path / "images" / file).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (84, 84)).save(tmp_path / "images" / file)
        images = [{"id": id_, "file_name": name, "width": 84, "height": 84} for id_, name in enumerate(names)]
        path = tmp_path / "train.json"
        path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}))
        dataset = read_coco("set", path, tmp_path / "images", must_exist=must_exist)
        there = {str(tmp_path / "images" / file): file for file in files}
        return [there.get(image.path) for image in dataset.images], dict(dataset.notes)

    return run


@pytest.mark.parametrize("must_exist", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        *("../../label-studio/upload/1/{}.jpg", "..\\..\\label-studio\\upload\\1\\{}.jpg", "s3://bucket/images/{}.jpg"),
        *("/home/me/project/images/{}.jpg", "C:\\Users\\me\\images\\{}.jpg", "images\\1/{}.jpg", "{}.JPG", "{}.png"),
    ],
)
def test_found_by_name(read, name, must_exist):
    files = ["x.jpg", "y.jpg"]
    found, notes = read(files, [name.format("x"), name.format("y")], must_exist)
    assert found == files and notes[NOTE] == 2


def test_several_entries_or_files_that_may_be_meant_stay_missing(read):
    assert read(["x.jpg"], ["a/x.jpg", "b/x.jpg"]) == ([None, None], {})
    assert read(["x.jpg"], ["x.jpg", "b/x.jpg", "X.JPG", "x.png"]) == (["x.jpg", None, None, None], {})
    assert read(["c/y.jpg", "d/y.jpg"], ["y.jpg"]) == ([None], {})


def test_images_of_another_folder_stay_missing(read):
    assert read(["a/1.jpg", "a/2.jpg"], ["a/1.jpg", "b/2.jpg"]) == (["a/1.jpg", None], {})


def test_nothing_outside_of_the_folder_is_searched(read, tmp_path):
    Image.new("RGB", (84, 84)).save(tmp_path / "z.jpg")
    assert read(["x.jpg"], ["/etc/z.jpg", "other/../z.jpg"]) == ([None, None], {})


def test_an_image_outside_of_the_folder_is_counted(read, tmp_path):
    Image.new("RGB", (84, 84)).save(tmp_path / "z.jpg")
    for name in ("../z.jpg", str(tmp_path / "z.jpg")):
        assert read(["x.jpg"], ["x.jpg", name])[1] == {"images outside of the image folder": 1}
    assert read(["x.jpg"], ["../images/x.jpg"])[1] == {}


@pytest.mark.parametrize("file", ["masks/5.png", "thumbs/5.jpg", "5.png"])
def test_neither_a_mask_nor_a_thumbnail_takes_the_place_of_a_missing_image(read, file):
    assert read(["1.jpg", file], ["1.jpg", "5.jpg"]) == (["1.jpg", None], {})


@pytest.mark.parametrize("names", [["images/1.jpg", "images/5.jpg"], ["1.jpg", "images/5.jpg"]])
@pytest.mark.parametrize("file", ["masks/5.jpg", "thumbs/5.jpg"])
def test_nor_where_names_repeat_the_image_folder(read, file, names):
    assert read(["1.jpg", file], names)[0] == ["1.jpg", None]


def test_a_link_in_the_folder_is_in_it(read, tmp_path):
    read(["1.jpg"], ["1.jpg"])
    (tmp_path / "store").mkdir()
    (tmp_path / "images/1.jpg").rename(tmp_path / "store/1.jpg")
    (tmp_path / "images/1.jpg").symlink_to(tmp_path / "store/1.jpg")
    assert read([], [str(tmp_path / "images/1.jpg")])[1] == {}


def test_nor_does_a_mask_where_all_images_are_elsewhere(read):
    found, _ = read(["jpg/1.jpg", "jpg/2.jpg", "masks/5.png"], ["x/1.jpg", "x/2.jpg", "x/5.jpg"])
    assert found == ["jpg/1.jpg", "jpg/2.jpg", None]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *(("2.jpeg", "2.jpg"), ("2.rf.1f3a.jpg", "2.rf.1f3a"), ("Val/2.jpg", "val/2.jpg"), ("2.JPG", "2.jpg")),
        ("b/2.jpg", "C:\\x\\images\\b\\2.jpg"),
    ],
)
def test_found_beside_an_image_that_is_in_its_place(read, file, name):
    assert read(["1.jpg", file], ["1.jpg", name])[0] == ["1.jpg", file]


def test_others_may_be_where_the_images_are_that_have_their_places(read):
    """Some tools name a part of the images from another folder."""
    assert read(["10.jpg", "12.jpg"], ["10.jpg", "..\\label\\12.jpg"])[0] == ["10.jpg", "12.jpg"]


def test_the_working_directory_is_not_searched(read, tmp_path, monkeypatch):
    """A selection split names images of several folders by their whole paths."""
    read(["x.jpg"], ["a/x.jpg"])
    monkeypatch.chdir(tmp_path)
    dataset = read_coco("set", "train.json", ".", must_exist=False)
    assert dataset.images[0].path == "a/x.jpg" and not dataset.notes


def test_a_missing_image_is_named_with_the_remedy(read):
    with pytest.raises(UserError, match=r"b/2.jpg: no such image; .*train.json lists it as image 1; set file_name to "):
        read(["1.jpg"], ["1.jpg", "b/2.jpg"], must_exist=True)


def test_the_folder_is_searched_only_for_missing_images(read, monkeypatch):
    monkeypatch.setattr(ImageFolder, "__init__", lambda *_: pytest.fail("searched"))
    for must_exist in (True, False):
        assert read(["1.jpg", "a/2.jpg"], ["1.jpg", "a/2.jpg"], must_exist) == (["1.jpg", "a/2.jpg"], {})
