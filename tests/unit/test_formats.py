"""VOC, YOLO and CSV: the same labels in every format, and errors in one line."""

import shutil
from pathlib import Path

import coco_factory
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_writers import NAMES, boxes_of, content, converted, written
from PIL import Image

from vision_r1.data.formats import READERS
from vision_r1.data.formats.labelled import Labelled, LabelledImage, as_coco
from vision_r1.files import UserError


@pytest.fixture
def folder(tmp_path):
    """A folder with content() in COCO format and its images in images/."""
    coco_factory.write(tmp_path, content())
    return tmp_path


@pytest.mark.parametrize("kind", READERS)
def test_round_trip(folder, kind):
    found = converted(kind, *written(kind, folder))
    assert boxes_of(found) == boxes_of(content())
    assert [(image["width"], image["height"]) for image in found["images"]] == [(64, 32)] * 3
    assert {each["name"] for each in found["categories"]} == set(NAMES)
    assert found["info"]["boxes_of_category"] == dict.fromkeys(sorted(NAMES) if kind != "yolo" else NAMES, 1)
    assert (found["info"]["images"], found["info"]["images_without_boxes"], found["info"]["notes"]) == (3, 1, {})


def test_missing_sizes_are_read_from_the_files(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (32, 64)).save(folder / "images/1.v1.png", exif=exif)
    found = converted("voc", *written("voc", folder, size=False))
    assert [(image["width"], image["height"]) for image in found["images"]] == [(64, 32)] * 3
    assert found["info"]["notes"] == {"images without width and height": 3}
    found = converted("yolo", *written("yolo", folder))
    assert boxes_of(found) == boxes_of(content())


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_with_other_separators_and_names(folder, delimiter):
    path, images = written("csv", folder, delimiter=delimiter)
    text = path.read_text().replace("filename", "Image_Path").replace("class", "label").replace("xmin", "x1")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert boxes_of(converted("csv", path, images)) == boxes_of(content())


def test_the_first_line_that_excel_adds_names_the_delimiter(folder):
    path, images = written("csv", folder, delimiter=";")
    path.write_text("sep=;\n" + path.read_text())
    assert boxes_of(converted("csv", path, images)) == boxes_of(content())
    path.write_text(path.read_text() + "1.png;circle;1;1\n")
    last = len(path.read_text().splitlines())
    with pytest.raises(UserError, match=f"line {last}: "):
        converted("csv", path, images)


def test_labels_beside_their_images_and_names_in_a_text_file(folder):
    _, images = written("yolo", folder)
    for label in (folder / "labels").iterdir():
        label.rename(images / label.name)
    (folder / "labels").rmdir()
    (images / "classes.txt").write_text("\n".join(NAMES) + "\n")
    assert boxes_of(converted("yolo", images / "classes.txt", images)) == boxes_of(content())


def test_polygons_and_keypoints_become_boxes(folder):
    path, images = written("yolo", folder)
    (folder / "labels/3.v1.txt").write_text("0 0.25 0.5 0.75 0.25 0.5 1\n")
    assert boxes_of(converted("yolo", path, images))["3.v1.png"] == [("circle", [16, 8, 48, 32])]
    path.write_text(path.read_text() + "kpt_shape: [2, 2]\n")
    for keypoints in ("0.1 0.1 0.9 0.9", "0.1 0.1 2 0.9 0.9 0"):  # without visibility, and with
        (folder / "labels/3.v1.txt").write_text(f"0 0.5 0.5 0.25 0.5 {keypoints}\n")
        assert boxes_of(converted("yolo", path, images))["3.v1.png"] == [("circle", [24, 8, 40, 24])]
    (folder / "labels/3.v1.txt").write_text("0 0.5 0.5\n")
    with pytest.raises(UserError, match="line 1: 3 numbers; a box is class, x, y, width, height"):
        converted("yolo", path, images)


def test_an_empty_line_among_the_names_would_shift_the_classes(folder):
    _, images = written("yolo", folder)
    (images / "classes.txt").write_text("circle\n\nsquare\n")
    with pytest.raises(UserError, match="classes.txt: line 2 is empty"):
        converted("yolo", images / "classes.txt", images)


