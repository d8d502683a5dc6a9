"""Annotation files of other tools: their peculiarities are read as meant, counted and logged."""

import codecs
import copy
import gzip
import json
from collections import Counter

import coco_factory
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import JSON
from PIL import Image

from vision_r1.data.coco import read_coco
from vision_r1.data.reading import any_number, flag, whole_number
from vision_r1.files import UserError


def written(tmp_path, coco):
    annotations, images = coco_factory.write(tmp_path)
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    return annotations, images


def each(coco, section, key, change):
    for entry in coco[section]:
        entry[key] = change(entry[key])


def whole_as_float(coco):
    for section, key in (("images", "id"), ("images", "width"), ("annotations", "image_id"), ("categories", "id")):
        each(coco, section, key, float)


def ids_as_text(coco):
    each(coco, "images", "id", lambda number: f"{number:04d}")
    each(coco, "annotations", "image_id", str)


def boxes_as_text(coco):
    each(coco, "annotations", "bbox", lambda box: [f"{value:.2f}" for value in box])
    each(coco, "annotations", "area", str)


def null_flags(coco):
    each(coco, "annotations", "iscrowd", lambda value: None)


def text_flags(coco):
    coco["annotations"][0]["iscrowd"] = "0"
    coco["annotations"][1]["iscrowd"] = "false"


def ids_twice(coco):
    each(coco, "annotations", "id", lambda number: 4040)


def no_ids(coco):
    for entry in coco["annotations"]:
        del entry["id"]


def records_twice(coco):
    coco["images"].append(dict(coco["images"][0]))
    coco["categories"].append(dict(coco["categories"][0]))


def no_sizes(coco):
    for entry in coco["images"]:
        del entry["width"], entry["height"]


def sizes_of_0(coco):
    for entry, size in zip(coco["images"], ((0, 0), (84, 0), (None, 84)), strict=True):
        entry["width"], entry["height"] = size


def areas_of_nothing(coco):
    for entry, area in zip(coco["annotations"], (-1, 0, None), strict=True):
        entry["area"] = area


def backslashes(coco):
    each(coco, "images", "file_name", lambda name: f".\\{name}")


def folder_twice(coco):
    each(coco, "images", "file_name", lambda name: f"images/{name}")


def both(coco):
    each(coco, "images", "file_name", lambda name: f"images\\{name}")


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        (whole_as_float, {"whole numbers written as 1.0": 12}),
        (ids_as_text, {"numbers written as text": 6}),
        (boxes_as_text, {"numbers written as text": 15}),
        (null_flags, {"flags that are null": 3}),
        (text_flags, {"numbers written as text": 1, "flags written as text": 1}),
        (ids_twice, {"annotations with an id that was used before": 2}),
        (no_ids, {"annotations without an id": 3}),
        (records_twice, {"images listed twice": 1, "categories listed twice": 1}),
        (no_sizes, {"images without width and height": 3}),
        (sizes_of_0, {"images without width and height": 3}),
        (areas_of_nothing, {"areas of 0 or less, taken from the box": 2}),
        (backslashes, {"file names with backslashes": 3}),
        (folder_twice, {"file names that repeat the image folder": 3}),
        (both, {"file names with backslashes": 3, "file names that repeat the image folder": 3}),
    ],
)
def test_read_as_meant_and_counted(tmp_path, caplog, change, notes):
    plain = read_coco("set", *coco_factory.write(tmp_path))
    assert not plain.notes and not caplog.records
    coco = copy.deepcopy(coco_factory.content())
    change(coco)
    dataset = read_coco("set", *written(tmp_path, coco))
    assert (dataset.images, dataset.categories) == (plain.images, plain.categories)
    assert dataset.notes == notes
    (line,) = caplog.messages
    assert all(f"{what}: {count}" in line for what, count in notes.items())


@pytest.mark.parametrize(
    "wrap",
    [lambda text: codecs.BOM_UTF8 + text, gzip.compress, lambda text: gzip.compress(codecs.BOM_UTF8 + text)],
)
def test_byte_order_mark_and_gzip(tmp_path, wrap):
    annotations, images = coco_factory.write(tmp_path)
    plain = read_coco("set", annotations, images)
    path = tmp_path / "annotations.json"
    path.write_bytes(wrap(path.read_bytes()))
    assert read_coco("set", annotations, images) == plain
    path.write_bytes(gzip.compress(b"[" * 1000)[:-9])
    with pytest.raises(UserError, match="damaged gzip data"):
        read_coco("set", annotations)


def test_names_may_be_numbers(tmp_path):
    coco = coco_factory.content()
    coco["categories"][1] |= {"name": 7, "supercategory": 0}
    dataset = read_coco("set", *written(tmp_path, coco))
    assert dataset.categories == {1: "circle", 2: "7", 3: "triangle"}
    assert dataset.notes == {"texts written as numbers": 2}


@pytest.mark.parametrize("box", [None, [], "absent"])
def test_boxes_that_are_missing_are_those_around_their_polygons(tmp_path, box):
    coco = coco_factory.content()
    for entry in coco["annotations"]:
        entry["segmentation"] = [[10, 20, 40, 25, 12, 30.5], [5, 60, 6, 50]]
    coco["annotations"][1]["bbox"] = box
    if box == "absent":
        del coco["annotations"][1]["bbox"]
    dataset = read_coco("set", *written(tmp_path, coco))
    assert dataset.images[0].objects[0].bbox == (10, 20, 30, 40)
    assert dataset.images[0].objects[1].bbox == (5, 20, 35, 40)
    assert dataset.notes == {"boxes taken from polygons": 1}
    polygons = (
        [],
        None,
        [[]],
        [[1, 2, 3]],
        [[1, 2, 3, 4], [5]],
        [["1", 2]],
        [1, 2],
        {"counts": "ab", "size": [84, 84]},
        [[1, float("nan")]],
    )
    for coco["annotations"][1]["segmentation"] in polygons:
        with pytest.raises(UserError, match="annotation 2 of image 1 .* has neither a bbox nor polygons"):
            read_coco("set", *written(tmp_path, coco))


