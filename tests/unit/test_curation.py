import json

import coco_factory
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1.data.clean import Objects, clean
from vision_r1.data.curation import Recipe, curate, summarise
from vision_r1.data.draw import draw_order
from vision_r1.data.mixture import TASKS, Draw
from vision_r1.data.samples import Object, Sample
from vision_r1.data.sources import Source, read_sources
from vision_r1.families import family
from vision_r1.frames import Frame
from vision_r1.prompts import DEFAULT

FAMILY = family("qwen2_5_vl")


class Letters:
    """Counts letters in place of tokens."""

    def count(self, rows):
        return [(len(row["prompt"]), len(row["answer"])) for row in rows]


def recipe(**changes):
    """A recipe; `grounding=3` draws three from all sources together, `grounding={"one": 3, "two": 1}` from each."""
    counts = {"detection": 2, "grounding": 3, "rec": 0, "negative": 2} | {
        task: changes.pop(task) for task in TASKS if task in changes
    }
    shares = {task: count if isinstance(count, dict) else {None: count} for task, count in counts.items()}
    draws = [
        Draw(task, count, (name,) if name else ()) for task in TASKS for name, count in shares[task].items() if count
    ]
    values = {"min_per_category": 0, "hard_share": None, "hard_instances": 10, "held_out": 0, "hold_out_from": ()}
    values |= {"min_instances": 1, "max_instances": 30, "max_prompt_tokens": None, "max_answer_tokens": None}
    values |= {"min_pixels": 784, "max_pixels": 7056, "answer_pixels": None, "order": "shuffle", "seed": 0}
    return Recipe(tuple(draws), **{**values, **changes})


def source(tmp_path, coco=None, name="set"):
    return read_sources([("coco", name, *coco_factory.write(tmp_path / name, coco))])[0]


def curated(sources, wanted, refused=(), tokens=None):
    return curate(sources, FAMILY, wanted, dict(refused), tokens or Letters())


@pytest.mark.parametrize(
    ("corners", "crowd", "expected"),
    [
        ((10, 20, 40, 60), False, ([10, 20, 40, 60], "kept")),
        ((10, 20, 40, 60), True, (None, "crowd")),
        ((10, 20, 10, 60), False, (None, "degenerate")),
        ((10, 20, 15, 19), False, (None, "degenerate")),
        ((100, 20, 105, 25), False, (None, "outside")),
        ((-5, 20, 0, 25), False, (None, "outside")),
        ((-5, 70, 10, 110), False, ([0, 70, 10, 80], "clipped")),
        ((10, 20, 10.2, 60), False, (None, "too_small")),
        ((10.123, 20, 40.123, 60), False, ([10.12, 20, 40.12, 60], "kept")),
    ],
)
def test_boxes_are_clipped_to_the_image_or_dropped_with_a_reason(corners, crowd, expected):
    objects = Objects(np.array([0]), np.array([0]), np.array([corners], float))
    kept, lost, tally = clean(objects, np.array([crowd]), [Frame("pixel", 100, 80, 112, 84)])
    box, fate = expected
    assert tally == {"read": 1, fate: 1}
    assert kept.corners.tolist() == ([] if box is None else [box])
    assert len(lost.label) == (box is None)


def test_a_box_that_answers_round_to_nothing_is_too_small():
    objects = Objects(np.zeros(1, int), np.zeros(1, int), np.array([[10.6, 20, 11.6, 60]]))
    frames = [Frame("pixel", 100, 100, 100, 100)]
    assert clean(objects, np.zeros(1, bool), frames)[2] == {"read": 1, "kept": 1}
    narrow = Objects(objects.place, objects.label, np.array([[10.4, 20, 10.6, 60]]))
    assert clean(narrow, np.zeros(1, bool), frames)[2] == {"read": 1, "kept": 1}  # 10 and 11
    assert clean(narrow, np.zeros(1, bool), frames, "down")[2] == {"read": 1, "too_small": 1}


