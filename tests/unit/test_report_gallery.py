import coco_factory
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_factory import PROTOCOLS, SUITES, config
from report_run import Run

from vision_r1.data.coco import read_coco
from vision_r1.files import UserError, read_jsonl
from vision_r1.report.drawing import Objects, palette
from vision_r1.report.gallery import choose, galleries, gallery, quality, worst_dataset
from vision_r1.report.results import Result

TRUTH = Objects(np.array([[0.0, 0, 10, 10], [20, 20, 40, 40]]), ("circle", "square"))


def objects_of(boxes, labels):
    return Objects(np.array(boxes, np.float64).reshape(-1, 4), tuple(labels))


NOTHING = objects_of([], [])


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (TRUTH, TRUTH, 1.0),
        (NOTHING, NOTHING, 1.0),
        (NOTHING, TRUTH, 0.0),
        (TRUTH, NOTHING, 0.0),
        (objects_of([[0, 0, 10, 10]], [" Circle"]), TRUTH, 1 / 2),
        (objects_of([[0, 0, 10, 10]], ["square"]), TRUTH, 0.0),
        (objects_of([[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 40, 40]], ["circle", "circle", "square"]), TRUTH, 2 / 3),
        (objects_of([[0, 0, 10, 5], [20, 20, 40, 40]], ["circle", "square"]), TRUTH, 1.5 / 2),
    ],
)
def test_quality(predicted, truth, expected):
    assert quality(predicted, truth) == pytest.approx(expected)


@settings(deadline=None)
@given(
    st.dictionaries(st.tuples(st.just("set"), st.integers()), st.floats(-1, 1)), st.integers(0, 12), st.integers(0, 3)
)
def test_images_are_chosen_by_the_stated_rule(change, count, seed):
    chosen = choose(change, count, seed)
    keys = [key for _, key in chosen]
    assert len(keys) == len(set(keys)) <= count
    below = [key for key, value in change.items() if chosen and value < change[chosen[0][1]]]
    above = [key for key, value in change.items() if chosen and value > change[chosen[0][1]]]
    assert [why for why, _ in chosen].count("typical") == min(count, len(change), 1)
    assert max(len(below), len(above)) <= len(change) // 2, "the typical one has the median change"
    assert all(change[key] > 0 for why, key in chosen if why == "most improved")
    assert all(change[key] < 0 for why, key in chosen if why == "most harmed")
    assert chosen == choose(dict(reversed(change.items())), count, seed)


def test_gallery_draws_ground_truth_and_each_checkpoint(tmp_path):
    run = Run(tmp_path)
    predictions = {name: read_jsonl(run.predictions(name, "coco")) for name in ("base", "sft", "strict/grpo_stage2")}
    examples = gallery(
        predictions, {"scenes_test": read_coco("scenes_test", run.annotations)}, "released-one-prompt", count=4
    )
    assert 1 <= len(examples) <= 4
    for example in examples:
        assert [view.title for view in example.views] == ["ground truth", *predictions]
        assert all(view.image.startswith("data:image/webp;base64,") for view in example.views)
        first, last = example.views[1].quality, example.views[-1].quality
        assert example.change == pytest.approx(last - first)


def test_a_label_has_one_colour_in_all_images_whatever_the_question():
    """A protocol may ask for one category at a time, so colours depend on the data set, not on the question."""
    colours = palette(["Circle", "square", "circle", "triangle"])
    assert list(colours) == ["circle", "square", "triangle"] and len(set(colours.values())) == 3


def test_gallery_names_what_is_missing(tmp_path):
    run = Run(tmp_path, images=3)
    predictions = {"base": read_jsonl(run.predictions("base", "coco"))}
    annotations = {"scenes_test": read_coco("scenes_test", run.annotations)}
    with pytest.raises(UserError, match="about data set 'scenes_test', whose annotations are missing"):
        gallery(predictions, {}, "released-one-prompt")
    predictions["base"][0]["file_name"] = str(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"gone\.png: not a readable image"):
        gallery(predictions, annotations, "released-one-prompt")
    assert gallery({}, annotations, "released-one-prompt") == []
    assert gallery(predictions, annotations, "a protocol nobody ran") == []


BENCHMARKS = [(suite, protocol) for suite in SUITES for protocol in PROTOCOLS[suite]]
LAST = "strict/grpo_stage2"