def test_errors_are_named_even_if_other_values_are_read_as_meant(tmp_path):
    coco = coco_factory.content()
    whole_as_float(coco)
    coco["annotations"][2]["bbox"] = [1, 2, 3]
    with pytest.raises(UserError, match=r"not in COCO format: .*length 4.* - at `\$.annotations\[2\].bbox`"):
        read_coco("set", *written(tmp_path, coco))
    coco["annotations"][2]["bbox"] = [1, 2, 3, 1e999]
    with pytest.raises(UserError, match=r"got `null` - at `\$.annotations\[2\].bbox\[3\]`"):
        read_coco("set", *written(tmp_path, coco))


def test_an_existing_file_with_a_backslash_in_its_name_is_used(tmp_path):
    coco = coco_factory.content()
    coco["images"][0]["file_name"] = "a\\1.png"
    dataset = read_coco("set", *coco_factory.write(tmp_path, coco))
    assert dataset.images[0].path.endswith("a\\1.png") and not dataset.notes


def test_missing_sizes_are_those_of_the_upright_image(tmp_path):
    coco = coco_factory.content({1: []})
    no_sizes(coco)
    annotations, images = written(tmp_path, coco)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (60, 40)).save(tmp_path / "images/1.png", exif=exif)
    (image,) = read_coco("set", annotations, images).images
    assert (image.width, image.height) == (40, 60)
    (image,) = read_coco("set", annotations).images  # nothing to read it from
    assert (image.width, image.height) == (0, 0)
    (tmp_path / "images/1.png").write_text("no image")
    with pytest.raises(UserError, match="1.png: not a readable image"):
        read_coco("set", annotations, images)
    assert read_coco("set", annotations, images, must_exist=False).images[0].width == 0


def test_one_file_under_two_ids_is_one_image(tmp_path):
    coco = coco_factory.content({1: [(1, [4, 4, 20, 20])], 2: [(1, [36, 20, 20, 20]), (1, [4, 4, 20, 20])], 3: []})
    coco["images"][1]["file_name"] = "1.png"
    dataset = read_coco("set", *written(tmp_path, coco))
    assert [image.id for image in dataset.images] == [1, 3] and dataset.merged == {2: 1}
    assert [item.bbox for item in dataset.images[0].objects] == [(4, 4, 20, 20), (36, 20, 20, 20)]  # none twice
    assert dataset.notes == {"image ids merged with another of the same file": 1}
    coco["images"][1]["width"] = 83
    with pytest.raises(UserError, match=r"images 1 and 2 are both 1\.png, but of different sizes"):
        read_coco("set", *written(tmp_path, coco))


def test_one_file_under_two_names_is_refused(tmp_path):
    coco = coco_factory.content({1: [(1, [4, 4, 20, 20])], 2: [(1, [36, 20, 20, 20])]})
    coco["images"][1]["file_name"] = "images/1.png"
    with pytest.raises(UserError, match=r"images 1 \(1.png\) and 2 \(images/1.png\) are both the file .*"):
        read_coco("set", *written(tmp_path, coco))


def test_categories_that_only_training_takes_as_one_are_told(tmp_path, caplog):
    coco = coco_factory.content({1: [(1, [4, 4, 20, 20]), (2, [36, 20, 20, 20])]})
    coco["categories"] = [{"id": number, "name": name} for number, name in enumerate(["cat", "Cat", "dog"], start=1)]
    for merge_names in (True, False):
        caplog.clear()
        read_coco("set", *written(tmp_path, coco), merge_names=merge_names)
        assert "names alike but for case or spaces, one in training, not in scoring ('Cat', 'cat')" in caplog.text


PLACES = [(section, key) for section, entries in coco_factory.content().items() for key in entries[0]]


@settings(deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_any_value_anywhere_is_read_or_refused_in_one_line(tmp_path_factory, place, value):
    section, key = place
    coco = coco_factory.content()
    coco[section][1][key] = value
    path = tmp_path_factory.mktemp("coco") / "annotations.json"
    path.write_text(json.dumps(coco))
    try:
        dataset = read_coco("set", path)
    except UserError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
        assert all(type(image.id) is type(image.width) is int for image in dataset.images)


@settings(deadline=None)
@given(
    st.integers(), st.sampled_from([int, float, str, lambda number: f" 00{number} " if number >= 0 else str(number)])
)
def test_whole_numbers_are_accepted_in_every_notation(number, write):
    try:
        value = write(number)
    except OverflowError:
        return
    found = whole_number(value, notes := Counter())
    assert type(found) is int and found == (int(value) if isinstance(value, float) else number)
    assert sum(notes.values()) == (type(value) is not int)


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), "", "a", "nan", "1.5", "1e3", [1], True])
def test_other_values_are_left_to_the_type_check(value):
    notes = Counter()
    assert whole_number(value, notes) is value and not notes
    assert value in ("1.5", "1e3") or any_number(value, notes) is value and not notes
    assert flag(value, notes) is value


def test_a_file_name_may_hold_any_space(tmp_path):
    coco = coco_factory.content()
    coco["images"][0]["file_name"] = "my\u00a0photo.png"
    assert len(read_coco("set", written(tmp_path, coco)[0]).images) == 3