def test_a_duplicate_box_counts_once():
    places, labels = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0])
    boxes = np.array([[1, 2, 30.001, 40], [1, 2, 30.002, 40], [1, 2, 30, 40], [1, 2, 30, 40]])
    frames = [Frame("rel1000", 84, 84, 84, 84)] * 2
    kept, lost, tally = clean(Objects(places, labels, boxes), np.zeros(4, bool), frames)
    assert tally == {"read": 4, "kept": 3, "duplicate": 1}
    assert kept.place.tolist() == [0, 0, 1] and len(lost.place) == 0


def test_rows_have_every_column(tmp_path):
    rows, *_ = curated([source(tmp_path, coco_factory.content(size=(168, 84)))], recipe())
    assert {row["task"] for row in rows} == {"detection", "grounding", "negative"}
    for row in rows:
        assert list(row) == [
            *("system", "prompt", "answer", "image", "objects", "categories"),
            *("width", "height", "input_width", "input_height"),
            *("num_instances", "frame", "task", "source_id", "prompt_tokens", "image_tokens", "answer_tokens"),
        ]
        assert (row["width"], row["height"], row["input_width"], row["input_height"]) == (168, 84, 112, 56)
        assert (row["frame"], row["num_instances"], row["image_tokens"]) == ("pixel", len(row["objects"]), 8)
        assert row["prompt_tokens"] == len(row["prompt"]) - 1 + 8
        assert row["source_id"].startswith("set/") and row["image"].endswith(".png")
        assert {item["label"] for item in row["objects"]} <= set(row["categories"])
        assert (row["num_instances"] == 0) == (row["task"] == "negative")


def test_answers_can_be_in_the_pixels_of_a_larger_image_than_the_model_sees(tmp_path):
    data = [source(tmp_path, coco_factory.content({1: [(1, [84, 42, 42, 21])]}, size=(168, 84)))]
    for pixels, expected in ((None, "[56, 28, 84, 42]"), (168 * 84, "[84, 42, 126, 63]")):
        (row, *_), *_ = curated(data, recipe(detection=1, grounding=0, negative=0, answer_pixels=pixels))
        assert expected in row["answer"]
        assert (row["input_width"], row["input_height"]) == (112, 56), "what the model sees"
        assert row["objects"][0]["bbox"] == [84, 42, 126, 63]


def test_counts_and_shortages(tmp_path):
    sources = [source(tmp_path)]
    rows, tally, _ = curated(sources, recipe(detection=9, negative=9))
    assert tally.samples["detection"] == {
        **{"asked": 9, "written": 2, "too_few_instances": 1},
        **{"too_many_instances": 0, "possible": 2},
    }
    assert (tally.samples["grounding"]["written"], tally.samples["grounding"]["possible"]) == (2, 2)
    assert tally.samples["negative"] == {"asked": 9, "written": 3, "possible": 3}
    summary = summarise(tally, recipe(detection=9, negative=9), FAMILY, sources)
    assert summary["rows"] == len(rows) == 7
    assert summary["short"] == ["detection", "grounding", "negative"]
    assert summary["objects"] == {"kept": 3, "read": 3}
    assert summary["datasets"] == {"set": {"images": 3, "boxes": 3, "categories": 3}}


def test_instance_limits(tmp_path):
    rows, tally, _ = curated([source(tmp_path)], recipe(detection=3, min_instances=0, max_instances=1))
    assert sorted(row["num_instances"] for row in rows if row["task"] == "detection") == [0, 1]
    assert tally.samples["detection"]["too_many_instances"] == 1


def test_over_long_rows_are_dropped_not_cut(tmp_path):
    boxes = {number: [(1, [10 + 9 * each, 20, 7, 7]) for each in range(number)] for number in range(1, 7)}
    data = [source(tmp_path, coco_factory.content(boxes))]
    rows, tally, _ = curated(data, recipe(detection=6, grounding=0, negative=0, max_answer_tokens=220))
    assert sorted(row["num_instances"] for row in rows) == [1, 2, 3, 4]
    assert tally.samples["detection"]["answer_too_long"] == 2
    prompt = min(row["prompt_tokens"] for row in rows)
    rows, tally, _ = curated(data, recipe(detection=2, negative=0, grounding=2, max_prompt_tokens=prompt - 1))
    assert {row["task"] for row in rows} == {"grounding"}
    assert tally.samples["detection"]["prompt_too_long"] == 6  # others replaced them