def result(checkpoint, dataset, ap):
    return Result(0, checkpoint, "strict", "grpo_stage2", 0, "odinw13", "released-present", dataset, AP=ap)


def test_the_worst_data_set_has_the_lowest_ap_of_the_last_checkpoint():
    scores = [("mean", 0.01), ("thermal", 0.4), ("wide", 0.2), ("tiny", 0.2), ("crowd", None)]
    results = [result(LAST, name, ap) for name, ap in scores] + [result("base", "tiny", 0.3)]
    name, about = worst_dataset(results, "odinw13", "released-present", LAST)
    assert name == "tiny" and "of the 3 of odinw13" in about and "20.0 (base: 30.0)" in about
    assert worst_dataset(results, "odinw13", "all-categories", LAST) is None


def test_the_worst_data_set_has_a_gallery_of_its_own(tmp_path):
    run = Run(tmp_path, images=4)
    lines = {(name, suite): read_jsonl(run.predictions(name, suite)) for suite in SUITES for name in ("base", LAST)}
    truth = {name: read_coco(name, run.annotations) for names in SUITES.values() for name in names}
    results = [result(LAST, "thermal", 0.4), result(LAST, "tiny", 0.3)]
    first, worst = galleries(lines, truth, results, BENCHMARKS, config()["evaluation"], count=3)
    assert {example.dataset for example in first.examples} == {"scenes_test"}
    assert {example.dataset for example in worst.examples} == {"tiny"} and len(worst.examples) == 3
    assert "tiny" in worst.about and worst.protocol == "released-present"


def test_a_gallery_without_predictions_is_empty():
    first, worst = galleries({}, {}, [], BENCHMARKS, config()["evaluation"])
    assert not first.examples and not worst.examples and "odinw13" in worst.about


def test_answers_under_a_protocols_own_names_are_right(tmp_path):
    boxes = {1: [(1, [10, 10, 40, 40])]}
    dataset = read_coco("set", *coco_factory.write(tmp_path, coco_factory.content(boxes, ["creeping_cat"])))
    answer = '[{"bbox_2d": [10, 10, 50, 50], "label": "cat"}]'
    line = {
        **{"dataset": "set", "protocol": "p", "image_id": 1, "file_name": dataset.images[0].path, "frame": "pixel"},
        **{"width": 84, "height": 84, "input_width": 84, "input_height": 84, "categories": ["cat"]},
        **{"prompt": "Locate every cat", "completion": answer, "truncated": False, "tokens": []},
    }
    evaluation = {"protocols": {"p": {"names": {"set": {"creeping_cat": "cat"}}}}, "suites": {"s": ["set"]}}
    (found,) = galleries({("base", "s"): [line]}, {"set": dataset}, [], [("s", "p")], evaluation)
    assert found.examples[0].views[-1].quality == 1


def test_crowd_regions_are_no_objects_and_several_questions_make_one_panel(tmp_path):
    content = coco_factory.content({1: [(1, [10, 10, 40, 40]), (2, [50, 50, 20, 20]), (1, [0, 60, 20, 20])]})
    content["annotations"][2]["iscrowd"] = 1
    dataset = read_coco("set", *coco_factory.write(tmp_path, content))
    line = {
        **{"dataset": "set", "protocol": "p", "image_id": 1, "file_name": dataset.images[0].path, "frame": "pixel"},
        **{"width": 84, "height": 84, "input_width": 84, "input_height": 84, "prompt": "", "truncated": False},
    }
    lines = [
        line | {"categories": [name], "completion": f'[{{"bbox_2d": {box}, "label": "{name}"}}]'}
        for name, box in (("circle", [10, 10, 50, 50]), ("square", [50, 50, 70, 70]))
    ]
    evaluation = {"protocols": {"p": {}}, "suites": {"s": ["set"]}}
    (found,) = galleries({("base", "s"): lines}, {"set": dataset}, [], [("s", "p")], evaluation)
    truth, base = found.examples[0].views
    assert (truth.count, base.count, base.quality) == (2, 2, 1)


def test_an_image_that_did_not_change_is_no_best_or_worst_one():
    assert [why for why, _ in choose({("s", 1): 0.0, ("s", 2): 0.0}, 8, 0)] == ["typical", "at random"]
