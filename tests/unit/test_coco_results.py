"""COCO results files in the formats of several tools, and the errors for malformed ones."""

import codecs
import gzip
import json

import coco_factory
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import JSON

from vision_r1.data.coco import read_coco
from vision_r1.data.oddities import in_words, oddities, too_many
from vision_r1.evaluation.coco_results import read_detections, read_entries
from vision_r1.files import UserError, read_jsonl

BOX = [10, 20, 30, 40]
ENTRIES = [
    {"image_id": 1, "category_id": 1, "bbox": BOX, "score": 0.5},
    {"image_id": 2, "category_id": 3, "bbox": BOX, "score": 1},
]
LIST, LINES = json.dumps(ENTRIES), "\n".join(map(json.dumps, ENTRIES))


@pytest.fixture
def dataset(tmp_path):
    return read_coco("set", coco_factory.write(tmp_path)[0])


@pytest.fixture
def read(tmp_path, dataset):
    def run(content, other=None):
        path = tmp_path / "results.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_detections(path, read_entries(path), other or dataset)

    return run


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ENTRIES, indent=1),
        json.dumps({"annotations": ENTRIES}),
        json.dumps({"info": {}, "annotations": ENTRIES}, indent=1),
        LINES,
        f"{LINES}\r\n\r\n".replace("}\n", "}\r\n"),
        codecs.BOM_UTF8 + LIST.encode(),
        codecs.BOM_UTF8 + LINES.encode(),
        gzip.compress(LIST.encode(), mtime=0),
        gzip.compress(LINES.encode(), mtime=0),
        LIST.replace('_id": 1', '_id": 1.0').replace('_id": 2', '_id": "2"'),
        LIST.replace("0.5", '"0.5"').replace("[10, 20,", '["10", " 20.0",'),
    ],
)
def test_every_format_reads_the_same(read, content):
    assert read(content) == read(LIST) and len(read(LIST)) == 2


def test_predictions_of_predict_suite_are_not_results_files(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"completion": "[]", "image_id": 1}\n{"completion"')
    assert read_entries(path) is None
    with pytest.raises(UserError, match="p.jsonl: line 2: not valid JSON"):
        read_jsonl(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"predictions": []}', "neither COCO results .*: has predictions"),
        ("", "the file is empty; results without a box are"),
        (b"\xef\xbb\xbf \n", "the file is empty"),
        ('{\n"boxes": []\n}', "neither COCO results .a list, .* nor predictions .*: has boxes"),
        ('{"annotations": 3}', "neither COCO results.*: has annotations"),
        ("3", "neither COCO results.*: has int"),
        ("[1", "not valid JSON"),
        (b"\x1f\x8bnothing", "can't be read .damaged gzip data"),
        (b"\xff\xfe[", "not UTF-8 text"),
    ],
)
def test_a_file_without_results_is_reported_in_one_line(read, content, message):
    with pytest.raises(UserError, match=f"results.json: {message}") as error:
        read(content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"bbox": [1, 2, 3, 10**400]}, {"score": -(10**400)}])
def test_a_number_beyond_floats_is_named(read, change):
    with pytest.raises(UserError, match="item 1: "):
        read(json.dumps([ENTRIES[0], {**ENTRIES[1], **change}]))


def test_numbers_in_other_forms_are_counted(read, caplog):
    read(LIST.replace('_id": 1', '_id": 1.0').replace('_id": 2', '_id": "2"'))
    assert "read as meant: whole numbers written as 1.0: 2; numbers written as text: 1" in caplog.text


def test_images_may_be_given_by_their_file_s_name(tmp_path, read, caplog):
    coco = coco_factory.content()
    for image, name in zip(coco["images"], ("caf\u00e9.v1.jpg", "a\\x.png", "b/x.png"), strict=True):
        image["file_name"] = name
    (tmp_path / "other.json").write_text(json.dumps(coco))
    other = read_coco("set", tmp_path / "other.json")
    for name in ("caf\u00e9.v1", "cafe\u0301.v1.jpg"):
        caplog.clear()
        assert read(json.dumps([{**ENTRIES[0], "image_id": name}]), other) == read(json.dumps(ENTRIES[:1]), other)
        assert "images given by their file's name: 1" in caplog.text
    for name in ("x", "x.png", "caf\u00e9", ""):  # of two images, or of none
        with pytest.raises(UserError, match="item 0: image_id '.*' is not in .*other.json; give the id that its image"):
            read(json.dumps([{**ENTRIES[0], "image_id": name}]), other)


@pytest.mark.parametrize(
    ("numbers", "meant", "words"),
    [
        ([0, 1], [1, 2], "images given by their file's name: 2"),  # 0 is no id, so both are names
        ([1, 2], [1, 2], "image_id 1 is taken for an image's id, not for the name of its file"),
        ([3], [3], None),  # no file has this name
    ],
)
def test_numbers_that_are_names_of_files(tmp_path, read, caplog, numbers, meant, words):
    """As Ultralytics writes them. Here images 1 to 3 are the files 0.jpg to 2.jpg."""
    coco = coco_factory.content()
    for number, image in enumerate(coco["images"]):
        image["file_name"] = f"{number}.jpg"
    (tmp_path / "other.json").write_text(json.dumps(coco))
    other = read_coco("set", tmp_path / "other.json")
    found = read(json.dumps([{**ENTRIES[0], "image_id": number} for number in numbers]), other)
    assert [detection.image_id for detection in found] == meant
    assert words in caplog.text if words else "image_id" not in caplog.text


