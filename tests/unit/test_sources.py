import json

import pytest

from vision_r1.data.sources import read_sources
from vision_r1.files import UserError

EXPRESSIONS = {
    "images": [
        {
            "id": 1,
            "file_name": "COCO_train2014_000000581857.jpg",
            "width": 640,
            "height": 480,
            "caption": " red \n cup ",
        },
        {"id": 2, "file_name": "COCO_train2014_000000581857.jpg", "width": 640, "height": 480, "caption": "two dogs"},
        {"id": 3, "file_name": "COCO_train2014_000000000009.jpg", "width": 640, "height": 480, "caption": "naïve 🐕"},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "bbox": [10, 20, 30.5, 40], "tokens_positive": [[0, 3]]},
        {"id": 2, "image_id": 2, "bbox": [10, 20, 30, 40]},
        {"id": 3, "image_id": 2, "bbox": [50, 20, 30, 40]},
        {"id": 4, "image_id": 3, "bbox": [0, 0, 5, 5]},
    ],
}


def read(tmp_path, content, kind="expressions", id_spaces=(("set", "coco"),)):
    file = tmp_path / "file.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_sources([(kind, "set", str(file), str(tmp_path / "train2017"))], id_spaces)[0]


def test_an_expression_is_a_question_about_the_image_with_its_coco_id(tmp_path):
    source = read(tmp_path, EXPRESSIONS)
    first, second = source.samples  # "two dogs" has two boxes, so it doesn't refer to a single object
    assert (first.image_id, first.image) == (581857, str(tmp_path / "train2017/000000581857.jpg"))
    assert (first.asked, first.categories, first.objects[0].bbox) == ("rec", ("red cup",), (10, 20, 40.5, 60))
    assert second.categories == ("naïve 🐕",)
    assert source.numbers() == {"images": 2, "boxes": 2, "questions": 2}


def test_outside_coco_names_and_ids_are_the_files(tmp_path):
    first, _ = read(tmp_path, EXPRESSIONS, id_spaces=()).samples
    assert (first.image_id, first.image) == (1, str(tmp_path / "train2017/COCO_train2014_000000581857.jpg"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": " "}, "image 1: an empty caption"),
        ({"caption": None}, r"caption|images\[0\]"),
        ({"file_name": "cup.jpg"}, "image 1: file_name 'cup.jpg' has no COCO number"),
        ({"width": 0}, "image 1: a size of 0 x 480"),
    ],
)
def test_invalid_expressions(tmp_path, change, message):
    content = {**EXPRESSIONS, "images": [{**EXPRESSIONS["images"][0], **change}]}
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


def sample(asked, names, *objects):
    return {
        **{"image": "a.jpg", "width": 64, "height": 48, "asked": asked, "categories": names},
        "objects": [{"label": label, "bbox": [1, 2, 30, 40]} for label in objects],
    }


def test_given_samples_and_their_tasks(tmp_path):
    lines = [
        sample("detection", ["cup", "dining table"], "cup"),
        sample("grounding", ["boat"], "boat", "boat"),
        sample("rec", ["man in red"], "man in red"),
        sample("grounding", ["whale"]),
    ]
    source = read(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "samples", ())
    assert [item.asked for item in source.samples] == ["detection", "grounding", "rec", "grounding"]
    assert [item.task for item in source.samples] == ["detection", "grounding", "rec", "negative"]
    assert source.samples[0].categories == ("cup", "dining table") and source.whole
    assert source.samples[0].image == str(tmp_path / "train2017/a.jpg")
    assert source.numbers() == {"images": 1, "boxes": 4, "questions": 4}


ODD_SAMPLES = [
    "{",
    '{"image": "a.jpg"}',
    json.dumps({**sample("rec", ["a"], "a"), "objects": [[1, 2]]}),
    json.dumps({**sample("rec", ["a"], "a"), "prompt": "Locate every a"}),  # a samples file from an older version
    json.dumps(sample("count", ["a"], "a")),
    json.dumps(sample("detection", [])),
]


@pytest.mark.parametrize("line", ODD_SAMPLES)
def test_invalid_samples_are_named_by_line(tmp_path, line):
    with pytest.raises(UserError, match="file.json: line 2: .*fetch the data set again"):
        read(tmp_path, json.dumps(sample("rec", ["x"], "a")) + "\n" + line + "\n", "samples", ())


def test_types_and_names_are_checked(tmp_path):
    with pytest.raises(UserError, match="source set: unknown kind 'voc'; choose coco, expressions, regions"):
        read(tmp_path, EXPRESSIONS, "voc")
    with pytest.raises(UserError, match="kind regions takes name, file, image folder, second file"):
        read(tmp_path, EXPRESSIONS, "regions")
    entry = ("expressions", "set", str(tmp_path / "file.json"), "images")
    (tmp_path / "file.json").write_text(json.dumps(EXPRESSIONS))
    with pytest.raises(UserError, match="source set: the name is given twice"):
        read_sources([entry, entry])
