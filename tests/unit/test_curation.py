import coco_factory
import pytest

from vision_r1.data.coco import CocoImage, CocoObject, read_coco
from vision_r1.data.curation import Recipe, clean_box, curate
from vision_r1.families import family
from vision_r1.frames import Frame

FAMILY = family("qwen2_5_vl")


def recipe(**changes):
    values = {"detection": 2, "grounding": 3, "negative": 2, "min_instances": 1, "max_instances": 30, "seed": 0}
    return Recipe(**{**values, "min_pixels": 784, "max_pixels": 7056, "order": "shuffle", **changes})


def dataset(tmp_path, coco=None):
    return read_coco("set", *coco_factory.write(tmp_path, coco))


@pytest.mark.parametrize(
    ("bbox", "crowd", "expected"),
    [
        ((10, 20, 30, 40), False, ([10, 20, 40, 60], "kept")),
        ((10, 20, 30, 40), True, (None, "crowd")),
        ((10, 20, 0, 40), False, (None, "degenerate")),
        ((10, 20, 5, -1), False, (None, "degenerate")),
        ((100, 20, 5, 5), False, (None, "outside")),
        ((-5, 20, 5, 5), False, (None, "outside")),
        ((-5, 70, 15, 40), False, ([0, 70, 10, 80], "clipped")),
        ((10, 20, 0.2, 40), False, (None, "too_small")),
        ((10.123, 20, 30, 40), False, ([10.12, 20, 40.12, 60], "kept")),
    ],
)
def test_boxes_are_cut_to_the_image_or_dropped_with_a_reason(bbox, crowd, expected):
    image = CocoImage(1, "", 100, 80, ())
    frame = Frame("pixel", 100, 80, 112, 84)
    assert clean_box(CocoObject(1, "a", bbox, 1, crowd), image, frame) == expected


def test_rows_have_every_column(tmp_path):
    rows, _ = curate([dataset(tmp_path, coco_factory.content(size=(168, 84)))], FAMILY, recipe())
    assert {row["task"] for row in rows} == {"detection", "grounding", "negative"}
    for row in rows:
        assert list(row) == [
            *("prompt", "image", "objects", "categories", "width", "height", "input_width", "input_height"),
            *("num_instances", "frame", "task", "source_id"),
        ]
        assert (row["width"], row["height"], row["input_width"], row["input_height"]) == (168, 84, 112, 56)
        assert (row["frame"], row["num_instances"]) == ("pixel", len(row["objects"]))
        assert row["source_id"].startswith("set/") and row["image"].endswith(".png")
        assert {item["label"] for item in row["objects"]} <= set(row["categories"])
        assert (row["num_instances"] == 0) == (row["task"] == "negative")


def test_counts_and_what_was_not_possible(tmp_path):
    rows, tally = curate([dataset(tmp_path)], FAMILY, recipe(detection=9, negative=9))
    assert tally.samples["detection"] == {"asked": 9, "written": 2, "too_few_instances": 1}
    assert tally.samples["grounding"] == {"asked": 3, "written": 2, "no_category": 1}
    assert tally.samples["negative"] == {"asked": 9, "written": 3}
    summary = tally.summary(recipe(detection=9, negative=9), FAMILY, [dataset(tmp_path)])
    assert summary["rows"] == len(rows) == 7
    assert summary["short"] == ["detection", "grounding", "negative"]
    assert summary["objects"] == {"kept": 3, "read": 3}


def test_instance_limits(tmp_path):
    rows, tally = curate([dataset(tmp_path)], FAMILY, recipe(detection=3, min_instances=0, max_instances=1))
    assert sorted(row["num_instances"] for row in rows if row["task"] == "detection") == [0, 1]
    assert tally.samples["detection"]["too_many_instances"] == 1


def test_a_label_with_a_dropped_box_is_neither_grounded_nor_denied(tmp_path):
    coco = coco_factory.content({1: [(1, [10, 20, 30, 40]), (1, [0, 0, 80, 80]), (2, [50, 5, 20, 25])]})
    coco["annotations"][1]["iscrowd"] = 1
    for seed in range(6):
        rows, tally = curate([dataset(tmp_path, coco)], FAMILY, recipe(seed=seed))
        asked = {row["task"]: row["categories"] for row in rows}
        assert asked == {
            "detection": ["circle", "square", "triangle"],
            "grounding": ["square"],
            "negative": ["triangle"],
        }
        assert tally.objects == {"read": 3, "kept": 2, "crowd": 1}


def test_seed_decides_and_tasks_draw_apart(tmp_path):
    boxes = {number: [(number % 3 + 1, [10, 20, 30, 40])] for number in range(1, 30)}
    data = [dataset(tmp_path, coco_factory.content(boxes))]

    def ids(rows, task):
        return sorted(row["source_id"] for row in rows if row["task"] == task)

    some, again, other = (curate(data, FAMILY, recipe(detection=5, seed=seed))[0] for seed in (0, 0, 1))
    assert some == again != other
    more = curate(data, FAMILY, recipe(detection=9))[0]
    assert ids(more, "grounding") == ids(some, "grounding")
    assert set(ids(some, "detection")) < set(ids(more, "detection"))


def test_order_by_instances(tmp_path):
    rows, _ = curate([dataset(tmp_path)], FAMILY, recipe(order="instances"))
    counts = [row["num_instances"] for row in rows]
    assert counts == sorted(counts) and counts[0] == 0


def test_objects_keep_the_order_of_the_annotations(tmp_path):
    coco = coco_factory.content({1: [(1, [50, 0, 9, 9]), (2, [10, 0, 9, 9]), (1, [30, 0, 9, 9])]})
    rows, _ = curate([dataset(tmp_path, coco)], FAMILY, recipe(grounding=0, negative=0))
    assert [item["bbox"][0] for item in rows[0]["objects"]] == [50, 10, 30]


def test_images_that_the_processor_refuses_are_counted(tmp_path):
    rows, tally = curate([dataset(tmp_path, coco_factory.content(size=(402, 2)))], FAMILY, recipe())
    assert rows == [] and tally.images == {"read": 3, "too_long": 3}