def test_a_label_with_a_dropped_box_is_neither_grounded_nor_denied(tmp_path):
    coco = coco_factory.content({1: [(1, [10, 20, 30, 40]), (1, [0, 0, 80, 80]), (2, [50, 5, 20, 25])]})
    coco["annotations"][1]["iscrowd"] = 1
    data = [source(tmp_path, coco)]
    for seed in range(6):
        rows, tally, _ = curated(data, recipe(seed=seed))
        asked = {row["task"]: row["categories"] for row in rows}
        assert asked == {
            "detection": ["circle", "square", "triangle"],
            "grounding": ["square"],
            "negative": ["triangle"],
        }
        assert tally.objects == {"read": 3, "kept": 2, "crowd": 1}


def test_an_image_that_shows_a_crowd_is_not_taught_as_empty(tmp_path):
    coco = coco_factory.content({1: [(1, [0, 0, 80, 80])], 2: []})
    coco["annotations"][0]["iscrowd"] = 1
    rows, *_ = curated([source(tmp_path, coco)], recipe(grounding=0, negative=0, min_instances=0))
    assert [(row["source_id"], row["objects"]) for row in rows] == [("set/2", [])]


def test_what_another_source_shows_in_an_image_is_not_denied(tmp_path):
    boxes = {1: [(1, [10, 20, 30, 40])]}
    one = source(tmp_path, coco_factory.content(boxes, ["dog", "cat"]), name="one")
    other = coco_factory.content(boxes, ["Cat", "bird"])
    (tmp_path / "other.json").write_text(json.dumps(other))
    (two,) = read_sources([("coco", "two", tmp_path / "other.json", tmp_path / "one/images")])
    rows, *_ = curated([one, two], recipe(detection=0, grounding=0, negative={"one": 9}))
    assert not rows, "the first source has only dogs, the other one a cat in the same file"
    rows, *_ = curated([one], recipe(detection=0, grounding=0, negative=9))
    assert [row["categories"] for row in rows] == [["cat"]]


def test_a_label_with_a_duplicate_box_is_grounded(tmp_path):
    coco = coco_factory.content({1: [(1, [10, 20, 30, 40]), (1, [10, 20, 30, 40])]})
    rows, *_ = curated([source(tmp_path, coco)], recipe(detection=0, negative=0))
    assert [(row["categories"], row["num_instances"]) for row in rows] == [(["circle"], 1)]


def test_draws_depend_on_the_seed_and_tasks_draw_independently(tmp_path):
    boxes = {number: [(number % 3 + 1, [10, 20, 30, 40])] for number in range(1, 30)}
    data = [source(tmp_path, coco_factory.content(boxes))]

    def ids(rows, task):
        return sorted(row["source_id"] for row in rows if row["task"] == task)

    some, again, other = (curated(data, recipe(detection=5, seed=seed))[0] for seed in (0, 0, 1))
    assert some == again != other
    more = curated(data, recipe(detection=9))[0]
    assert ids(more, "grounding") == ids(some, "grounding")
    assert set(ids(some, "detection")) < set(ids(more, "detection"))


def test_rare_categories_survive(tmp_path):
    boxes = {number: [(1, [10, 20, 30, 40])] for number in range(1, 100)}
    boxes |= {number: [(1, [10, 20, 30, 40]), (2, [50, 5, 20, 25])] for number in (100, 101)}
    boxes |= {102: [(3, [10, 20, 30, 40])]}
    data = [source(tmp_path, coco_factory.content(boxes))]
    for seed in range(5):
        rows, *_ = curated(data, recipe(detection=8, grounding=8, min_per_category=2, seed=seed))
        for task in ("detection", "grounding"):
            labels = [item["label"] for row in rows if row["task"] == task for item in row["objects"]]
            assert labels.count("square") == 2 and labels.count("triangle") == 1


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=40, unique=True),
    st.integers(0, 5),
    st.integers(0, 9),
)
def test_a_draw_takes_each_image_once_and_gives_every_stratum_its_floor(pairs, floor, seed):
    image, stratum = np.array(pairs, np.int64).reshape(-1, 2).T
    order, first = draw_order(image, stratum, floor, np.random.default_rng(seed))
    assert sorted(image[order]) == sorted(set(image))
    shown = {number: set(image[stratum == number]) for number in set(stratum.tolist())}
    floored = set(image[order[:first]])
    assert first <= floor * len(shown) and all(
        len(images & floored) >= min(floor, len(images)) for images in shown.values()
    )


