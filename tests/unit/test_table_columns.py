"""CSV: which columns have the class and the image, where several may."""

import pytest
from label_writers import boxes_of, converted
from PIL import Image

from vision_r1.data.formats import READERS
from vision_r1.files import UserError


@pytest.fixture
def table(tmp_path):
    """Write a table, and return what a reader takes: the table, and an image folder with 1.jpg and 2.jpg."""
    for name in ("1", "2"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (200, 150)).save(tmp_path / f"images/{name}.jpg")

    def write(*lines, images="images"):
        (tmp_path / "labels.csv").write_text("\n".join(lines))
        return tmp_path / "labels.csv", tmp_path / images

    return write


@pytest.mark.parametrize(
    ("header", "cells", "note"),
    [
        (
            "confidence,class,name",
            "0.9,0,cat",
            "class names from column name, as class has none",
        ),  # YOLOv5's pandas
        ("label,class_name", "0,cat", "class names from column class_name, as label has none"),
        ("class,label", ",cat", "class names from column label, as class has none"),
        ("class,name", "cat,7", None),
        ("class,name", "cat,photographer", None),
        ("label_name", "cat", None),
    ],
)
def test_names_count_before_numbers_of_classes(table, header, cells, note):
    places = table(f"image_name,xmin,ymin,xmax,ymax,{header}", *(f"{name}.jpg,20,20,120,90,{cells}" for name in "12"))
    found = converted("csv", *places)
    assert found["info"]["boxes_of_category"] == {"cat": 2}
    assert found["info"]["notes"] == ({note: 1} if note else {})


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("name", ["0,Anna", "1,Bob", "0,Bob"]),
        ("name", ["0,1.jpg", "0,2.jpg", "0,3.jpg"]),
        ("category", ["0,", "1,a"]),
        ("category", ["0,animal", "1,animal", "2,vehicle"]),
    ],
)
def test_a_column_that_does_not_name_each_class_is_another_matter(table, column, cells):
    places = table(f"filename,xmin,ymin,xmax,ymax,class,{column}", *(f"1.jpg,20,20,120,90,{each}" for each in cells))
    found = converted("csv", *places)
    assert [label for label, _ in boxes_of(found)["1.jpg"]] == [each[0] for each in cells]
    assert found["info"]["notes"][f"classes that stay numbers, as column {column} has no name for each"] == 1


def test_names_in_other_case_are_one_class_s_name(table):
    places = table("filename,xmin,ymin,xmax,ymax,class,name", "1.jpg,2,2,9,9,0,cat", "2.jpg,2,2,9,9,0,Cat")
    assert converted("csv", *places)["info"]["boxes_of_category"] == {"Cat": 1, "cat": 1}


def test_classes_that_have_only_numbers_keep_them(table):
    places = table("filename,label,class_name,xmin,ymin,xmax,ymax", "1.jpg,3,4,20,20,120,90")
    assert boxes_of(converted("csv", *places)) == {"1.jpg": [("3", [20, 20, 120, 90])]}
    assert "as label has none" not in str(READERS["csv"](*places).notes)


@pytest.mark.parametrize(
    ("column", "place"),
    [("path", "C:\\d\\{}\\1.jpg"), ("image_path", "/d/{}/1.jpg"), ("folder", "{}"), ("dir", "d/{}/")],
)
def test_images_of_one_name_are_told_apart_by_their_folders(table, tmp_path, column, place):
    for folder in ("train", "valid"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (200, 150)).save(tmp_path / f"{folder}/1.jpg")
    lines = [f"1.jpg,{place.format('train')},cat,20,20,120,90", f"1.jpg,{place.format('valid')},dog,50,50,60,60"]
    for folder, box in (("train", ("cat", [20, 20, 120, 90])), ("valid", ("dog", [50, 50, 60, 60]))):
        places = table(f"filename,{column},class,xmin,ymin,xmax,ymax", *lines, images=folder)
        found = converted("csv", *places)
        assert boxes_of(found) == {"1.jpg": [box]}
        assert found["info"]["notes"] == {"images that are not in the folder, left out": 1}


@pytest.mark.parametrize("place", ["/home/me/other/{}.jpg", "other", "IMG_{}.jpg", ""])
def test_folders_do_not_count_where_names_are_enough(table, place):
    lines = [f"{name}.jpg,{place.format(name)},cat,20,20,120,90" for name in "121"]
    found = converted("csv", *table("filename,path,class,xmin,ymin,xmax,ymax", *lines))
    assert [len(boxes) for boxes in boxes_of(found).values()] == [2, 1] and found["info"]["notes"] == {}


@pytest.mark.parametrize("places", [("", "images"), ("Images", "images"), ("images", "")])
def test_a_place_that_is_missing_or_in_other_case_is_the_same(table, places):
    lines = [f"1.jpg,{place},cat,20,20,120,90" for place in places]
    assert len(boxes_of(converted("csv", *table("filename,folder,class,xmin,ymin,xmax,ymax", *lines)))["1.jpg"]) == 2


def test_two_places_of_one_image_are_refused_with_the_remedy(table):
    """They may as well be two images, of training and test, of which the folder has one."""
    lines = [f"1.jpg,{place},cat,20,20,120,90" for place in ("C:\\ann\\1.jpg", "D:\\bob\\1.jpg")]
    with pytest.raises(UserError, match="are both the image 1.jpg; .*in CSV, remove a column that has other folders"):
        READERS["csv"](*table("filename,path,class,xmin,ymin,xmax,ymax", *lines))


def test_a_folder_finds_an_image_whose_name_several_have(table, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / f"images/{folder}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 150)).save(tmp_path / f"images/{folder}/3.jpg")
    places = table("filename,folder,class,xmin,ymin,xmax,ymax", "3.jpg,b,cat,20,20,120,90", "1.jpg,,cat,20,20,120,90")
    assert sorted(boxes_of(converted("csv", *places))) == ["1.jpg", "b/3.jpg"]


def test_a_path_may_have_the_ending_that_the_name_lacks(table):
    lines = [f"1,/d/{folder}/1.jpg,cat,20,20,120,90" for folder in ("images", "other")]
    found = converted("csv", *table("image,path,class,xmin,ymin,xmax,ymax", *lines))
    assert [len(boxes) for boxes in boxes_of(found).values()] == [1]


def test_quotation_marks_after_a_space(table):
    found = converted("csv", *table("filename, class, xmin, ymin, xmax, ymax", '1.jpg, "cat, big", 20, 20, 120, 90'))
    assert boxes_of(found) == {"1.jpg": [("cat, big", [20, 20, 120, 90])]}