def test_unmatched_files_are_counted(folder):
    path, images = written("voc", folder)
    Image.new("RGB", (64, 32)).save(images / "4.png")
    (images / "2.v1.png").unlink()
    found = converted("voc", path, images)
    assert [image["file_name"] for image in found["images"]] == ["1.v1.png", "3.v1.png"]
    assert found["info"]["notes"] == {
        "images that are not in the folder, left out": 1,
        "image files that no annotation names, left out": 1,
    }
    path, images = written("yolo", folder)
    (folder / "labels/3.v1.txt").unlink()
    assert converted("yolo", path, images)["info"]["notes"] == {
        "images without a label file, taken to have no objects, such as 3.v1.png": 2,  # 3 and 4
        "label files without an image, left out, such as 2.v1.txt": 1,
    }


def test_an_image_that_can_t_be_read_has_no_size(folder):
    (folder / "images/1.v1.png").write_text("no image")
    found = converted("yolo", *written("yolo", folder))
    assert list(boxes_of(found)) == ["2.v1.png", "3.v1.png"]
    assert found["info"]["notes"]["images that can't be read"] == 1


def test_label_files_with_upper_case_endings(folder):
    for kind in ("voc", "yolo"):
        annotations, images = written(kind, folder)
        for path in [*folder.rglob("*.txt"), *folder.rglob("*.xml")]:
            if path != annotations and path.name not in ("classes.txt", "labels.csv"):
                path.rename(path.with_suffix(path.suffix.upper()))
        assert boxes_of(converted(kind, annotations, images)) == boxes_of(content())


def test_what_macos_keeps_of_files_is_left_out(folder):
    annotations, images = written("voc", folder)
    for place in (annotations / "._1.xml", images / "._1.png"):
        place.write_bytes(b"\x00\x05\x16\x07")
    assert boxes_of(converted("voc", annotations, images)) == boxes_of(content())


def test_copies_in_hidden_folders_are_left_out(folder):
    voc, yolo = (written(kind, folder) for kind in ("voc", "yolo"))
    for place in (folder / "images/1.v1.png", *folder.rglob("1.v1.xml")):
        for copies in (".ipynb_checkpoints", *([".thumbnails"] if place.suffix == ".png" else [])):
            (place.parent / copies).mkdir()
            shutil.copy(place, place.parent / copies / f"1-checkpoint{place.suffix}")
    for kind, (annotations, images) in (("voc", voc), ("yolo", yolo)):
        assert boxes_of(converted(kind, annotations, images)) == boxes_of(content())


def test_hidden_folders_that_a_table_names_are_read(folder):
    path, images = written("csv", folder)
    (images / ".frames").mkdir()
    (images / "1.v1.png").rename(images / ".frames/1.v1.png")
    path.write_text(path.read_text().replace("1.v1.png", ".frames/1.v1.png"))
    assert ".frames/1.v1.png" in boxes_of(converted("csv", path, images))


def test_cvats_own_xml_is_not_voc(folder):
    path, images = written("voc", folder)
    (path / "3.v1.xml").write_text("<annotations><image name='3.v1.png'/></annotations>")
    with pytest.raises(UserError, match=r"3.v1.xml: begins with <annotations>, VOC with <annotation>; export it as"):
        converted("voc", path, images)
    with pytest.raises(UserError, match=r"3.v1.xml: a file; VOC has a folder"):
        converted("voc", path / "3.v1.xml", images)


BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "has a DOCTYPE"),
        (f'<?xml version="1.0" encoding="UTF-16"?>{BOMB}'.encode("utf-16"), "has a DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "has a DOCTYPE"),
        ("<annotation>", "not valid XML"),
        ("", "not valid XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "not valid XML"),
        ("<annotation>&b;</annotation>", "not valid XML"),
        ("<annotation><object><name> </name></object></annotation>", "object 1 has no name"),
        ("<annotation><object><name>a</name></object></annotation>", r"object 1 \(a\): bndbox does not have the num"),
        (
            "<annotation><object><name>a</name><bndbox><xmin>1</xmin><ymin>NaN</ymin><xmax>3</xmax><ymax>4</ymax>"
            "</bndbox></object></annotation>",
            r"object 1 \(a\): bndbox does not have the numbers",
        ),
    ],
)
def test_invalid_xml_is_reported_in_one_line(folder, text, message):
    path, images = written("voc", folder)
    (path / "2.v1.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=rf"2.v1.xml: {message}") as error:
        converted("voc", path, images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "4 numbers; a box is class, x, y, width, height"),
        ("0 0.5 0.5 0.1 0.1 0.99", "6 numbers; a box is class"),
        ("circle 0.5 0.5 0.1 0.1", "not numbers: 'circle"),
        ("3 0.5 0.5 0.1 0.1", "class 3, but there are 3 names, counted from 0"),
        ("-1 0.5 0.5 0.1 0.1", "class -1, but"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5, but"),
        ("0 32 16 8 8", "not shares of the image in 0..1: 32 16 8 8$"),
        ("0 0.5 0.5 0.1 0.1 0.5 0.5 2", "not shares .*; a line with keypoints needs kpt_shape in data.yaml"),
        ("0 nan 0.5 0.1 0.1", "not numbers: '0 nan"),
        ("0 0_1 0.5 0.1 0.1", "not numbers: '0 0_1"),
    ],
)
def test_invalid_label_lines_are_named(folder, line, message):
    path, images = written("yolo", folder)
    (folder / "labels/2.v1.txt").write_text(f"\n1 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(UserError, match=f"2.v1.txt: line 3: {message}"):
        converted("yolo", path, images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a", "not valid YAML"),
        ("nc: 3", "`names` is neither a list of class names"),
        ("names: []", "`names` is neither a list of class names"),
        ("names: {1: a, 2: b}", "`names` is neither a list of class names nor a mapping from 0 on"),
        ("names: [a, a]", "`names` has a name twice: 'a'"),
        ("names: [a, b]\nnc: 3", "nc is 3, but `names` has 2"),
        ("names: [a, b]\nnc: [2]", "nc is ..2.., but `names` has 2"),
        ("!!python/object/apply:os.system [ls]", "not a mapping"),
    ],
)
def test_invalid_class_names(folder, text, message):
    path, images = written("yolo", folder)
    path.write_text(text)
    with pytest.raises(UserError, match=f"data.yaml: {message}") as error:
        converted("yolo", path, images)
    assert "\n" not in str(error.value)


def test_class_names_by_number(folder):
    path, images = written("yolo", folder)
    path.write_text("names: {1: square, 0: circle, 2: a & b <c>}")
    assert boxes_of(converted("yolo", path, images)) == boxes_of(content())


def test_class_names_are_the_texts_that_are_there(folder):
    path, images = written("yolo", folder)
    path.write_text("nc: '8'\nnames: [no, 010, 1:30, 1e3, 2024-01-02, null, 1.50, 'yes']")
    assert READERS["yolo"](path, images).names == ["no", "010", "1:30", "1e3", "2024-01-02", "null", "1.50", "yes"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2.v1.png,64,32,square,0,0,64", "line 5: not numbers: xmin '0', ymin '0', xmax '64', ymax ''"),
        ("2.v1.png,64,32,square,0,0,inf,4", "line 5: not numbers"),
        ("2.v1.png,64,32,square,0,0,6_4,4", "line 5: not numbers"),
        ("2.v1.png,64,32,square,0,0,1e300,4", "line 5: not numbers"),
        ("2.v1.png,64,32,,0,0,64,4", "line 5: no class"),
        (",64,32,square,0,0,64,4", "line 5: no file name"),
        (
            "2.v1.png,64,32,square,0,0,64,4,big",
            "line 5: 9 fields, but 8 columns; put a text with the delimiter into quotes",
        ),
        ("2.v1.png,65,32,square,0,0,64,4", "line 5: 2.v1.png is 65 x 32 here"),
        ('"2.v1.png,64', r"line \d: not CSV .unexpected end of data"),
    ],
)
def test_invalid_lines_of_a_table_are_named(folder, line, message):
    path, images = written("csv", folder)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], line, *lines[4:]]))
    with pytest.raises(UserError, match=f"labels.csv: {message}"):
        converted("csv", path, images)