def test_a_number_that_two_files_have_is_no_name(tmp_path, read):
    coco = coco_factory.content()
    for image, name in zip(coco["images"], ("9.jpg", "009.jpg", "8.jpg"), strict=True):
        image["file_name"] = name
    (tmp_path / "other.json").write_text(json.dumps(coco))
    other = read_coco("set", tmp_path / "other.json")
    with pytest.raises(UserError, match="image_id 9 is not in"):
        read(json.dumps([{**ENTRIES[0], "image_id": 9}]), other)


def test_an_id_of_0_that_is_another_files_name_is_warned_of(tmp_path, read, caplog):
    coco = coco_factory.content()
    for number, image in enumerate(coco["images"]):
        image |= {"id": number, "file_name": f"{(number + 2) % 3}.jpg"}
    (tmp_path / "other.json").write_text(json.dumps({**coco, "annotations": []}))
    other = read_coco("set", tmp_path / "other.json")
    assert [each.image_id for each in read(json.dumps([{**ENTRIES[0], "image_id": 0}]), other)] == [0]
    assert "image_id 0 is taken for an image's id" in caplog.text


def test_boxes_of_entries_that_are_not_categories_are_left_out(tmp_path, read, caplog):
    coco = coco_factory.content()
    coco["categories"].append({"id": 9, "name": "shapes"})
    coco["categories"][0]["supercategory"] = "shapes"
    other = read_coco("set", coco_factory.write(tmp_path / "other", coco)[0])
    assert read(json.dumps([*ENTRIES, {**ENTRIES[0], "category_id": 9}]), other) == read(LIST)
    assert "boxes of entries that are not categories, left out: 1" in caplog.text


def test_boxes_under_both_ids_of_a_file_belong_to_one_image(tmp_path, read, caplog):
    coco = coco_factory.content()
    coco["images"][1]["file_name"] = "1.png"
    other = read_coco("set", coco_factory.write(tmp_path / "other", coco)[0])
    same, more = {**ENTRIES[0], "image_id": 2}, {**ENTRIES[0], "image_id": 2, "score": 0.4}
    found = read(json.dumps([ENTRIES[0], same, more]), other)
    assert [(each.image_id, each.score) for each in found] == [(1, 0.5), (1, 0.4)]
    assert "boxes repeated under another id of a file, left out: 1" in caplog.text


def test_a_warning_is_logged_if_most_boxes_end_outside_their_images(read, caplog):
    corners = {**ENTRIES[0], "bbox": [50, 40, 80, 70]}
    read(json.dumps([*ENTRIES, corners]))
    assert not caplog.messages
    read(json.dumps([ENTRIES[0], corners, corners]))
    assert "results.json: 2 of 3 boxes end outside of their image; are they x1 y1 x2 y2" in caplog.text


def test_a_warning_is_logged_if_boxes_fit_the_objects_as_corners(read, dataset, caplog):
    objects = [(image.id, item) for image in dataset.images for item in image.objects]
    entries = [{"image_id": image, "category_id": item.category_id, "score": 1} for image, item in objects]
    read(json.dumps([entry | {"bbox": item.bbox} for entry, (_, item) in zip(entries, objects, strict=True)]))
    assert not caplog.messages
    read(json.dumps([entry | {"bbox": item.corners} for entry, (_, item) in zip(entries, objects, strict=True)]))
    assert "read as x1 y1 x2 y2, boxes have a mean IoU of 1.00 with the nearest object" in caplog.text


@settings(deadline=None)
@given(st.sampled_from(list(ENTRIES[0])), JSON)
def test_any_value_anywhere_is_read_or_refused_in_one_line(tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("results")
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(coco_factory.content()))
    path = folder / "results.json"
    path.write_text(json.dumps([{**ENTRIES[0], key: value}]))
    try:
        (found,) = read_detections(path, read_entries(path), read_coco("set", annotations))
    except UserError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
        assert np.isfinite([*found.bbox, found.score]).all() and found.image_id in (1, 2, 3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(0, 600)] * 2, *[st.floats(30, 400)] * 2), min_size=1, max_size=20),
    st.booleans(),
)
def test_boxes_within_images_are_fine_and_read_as_corners_can_only_end_outside(boxes, as_corners):
    """If the far corner is read as width and height, a box can only grow."""
    boxes = np.array(boxes)
    sizes = np.full((len(boxes), 2), 1000.0)
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    if not as_corners:
        assert oddities(corners, sizes) == {}
        return
    grown = np.hstack([boxes[:, :2], boxes[:, :2] + corners[:, 2:]])
    found = oddities(grown, sizes)
    expected = int((grown[:, 2:] > 1010).any(1).sum())
    assert found.get("outside", 0) == found.get("corners", 0) == expected
    assert too_many(found, len(boxes)) == (2 * expected > len(boxes))
    assert any("x1 y1 x2 y2" in sentence for sentence in in_words(found, len(boxes))) == (2 * expected > len(boxes))


def test_boxes_in_images_of_unknown_size_are_not_checked():
    assert oddities(np.array([[50.0, 40, 2000, 70]]), np.zeros((1, 2))) == {}
