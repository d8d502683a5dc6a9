"""The rewards of other methods, computed by hand: copies, wrong labels, empty answers, and when the order matters."""

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_rewards import HALF, A, B, C, answer, row

from vision_r1.parsing import Verdict
from vision_r1.rewards import reward_functions
from vision_r1.zoo import ZOO, ZooReward, criterion_of

TIGHT = [0, 0, 100, 80]  # IoU 0.8 with A


def parts(name, predicted, objects=(("a", A), ("b", B)), **fields):
    return tuple(ZooReward(name).score(answer(predicted), row(list(objects), **fields)).parts.values())


def near(*values):
    return pytest.approx(values, abs=1e-9)


RIGHT = [("a", A), ("b", B)]
COPIED = [("a", A), ("b", B), ("a", A)]
WRONG_LABEL = [("b", A), ("b", B)]
FOREIGN = [("a", A), ("b", B), ("zebra", C)]  # a label that nobody asked for, and no object has


@pytest.mark.parametrize(
    ("name", "right", "copied", "wrong_label", "foreign"),
    [
        ("rex_omni", (1,), (4 / 5,), (2 / 4,), (4 / 5,)),
        # The wrong label: recall 1/2; precision 1/2, because one box of label b does not overlap b's object.
        ("rex_omni_code", (1,), (1,), (1 / 2,), (4 / 5,)),
        # COCO's AP of label a is 0, that of b is 1/2 at every recall, because the false box precedes the right one.
        ("vlm_r1_od_ap", (1, 1), (1, 1), (1, 1 / 4), (1, 1)),
        ("vlm_r1_od_length", (1, 1), (1, 2 / 3), (1, 1 / 4), (1, 2 / 3)),
        # An extra box is a third of the boxes and costs half of that. A wrong label still counts as a pair.
        ("vlm_r1_weighted_sum", (1, 1, 1), (1, 1, 5 / 6), (1, 1 / 2, 1), (1, 1, 5 / 6)),
        # The foreign box is dropped: format falls, F1 doesn't.
        ("perception_r1", (1, 1, 1, 1), (1, 4 / 5, 1, 1), (1, 1, 1 / 2, 1), (2 / 3, 1, 1, 1)),
    ],
)
def test_by_hand(name, right, copied, wrong_label, foreign):
    assert parts(name, RIGHT) == near(*right)
    assert parts(name, COPIED) == near(*copied)
    assert parts(name, WRONG_LABEL) == near(*wrong_label)
    assert parts(name, FOREIGN) == near(*foreign)


@pytest.mark.parametrize(
    ("name", "silent", "false_box", "both_empty"),
    [
        ("rex_omni", (0,), (0,), (1,)),
        ("rex_omni_code", (0,), (0,), (1,)),
        ("vlm_r1_od_ap", (1, 0), (1, 0), (1, 1)),
        ("vlm_r1_od_length", (1, 0), (1, 0), (1, 1)),
        ("vlm_r1_weighted_sum", (1, 0, 0), (1, 0, 0), (1, 1, 1)),
        ("perception_r1", (0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0)),
    ],
)
def test_empty_answers_and_empty_images(name, silent, false_box, both_empty):
    assert parts(name, []) == silent
    assert parts(name, [("a", A)], ()) == false_box
    assert parts(name, [], ()) == both_empty


def test_rex_omni_lets_one_box_serve_several_objects():
    twice = [("a", A), ("a", A)]
    assert parts("rex_omni", [("a", A)], twice) == near(4 / 3)  # 2 S / (m + n), S = 2: more than 1
    assert parts("rex_omni_code", [("a", A)], twice) == near(1)
    # The best box decides, whatever its label: a looser one with the right label earns nothing.
    shadowed = [("b", A), ("a", TIGHT)]
    assert parts("rex_omni", shadowed, [("a", A)]) == (0,)
    assert parts("rex_omni_code", shadowed, [("a", A)]) == near(2 * 0.8 * 0.4 / 1.2)