def test_order_by_instances(tmp_path):
    rows, *_ = curated([source(tmp_path)], recipe(order="instances"))
    counts = [row["num_instances"] for row in rows]
    assert counts == sorted(counts) and counts[0] == 0


def test_objects_keep_the_order_of_the_annotations(tmp_path):
    coco = coco_factory.content({1: [(1, [50, 0, 9, 9]), (2, [10, 0, 9, 9]), (1, [30, 0, 9, 9])]})
    rows, *_ = curated([source(tmp_path, coco)], recipe(grounding=0, negative=0))
    assert [item["bbox"][0] for item in rows[0]["objects"]] == [50, 10, 30]


def test_refused_images_are_counted_and_not_used(tmp_path):
    data = source(tmp_path)
    refused = {data.images()[0].path: "in_benchmark", data.images()[1].path: "unreadable"}
    rows, tally, _ = curated([data], recipe(negative=9, min_instances=0), refused)
    assert tally.images == {"read": 3, "in_benchmark": 1, "unreadable": 1}
    assert {row["image"] for row in rows} == {data.images()[2].path}


def test_images_that_the_processor_refuses_are_counted(tmp_path):
    rows, tally, _ = curated([source(tmp_path, coco_factory.content(size=(402, 2)))], recipe())
    assert rows == [] and tally.images == {"read": 3, "extreme_shape": 3}


def test_held_out_images_are_not_trained_on(tmp_path):
    boxes = {number: [(1, [10, 20, 30, 40])] for number in range(1, 20)} | {20: []}
    data = [source(tmp_path, coco_factory.content(boxes))]
    rows, tally, held_out = curated(data, recipe(detection=99, grounding=0, negative=0, held_out=0.3))
    assert tally.images["held_out"] == len(held_out) == 5
    assert len(rows) == 14 and not {image.path for _, image in held_out} & {row["image"] for row in rows}
    assert held_out == curated(data, recipe(held_out=0.3))[2] != curated(data, recipe(held_out=0.3, seed=1))[2]
    assert {image.path for _, image in held_out} > {image.path for _, image in curated(data, recipe(held_out=0.2))[2]}
    assert len(curated(data, recipe(held_out=0.05))[2]) == 1  # never an empty split
    assert curated(data, recipe(held_out=0.0))[2] == []


def given_sample(number, task="rec", box=(10.0, 20.0, 40.0, 60.0), image=None):
    objects = (Object(f"thing {number}", box),) if box else ()
    return Sample(number, image or f"{number}.png", 84, 84, task, (f"thing {number}",), objects)


def test_given_questions_are_taken_unchanged():
    boxes = {3: (10.0, 20.0, 10.0, 60.0)}
    samples = tuple(given_sample(number, box=boxes.get(number, (-9.0, 20.0, 40.0, 60.0))) for number in range(5))
    samples += (given_sample(5, image="4.png"), given_sample(6, "detection"))
    rows, tally, _ = curated([Source("given", "file", None, samples=samples)], recipe(rec=9, detection=9))
    # The third question's box is invalid, so its answer would be wrong; only one of two questions per image is taken.
    assert sorted(row["source_id"] for row in rows if row["image"] != "4.png") == [f"given/{n}" for n in (0, 1, 2, 6)]
    assert len(rows) == 5 and {row["task"] for row in rows} == {"rec", "detection"}
    first = next(row for row in rows if row["source_id"] == "given/0")
    assert (first["prompt"], first["categories"]) == (DEFAULT.ask("rec", ["thing 0"]), ["thing 0"])
    assert first["objects"] == [{"label": "thing 0", "bbox": [0.0, 20.0, 40.0, 60.0]}]
    assert tally.objects == {"read": 7, "kept": 2, "clipped": 4, "degenerate": 1}


def test_sources_share_a_file(tmp_path):
    one, two = source(tmp_path, name="one"), source(tmp_path, name="two")
    rows, tally, _ = curated([one, two], recipe(detection=9, grounding=9, negative=9))
    assert tally.images["read"] == 6 and {row["source_id"].split("/")[0] for row in rows} == {"one", "two"}