def test_a_column_that_is_there_twice_is_named(folder):
    path, images = written("csv", folder)
    path.write_text(path.read_text().replace("xmax", "xmin", 1))
    with pytest.raises(UserError, match="labels.csv: line 1: no column xmax"):
        converted("csv", path, images)
    path.write_text(path.read_text().replace("ymin", "xmax", 1).replace("width", "ymin", 1))
    with pytest.raises(UserError, match="labels.csv: line 1: two columns xmin; rename the one that doesn't count"):
        converted("csv", path, images)


@pytest.mark.parametrize("text", ["", "1.png,1,2,3,4,circle\n"])
def test_a_table_without_a_header(folder, text):
    path, images = written("csv", folder)
    path.write_text(text)
    with pytest.raises(UserError, match="labels.csv: line 1: no column filename or file_name"):
        converted("csv", path, images)


@pytest.mark.parametrize(
    ("kind", "annotations", "images", "message"),
    [
        ("voc", "nothing", "images", "no XML files in it"),
        ("csv", "labels.csv", "nowhere", "no such image folder"),
        ("csv", "labels.csv", "nothing", "no images in it"),
        ("yolo", "nothing", "images", "nothing: a folder; give the file with the names of the classes"),
        ("yolo", "data.yaml", "images", r"no label files \(.*/labels/\*.txt, .*/images/\*.txt\)"),
    ],
)
def test_nothing_to_convert(folder, kind, annotations, images, message):
    (folder / "nothing").mkdir()
    written("csv", folder)
    (folder / "data.yaml").write_text("names: [circle]")
    with pytest.raises(UserError, match=message):
        converted(kind, folder / annotations, folder / images)


def test_implausible_boxes_are_refused_as_in_a_data_set(folder):
    path, images = written("csv", folder)
    path.write_text("filename,class,xmin,ymin,xmax,ymax\n1.v1.png,circle,0.1,0.2,0.3,0.4\n")
    with pytest.raises(UserError, match="labels.csv: 1 of 1 boxes lies in the first two pixels; are they shares"):
        converted("csv", path, images)
    with pytest.raises(UserError, match="2 images and no box in them"):
        as_coco(Path("labels.csv"), Labelled([], [LabelledImage("1.png", 64, 32, ())] * 2))
    with pytest.raises(UserError, match="category 0: name 'two\\\\nlines'"):
        as_coco(Path("x"), Labelled(["two\nlines"], [LabelledImage("1.png", 64, 32, (("two\nlines", (1, 2, 3, 4)),))]))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_as_a_table_is_read_or_refused_in_one_line(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("table")
    Image.new("RGB", (64, 32)).save(folder / "1.png")
    path = folder / "labels.csv"
    path.write_text(
        "filename,class,xmin,ymin,xmax,ymax\n1.png,a,1,2,30,20\n" + text, encoding="utf-8", errors="replace"
    )
    try:
        assert converted("csv", path, folder)["images"]
    except UserError as error:
        assert str(error).startswith(str(path))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("classes.txt", "cat\ndog\ncat\n", "it has a name twice: 'cat'"),
        ("data.yaml", "names: [cat, dog, cat]", "`names` has a name twice: 'cat'"),
        ("train.txt", "./images/1.jpg\n./images/2.jpg", "'./images/1.jpg' is not a class name; give the file of class"),
        ("obj.data", "classes = 2\ntrain = data/train.txt\n", "'classes = 2' is not a class name"),
    ],
)
def test_class_names_that_would_be_merged_or_changed(folder, file, text, message):
    _, images = written("yolo", folder)
    (folder / file).write_text(text)
    with pytest.raises(UserError, match=f"{file}: {message}"):
        READERS["yolo"](folder / file, images)


def test_a_table_with_the_sizes_of_boxes_and_of_images(folder):
    path, images = written("csv", folder)
    head, *lines = path.read_text().splitlines()
    sized = [f"{head},image_width,image_height", *(f"{line},64.0,32.5" for line in lines)]
    path.write_text("\n".join(line.replace(",64,32,", ",9,9,", 1) for line in sized))
    assert boxes_of(converted("csv", path, images)) == boxes_of(content())