def test_a_copy_of_a_box_above_average_raises_the_precision_of_rex_omnis_code():
    predicted = [("a", A), ("a", HALF)]  # precision (1 + 0.5) / 2
    copied = [*predicted, ("a", A)]  # (1 + 0.5 + 1) / 3
    assert parts("rex_omni_code", predicted, [("a", A)]) == near(2 * 0.75 / 1.75)
    assert parts("rex_omni_code", copied, [("a", A)]) == near(2 * (5 / 6) / (11 / 6))
    assert parts("rex_omni", copied, [("a", A)]) < parts("rex_omni", predicted, [("a", A)])


def test_a_copy_costs_ap_only_before_another_right_box_of_its_label():
    objects = [("a", A), ("a", B)]
    assert parts("vlm_r1_od_ap", [("a", A), ("a", B), ("a", A)], objects) == near(1, 1)
    # Precision 1 up to recall 1/2 (51 of 101 recalls), then 2/3.
    assert parts("vlm_r1_od_ap", [("a", A), ("a", A), ("a", B)], objects) == near(1, (51 + 50 * 2 / 3) / 101)
    assert parts("vlm_r1_od_length", [("a", A), ("a", B), ("a", A)], objects) == near(1, 2 / 3)


def test_thresholds_of_weighted_sum_and_perception_r1():
    assert parts("vlm_r1_weighted_sum", [("a", TIGHT)], [("a", A)]) == near(1, 0.8, 1)
    assert parts("vlm_r1_weighted_sum", [("a", HALF)], [("a", A)]) == near(1, 0.5, 1)  # 0.5 is enough
    assert parts("perception_r1", [("a", TIGHT)], [("a", A)]) == near(1, 1, 1, 0.8)
    assert parts("perception_r1", [("a", HALF)], [("a", A)]) == near(1, 0, 0, 0)  # not enough here
    # The best pair is matched first, so TIGHT gets no object; Perception-R1's label and IoU are over pairs only.
    assert parts("vlm_r1_weighted_sum", [("a", TIGHT), ("a", A)], [("a", A), ("a", B)]) == near(1, 1 / 2, 1 / 2)
    assert parts("perception_r1", [("a", A)]) == near(1, 2 / 3, 1, 1)


def test_labels_are_compared_as_in_each_method():
    for name, expected in (("rex_omni", (0,)), ("vlm_r1_od_ap", (1, 0)), ("vlm_r1_weighted_sum", (1, 1, 1))):
        assert parts(name, [("A", A)], [("a", A)], categories=["a", "A"]) == expected
    assert parts("perception_r1", [("A", A)], [("a", A)]) == (0, 0, 0, 0)  # not a known label
    assert parts("perception_r1", [("A", A)], [("a", A)], categories=None) == (1, 1, 0, 1)


def test_relative_frames_are_compared_in_pixels_of_the_image():
    size = {"frame": "rel1000", "width": 500, "height": 200}
    for name in ZOO:
        assert parts(name, [("a", [0, 0, 200, 500])], [("a", A)], **size) == (1,) * len(ZOO[name].weights)


BOX = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2).map(
    lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]]
)
OBJECTS = st.lists(st.tuples(st.sampled_from(["a", "b", "B", "zebra"]), BOX), max_size=5)


@pytest.mark.parametrize("name", ZOO)
@settings(deadline=None)
@given(predicted=OBJECTS, objects=OBJECTS, rest=st.text(max_size=3))
def test_parts_are_finite_and_in_their_range(name, predicted, objects, rest):
    score = ZooReward(name).score(answer(predicted) + rest, row(objects))
    assert score.parts.keys() == ZOO[name].weights.keys()
    top = 2 if name == "rex_omni" else 1
    assert all(math.isfinite(part) and 0 <= part <= top + 1e-12 for part in score.parts.values())
    assert (score.num_predictions, isinstance(score.verdict, Verdict)) == (len(predicted), True)


@pytest.mark.parametrize("name", ZOO)
@settings(deadline=None)
@given(objects=OBJECTS.filter(bool))
def test_the_right_answer_earns_all(name, objects):
    assert min(parts(name, objects, objects, categories=None)) >= 1 - 1e-9