def test_without_a_number_every_question_is_taken():
    samples = tuple(given_sample(number, image="one.png") for number in range(4))
    samples += (given_sample(4, "detection", box=None),)
    given = Source("given", "file", None, samples=samples, whole=True)
    rows, *_ = curated([given], recipe(detection=9, grounding=9, rec=9, negative=0))
    assert {row["source_id"] for row in rows} == {f"given/{number}" for number in range(4)}
    rows, *_ = curated(
        [given], recipe(detection=9, grounding=0, rec=0, negative=9)
    )  # a question without boxes is a negative
    (row,) = rows
    assert (row["task"], row["objects"], row["prompt"]) == ("negative", [], DEFAULT.ask("detection", ["thing 4"]))


def test_a_number_can_be_split_by_source(tmp_path):
    boxes = {number: [(1, [10, 20, 30, 40])] for number in range(1, 20)}
    sources = [source(tmp_path, coco_factory.content(boxes), name) for name in ("one", "two", "three")]

    def drawn(**changes):
        rows, tally, _ = curated(sources, recipe(detection=0, negative=0, **changes))
        names = [row["source_id"].partition("/")[0] for row in rows]
        return {name: names.count(name) for name in sorted(set(names))}, tally.samples["grounding"]

    assert drawn(grounding={"one": 5, "two": 3}) == (
        {"one": 5, "two": 3},
        {"asked": 8, "written": 8, "possible": 38, "too_few_instances": 0, "too_many_instances": 0},
    )
    assert drawn(grounding={"one": 25, "three": 2})[0] == {"one": 19, "three": 2}  # no other source fills the gap


def test_an_image_of_two_sources_is_used_once_per_task():
    phrases = [Source(name, "file", None, samples=tuple(map(given_sample, range(6)))) for name in ("one", "two")]
    rows, *_ = curated(phrases, recipe(detection=0, grounding=0, negative=0, rec={"one": 4, "two": 9}))
    assert len({row["image"] for row in rows}) == len(rows) == 6
    assert sum(row["source_id"].startswith("one/") for row in rows) == 4


@pytest.mark.parametrize(
    ("asked", "hard"),
    [(8, 4), (20, 10), (26, 12)],  # in the last case there are only 12 hard images, and easy ones fill up
)
def test_half_of_detection_is_hard(tmp_path, asked, hard):
    few, many = [(1, [10, 20, 30, 40])], [(1, [3 * place, 20, 9, 9]) for place in range(3)]
    boxes = {number: many if number < 12 else few for number in range(60)}
    wanted = recipe(detection=asked, grounding=5, negative=0, hard_share=0.5, hard_instances=2)
    rows, tally, _ = curated([source(tmp_path, coco_factory.content(boxes))], wanted)
    counts = [row["num_instances"] for row in rows if row["task"] == "detection"]
    assert (len(counts), counts.count(3)) == (asked, hard)
    assert tally.samples["detection"]["hard"] == hard and "hard" not in tally.samples["grounding"]


def test_rare_categories_survive_beside_a_share_of_hard_images(tmp_path):
    """The rare one is in hard images only; the floor holds, and what it takes counts for the share."""
    few, many = [(1, [10, 20, 30, 40])], [(1, [3 * place, 20, 9, 9]) for place in range(3)]
    rare = [*many, (2, [1, 1, 9, 9])]
    boxes = {number: rare if number < 6 else many if number < 30 else few for number in range(60)}
    wanted = recipe(detection=30, grounding=0, negative=0, hard_share=0.4, hard_instances=2, min_per_category=4)
    rows, tally, _ = curated([source(tmp_path, coco_factory.content(boxes))], wanted)
    assert sum(any(item["label"] == "square" for item in row["objects"]) for row in rows) >= 4
    assert (len(rows), tally.samples["detection"]["hard"]) == (30, 12)


def test_hard_images_replace_missing_easy_ones_and_rows_that_are_too_long(tmp_path):
    few, many = [(1, [10, 20, 30, 40])], [(1, [3 * place, 20, 9, 9]) for place in range(3)]
    boxes = {number: [*many, (2, [1, 1, 9, 9])] if number < 5 else many if number < 12 else few for number in range(14)}
    wanted = {"detection": 8, "grounding": 0, "negative": 0, "hard_share": 0.5, "hard_instances": 2}
    data = [source(tmp_path, coco_factory.content(boxes))]
    rows, *_ = curated(data, recipe(**wanted))
    assert sorted(row["num_instances"] > 2 for row in rows) == [False] * 2 + [True] * 6
    longest = max(row["answer_tokens"] for row in rows if row["num_instances"] == 3)
    rows, tally, _ = curated(data, recipe(**wanted, max_answer_tokens=longest))
    assert sorted(row["num_instances"] for row in rows) == [1] * 2 + [3] * 6
    assert tally.samples["detection"]["answer_too_long"] > 0


def test_images_of_named_sources_are_held_out_and_so_are_copies_by_id(tmp_path):
    boxes = {number: [(1, [10, 20, 30, 40])] for number in range(1, 20)}
    one, two = (source(tmp_path, coco_factory.content(boxes), name) for name in ("one", "two"))
    one = Source("one", one.file, "coco", coco=one.coco)
    # The files differ, but by their COCO ids they are the same photographs.
    phrases = tuple(
        Sample(900 + number, f"{number}.png", 84, 84, "rec", ("thing",), (Object("thing", (1, 2, 30, 40)),), number)
        for number in range(1, 20)
    )
    genome = Source("genome", "file", None, samples=phrases)
    wanted = recipe(detection={"two": 19}, grounding=0, negative=0, rec=99, held_out=0.3, hold_out_from=("one",))
    rows, tally, held_out = curated([one, two, genome], wanted)
    numbers = {image.id for _, image in held_out}
    assert {each.name for each, _ in held_out} == {"one"} and len(numbers) == 5
    assert sum(row["task"] == "detection" for row in rows) == 19
    assert {row["source_id"] for row in rows if row["task"] == "rec"} == {
        f"genome/{900 + number}" for number in set(range(1, 20)) - numbers
    }
    assert tally.images["held_out"] == 10


def test_categories_with_the_same_name_are_merged(tmp_path):
    coco = coco_factory.content({1: [(1, [10, 20, 30, 40]), (2, [50, 5, 20, 25])]}, ("crane", "Crane", "boat"))
    rows, *_ = curated([source(tmp_path, coco)], recipe())
    assert {row["task"]: (row["categories"], row["num_instances"]) for row in rows} == {
        "detection": (["crane", "boat"], 2),
        "grounding": (["crane"], 2),
        "negative": (["boat"], 0),
    }


def test_instance_limits_count_images_in_detection_and_questions_in_grounding(tmp_path):
    boxes = {1: [(number, [9 * place, 0, 8, 8]) for place, number in enumerate((1, 1, 2, 2))]}
    data = [source(tmp_path, coco_factory.content(boxes))]
    for limits, reason in (({"max_instances": 1}, "too_many_instances"), ({"min_instances": 5}, "too_few_instances")):
        _, tally, _ = curated(data, recipe(**limits))
        assert [tally.samples[task][reason] for task in ("detection", "grounding")] == [1, 2]


def test_hard_means_more_objects_than_hard_instances(tmp_path):
    boxes = {number: [(1, [9 * place, 0, 8, 8]) for place in range(2 + (number == 9))] for number in range(10)}
    data = [source(tmp_path, coco_factory.content(boxes))]
    for asked, counts in ((1, [3]), (2, [2, 3])):
        wanted = recipe(detection=asked, grounding=0, negative=0, hard_share=1, hard_instances=2)
        rows, tally, _ = curated(data, wanted)
        assert sorted(row["num_instances"] for row in rows) == counts and tally.samples["detection"]["hard"] == 1


def test_a_row_as_long_as_the_limit_is_kept(tmp_path):
    data = [source(tmp_path, coco_factory.content({1: [(1, [10, 20, 30, 40])]}))]
    (row,), *_ = curated(data, recipe(detection=1, grounding=0, negative=0))
    limits = {"max_prompt_tokens": row["prompt_tokens"], "max_answer_tokens": row["answer_tokens"]}
    assert len(curated(data, recipe(detection=1, grounding=0, negative=0, **limits))[0]) == 1