@pytest.mark.parametrize("name", ["rex_omni", "rex_omni_code"])
@settings(deadline=None)
@given(predicted=OBJECTS, objects=OBJECTS, random=st.randoms(use_true_random=False))
def test_the_order_of_predictions_does_not_matter(name, predicted, objects, random):
    """It does for AP with equal scores, and for the others if two boxes with different labels are equally good."""
    shuffled = random.sample(predicted, len(predicted))
    assert parts(name, predicted, objects) == pytest.approx(parts(name, shuffled, objects))


@pytest.mark.parametrize("name", ["vlm_r1_weighted_sum", "perception_r1"])
def test_without_ties_the_order_of_predictions_does_not_matter(name):
    predicted = [("a", TIGHT), ("b", [210, 0, 300, 100]), ("a", [400, 410, 500, 520]), ("b", [7, 9, 90, 85])]
    objects = [("a", A), ("b", B), ("b", C)]
    assert (
        len({tuple(map(float, parts(name, list(order), objects))) for order in itertools.permutations(predicted)}) == 1
    )


@settings(deadline=None)
@given(predicted=OBJECTS, objects=OBJECTS.filter(bool))
def test_ap_equals_the_evaluations(predicted, objects):
    from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
    from vision_r1.evaluation import coco_ap

    names = sorted({label for label, _ in objects})
    entries = [
        [(names.index(label) + 1, label, (x1, y1, x2 - x1, y2 - y1)) for label, (x1, y1, x2, y2) in boxes]
        for boxes in (objects, [each for each in predicted if each[0] in names])
    ]
    truth = tuple(CocoObject(*entry, area=entry[2][2] * entry[2][3], crowd=False) for entry in entries[0])
    dataset = CocoDataset("one", "", dict(enumerate(names, 1)), (CocoImage(1, "", 0, 0, truth),))
    found = [coco_ap.Detection(1, category, box, 1.0) for category, _, box in entries[1]]
    expected = coco_ap.match(dataset, found).stats["AP"]
    assert parts("vlm_r1_od_ap", predicted, objects) == near(1, expected if predicted else 0)


def test_text_that_is_not_well_formed_loses_only_format():
    for name in ("vlm_r1_od_ap", "vlm_r1_weighted_sum", "perception_r1"):
        score = ZooReward(name).score(f"Here: {answer(RIGHT)}", row(RIGHT))
        assert score.verdict == Verdict.SURROUNDED
        assert [part for part, value in score.parts.items() if value < 1] == ["format"]


@pytest.mark.parametrize("name", ZOO)
def test_a_reward_function_for_each_part_as_trl_calls_them(name):
    columns = {key: [value] * 2 for key, value in row(RIGHT).items()}
    columns["objects"] = [json.dumps(value) for value in columns["objects"]]
    logged = {}
    functions = reward_functions(criterion_of({"criterion": name}))
    assert [function.__name__ for function in functions] == list(ZOO[name].weights)
    for function in functions:
        assert function([answer(RIGHT), "?"], log_metric=logged.__setitem__, **columns) == [1, 0]
    assert (logged["verdicts/not_json"], logged["num_predictions"]) == (0.5, 1)


def test_a_reward_of_another_method_has_no_parts_to_change():
    with pytest.raises(ValueError, match="parser: not a key of rex_omni, only of Vision-R1's criteria .paper, "):
        criterion_of({"criterion": "rex_omni", "parser": "strict"})
    with pytest.raises(ValueError, match="criterion: unknown 'rex'; choose paper, .*perception_r1$"):
        criterion_of({"criterion": "rex"})
    assert ZooReward("perception_r1").part_weights() == {"format": 0.25, "f1": 0.75, "label": 1, "iou": 1}
    with pytest.raises(ValueError, match="reward_weights: 2 given for 3 .format, iou, completeness.; give one for"):
        ZooReward("vlm_r1_weighted_sum").part_weights([1, 1])
