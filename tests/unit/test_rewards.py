"""The criteria by example and by property, and the rewards as TRL calls them."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1.ground_truth import ground_truth
from vision_r1.parsing import Verdict
from vision_r1.prompts import format_answer
from vision_r1.rewards import CRITERIA, REWARD_THRESHOLDS, REWARDS, Criterion, reward_functions

A, B, C = [0, 0, 100, 100], [200, 0, 300, 100], [400, 400, 500, 500]
BAND = [0, 0, 100, 60]  # IoU and GIoU 0.6 with A
HALF = [0, 0, 100, 50]  # 0.5


def row(objects, **fields):
    size = {"frame": "pixel", "width": 640, "height": 640, "input_width": 640, "input_height": 640}
    return (
        size | {"objects": [{"label": label, "bbox": box} for label, box in objects], "categories": ["a", "b"]} | fields
    )


def answer(objects):
    return format_answer([box for _, box in objects], [label for label, _ in objects])


def judge(name, stage, predictions, objects):
    score = Criterion.named(name, stage).score(answer(predictions), row(objects))
    return score.parts["recall"], score.parts["precision"]


def test_how_each_criterion_treats_spam_duplicates_and_labels():
    objects = [("a", A), ("b", B)]
    for predictions, upstream, strict in [
        (objects, (1, 1), (1, 1)),
        (objects + [("a", C)] * 2, (1, 0.5), (1, 0.5)),
        (objects * 2, (1, 0.5), (1, 0.5)),
        ([("b", A), ("a", B)], (1, 1), (0, 0)),
        ([("zebra", A), ("b", B)], (1, 1), (0.5, 0.5)),
    ]:
        assert judge("paper", "stage1", predictions, objects) == (1, 1)
        assert judge("released_2025", "stage1", predictions, objects) == (1, 1)
        assert judge("upstream_2026", "raw", predictions, objects) == pytest.approx(upstream)
        assert judge("strict", "stage1", predictions, objects) == pytest.approx(strict)


def test_a_value_equal_to_the_threshold_reaches_it_in_the_paper_but_not_in_the_code():
    three_quarters = [0, 0, 100, 75]
    for name, at_half, at_three_quarters, in_stage2 in [
        ("paper", (1, 0.5), (1, 1), (1, 0.75)),
        ("released_2025", (0, 0.5), (1, 0.75), (0, 0.75)),
    ]:
        assert judge(name, "stage1", [("a", HALF)], [("a", A)]) == at_half
        assert judge(name, "stage1", [("a", three_quarters)], [("a", A)]) == at_three_quarters
        assert judge(name, "stage2", [("a", three_quarters)], [("a", A)]) == in_stage2


@pytest.mark.parametrize("box", [[223, 84, 234, 121], [21, 241, 37, 266], [0, 0, 50, 100]])
def test_half_of_a_box_is_exactly_at_the_threshold_if_the_image_was_not_resized(box):
    x1, y1, x2, y2 = box
    size = {"width": 560, "height": 420, "input_width": 560, "input_height": 420}
    for truth in ([x1 - (x2 - x1), y1, x2, y2], [x1, y1, 2 * x2 - x1, y2]):
        score = Criterion.named("strict", "stage1").score(answer([("a", box)]), row([("a", truth)], **size))
        assert (score.parts["recall"], score.parts["precision"]) == (0, 0.5)


def test_recall_uses_the_stages_bounds_in_the_paper_and_fixed_ones_in_the_code():
    objects = [("a", [200 * i, 0, 200 * i + 100, 100]) for i in range(4)]
    for found, paper, released in [
        (1, (0, 0), (0, 0)),
        (2, (0.5, 0), (0.5, 0.5)),
        (3, (1, 0.75), (0.75, 0.75)),
        (4, (1, 1), (1, 1)),
    ]:
        for name, expected in (("paper", paper), ("released_2025", released)):
            for stage, recall in zip(("stage1", "stage2"), expected, strict=True):
                assert judge(name, stage, objects[:found], objects) == (recall, 1), (name, stage, found)


@pytest.mark.parametrize(
    ("box", "frame", "earned"),
    [
        ([0, 0, 640, 640], "pixel", 1),
        ([0, 0, 641, 640], "pixel", 0),
        ([-1, 0, 640, 640], "pixel", 0),
        ([0, 0, 100.5, 100], "pixel", 0),
        ([0, 0, 1000, 1000], "rel1000", 1),
        ([0, 0, 1001, 1000], "rel1000", 0),
    ],
)
def test_the_papers_dual_format_also_requires_valid_content(box, frame, earned):
    text = json.dumps([{"bbox_2d": box, "label": "a"}])
    for name, expected in (("paper", earned), ("released_2025", 1), ("upstream_2026", 1)):
        assert Criterion.named(name).score(text, row([("a", A)], frame=frame)).parts["dual_format"] == expected


def test_count_is_one_if_there_are_as_many_boxes_as_objects():
    criterion, objects = Criterion.named("paper"), [("a", A), ("b", B)]
    for predictions, count in [(objects, 1), ([("a", C)] * 2, 1), (objects[:1], 0), (objects + objects[:1], 0)]:
        assert criterion.score(answer(predictions), row(objects)).parts["count"] == count
    assert [each.__name__ for each in reward_functions(criterion, [*REWARDS, "count"])] == [*REWARDS, "count"]


def test_stages_threshold_quality_and_recall():
    objects = [("a", A)]
    for name in CRITERIA.keys() - {"paper"}:
        assert judge(name, "raw", [("a", BAND)], objects) == pytest.approx((1, 0.6))
        assert judge(name, "stage1", [("a", BAND)], objects) == pytest.approx((1, 0.6))
        assert judge(name, "stage2", [("a", BAND)], objects) == (0, 0)
        assert judge(name, "stage1", [("a", [0, 0, 100, 80])], objects) == (1, 1)
        assert judge(name, "stage2", [("a", [0, 0, 100, 80])], objects) == pytest.approx((1, 0.8))
        # Exactly at a threshold: not above it, so not recalled; not below it, so not set to zero.
        assert judge(name, "stage1", [("a", HALF)], objects) == (0, 0.5)
        assert judge(name, "raw", [("a", C)], objects) == (0, 0)


@pytest.mark.parametrize("name", CRITERIA)
def test_recall_is_differentiated_in_both_stages(name):
    objects = [("a", [x, 0, x + 50, 50]) for x in range(0, 500, 100)]
    recalls = {"raw": [0.4, 0.6, 0.8, 1], "stage1": [0, 0.6, 1, 1], "stage2": [0, 0.6, 1, 1]}
    if name == "paper":  # with the stage's own bounds
        recalls["stage2"] = [0, 0, 0.8, 1]
    for stage, expected in recalls.items():
        assert [judge(name, stage, objects[:n], objects)[0] for n in (2, 3, 4, 5)] == pytest.approx(expected)


def test_strict_matches_by_value_not_by_distance():
    """By distance, the second prediction would go to the first object, and nothing would be recalled."""
    objects = [("a", [30, 30, 50, 90]), ("a", [10, 10, 90, 30])]
    predictions = [("a", [10, 0, 90, 20]), ("a", [10, 10, 70, 30])]
    assert judge("strict", "raw", predictions, objects) == pytest.approx((1 / 2, 0.75 / 2))


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("stage", REWARD_THRESHOLDS)
def test_images_without_objects_need_an_empty_answer(name, stage):
    assert judge(name, stage, [], []) == (1, 1)
    assert judge(name, stage, [("a", A)], []) == (0, 0)
    assert judge(name, stage, [], [("a", A)]) == (0, 0)


def test_the_released_codes_peculiar_dual_format_for_an_empty_image():
    def dual_format(name, text):
        return Criterion.named(name).score(text, row([])).parts["dual_format"]

    assert (dual_format("released_2025", "[]"), dual_format("released_2025", "none")) == (0, 1)
    assert (dual_format("strict", "[]"), dual_format("strict", "none")) == (1, 0)


@pytest.mark.parametrize(
    ("text", "released_2025", "strict"),
    [
        ('[{"bbox_2d": [0, 0, 100, 100], "label": "a"}]', (1, 1, 1), (1, 1, 1)),
        ('[{"bbox_2d": [0, 0, 100, 100], "label": "a"}, {"bb', (0, 1, 1), (0, 1, 1)),
        ('Yes: [{"bbox_2d": [0, 0, 100, 100], "label": "a"}]', (0, 1, 1), (0, 1, 1)),
        ('Yes: [{"bbox_2d": [0,0,100,100], "label": "a"}]', (0, 0, 0), (0, 1, 1)),
        ('\n```json\n[{"bbox_2d": [0, 0, 100, 100], "label": "a"}]\n```', (0, 1, 1), (1, 1, 1)),
        ('[{"bbox_2d": ["0", 0.9, 100, 100.9], "label": null}]', (1, 1, 1), (0, 0, 0)),
        ('[[{"bbox_2d": [0, 0, 100, 100], "label": "a"}]]', (1, 1, 1), (0, 1, 1)),
        ('[{"bbox_2d": [0, 0, 100], "label": "a"}]', (0, 0, 0), (0, 0, 0)),
        ('[{"bbox_2d": [100, 0, 0, 100], "label": "a"}]', (1, 0, 0), (0, 0, 0)),
        ("{}", (1, 0, 0), (0, 0, 0)),
    ],
)
def test_texts_in_both_criteria(text, released_2025, strict):
    for name, expected in (("released_2025", released_2025), ("strict", strict)):
        score = Criterion.named(name, "stage1").score(text, row([("a", A)]))
        assert tuple(score.parts[reward] for reward in REWARDS) == expected


def test_boxes_are_compared_in_pixels_of_the_original():
    objects = [("a", [100, 50, 300, 200])]
    pixel = row(objects, width=400, height=300, input_width=800, input_height=150)
    relative = pixel | {"frame": "rel1000"}
    for name in CRITERIA:
        criterion = Criterion.named(name)
        assert criterion.score(answer([("a", [200, 25, 600, 100])]), pixel).parts["precision"] == pytest.approx(1)
        assert criterion.score(answer([("a", [250, 167, 750, 667])]), relative).parts["precision"] == pytest.approx(
            1, abs=0.01
        )


def test_each_part_is_a_field():
    objects, crossed = [("a", A), ("b", B)], [("b", A), ("a", B), ("a", C)]
    released_2025 = Criterion.named("released_2025", "stage1")

    def judged(**parts):
        score = replace(released_2025, **parts).score(answer(crossed), row(objects))
        return score.parts["recall"], score.parts["precision"]

    assert judged() == (1, 1)
    assert judged(denominator="predictions") == pytest.approx((1, 2 / 3))
    assert judged(label_aware=True) == (0, 0)
    assert judged(assignment="value", quality="iou") == (1, 1)
    assert replace(released_2025, quality="iou").score(answer([("a", C)]), row(objects)).parts["precision"] == 0
    assert (
        replace(released_2025, precision_low=0, quality="iou")
        .score(answer([("a", C)]), row(objects))
        .parts["precision"]
        == 0
    )
    assert replace(released_2025, differentiate=False).score(answer(objects[:1]), row(objects)).parts["recall"] == 0.5


@pytest.mark.parametrize(
    "wrong",
    [{"parser": "x"}, {"quality": "diou"}, {"denominator": ""}, {"precision_low": 0.8}, {"recall_threshold": 2}],
)
def test_a_wrong_field_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(Criterion.named("strict", "stage1"), **wrong)


LABELS = st.sampled_from(["a", "b", " A"])
BOX = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 30)] * 2).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
OBJECTS = st.lists(st.tuples(LABELS, BOX), max_size=6)
STAGE = st.sampled_from(list(REWARD_THRESHOLDS))


@settings(deadline=None)
@given(OBJECTS, OBJECTS, st.sampled_from(list(CRITERIA)), STAGE, st.text(max_size=5))
def test_rewards_are_in_0_1(predictions, objects, name, stage, noise):
    for text in (answer(predictions), answer(predictions)[:-9] + noise, noise):
        score = Criterion.named(name, stage).score(text, row(objects))
        assert all(0 <= score.parts[reward] <= 1 for reward in REWARDS)


@settings(deadline=None, max_examples=300)
@given(OBJECTS, OBJECTS, STAGE, st.randoms(use_true_random=False))
def test_the_order_of_the_predictions_does_not_matter(predictions, objects, stage, random):
    shuffled = random.sample(predictions, len(predictions))
    assert judge("strict", stage, predictions, objects) == pytest.approx(judge("strict", stage, shuffled, objects))


@settings(deadline=None)
@given(st.integers(0, 2**32), STAGE)
def test_the_order_does_not_matter_to_the_released_criterion(seed, stage):
    # Boxes of random size, so that no two assignments cost the same.
    rng = np.random.default_rng(seed)

    def draw(count):
        low = rng.integers(0, 500, (count, 2))
        return [("a", box.tolist()) for box in np.concatenate([low, low + rng.integers(1, 140, (count, 2))], axis=1)]

    predictions, objects = draw(rng.integers(1, 8)), draw(rng.integers(1, 8))
    shuffled = [predictions[index] for index in rng.permutation(len(predictions))]
    assert judge("released_2025", stage, predictions, objects) == pytest.approx(
        judge("released_2025", stage, shuffled, objects)
    )


@settings(deadline=None)
@given(OBJECTS, STAGE, st.sampled_from(["pixel", "rel1000"]))
def test_perfect_boxes_earn_everything(objects, stage, frame):
    unit = {"pixel": 1, "rel1000": 1000 / 640}[frame]
    items = [{"bbox_2d": [value * unit for value in box], "label": label} for label, box in objects]
    score = Criterion.named("strict", stage).score(json.dumps(items), row(objects, frame=frame))
    assert [score.parts[reward] for reward in REWARDS] == pytest.approx([1, 1, 1])


@settings(deadline=None)
@given(OBJECTS, OBJECTS, LABELS, STAGE, st.integers(0, 6))
def test_a_box_on_nothing_never_raises_strict_precision(predictions, objects, label, stage, place):
    spam = (label, [500, 500, 520, 520])
    before = judge("strict", stage, predictions, objects)
    after = judge("strict", stage, predictions[:place] + [spam] + predictions[place:], objects)
    assert after[1] <= before[1] + 1e-9
    assert after[0] <= before[0] + 1e-9


def test_ground_truth_in_every_accepted_form():
    for fields in [
        {"objects": [{"label": "a", "bbox": A}, {"label": "b", "bbox": B}]},
        {"objects": {"label": ["a", "b"], "bbox": [A, B]}},
        {"solution": [["a", A], ["b", B]]},
        {"solution": json.dumps([["a", A], ["b", B]])},
    ]:
        boxes, labels = ground_truth(fields)
        assert (boxes.tolist(), labels) == ([A, B], ["a", "b"])
    assert ground_truth({"objects": {"label": [], "bbox": []}})[0].shape == (0, 4)


@pytest.mark.parametrize(
    "objects",
    [None, 5, "no", "[[", [5], [{"label": "a"}], [{"label": "a", "bbox": [1, 2, 3]}], [{"label": 5, "bbox": A}]]
    + [[{"label": "a", "bbox": [1, 2, 3, float("nan")]}], [{"label": "a", "bbox": ["x"] * 4}]]
    + [[{"label": "a", "bbox": [1, 2, 3, None]}], [{"label": "a", "bbox": None}]]
    + [[{"label": "a", "bbox": [30, 30, 10, 40]}], [{"label": "a", "bbox": [10, 30, 40, 30]}]],
)
def test_wrong_ground_truth_is_named(objects):
    with pytest.raises(ValueError, match="objects"):
        ground_truth({"objects": objects})


def batch():
    rows = [row([("a", A)]), row([("a", A)]), row([]), row([("a", A), ("b", B)])]
    texts = [answer([("a", A)]), answer([("a", A)] * 2), "[]", answer([("a", A)])[:-20] + ', "lab']
    return texts, {name: [fields[name] for fields in rows] for name in rows[0]}


def test_reward_functions_as_trl_calls_them():
    texts, columns = batch()
    functions = reward_functions(Criterion.named("strict", "raw"))
    assert [function.__name__ for function in functions] == list(REWARDS)
    logged = []
    columns |= {"trainer_state": object(), "log_extra": print, "log_metric": lambda *metric: logged.append(metric)}
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    rewards = [f(prompts=texts, completions=completions, completion_ids=[[1]] * 4, **columns) for f in functions]
    assert rewards == [[1, 1, 1, 0], [1, 1, 1, 0], [1, 0.5, 1, 0]]
    assert len(logged) == len(dict(logged)) == len(Verdict) + 2  # scored and logged once for all three
    assert {name: value for name, value in logged if value} == {
        "verdicts/fenced": 0.5,
        "verdicts/clean": 0.25,
        "verdicts/truncated": 0.25,
        "num_predictions": 0.75,
        "num_duplicates": 0.25,
    }
    functions[0](completions=list(completions), **columns)
    assert len(logged) == 2 * (len(Verdict) + 2)  # the next batch, though equal, is logged again


def test_reward_functions_take_plain_texts_and_pickle():
    texts, columns = batch()
    functions = pickle.loads(pickle.dumps(reward_functions(Criterion.named("strict", "raw"))))
    assert functions[0].scorer is functions[1].scorer is functions[2].scorer
    assert functions[2](texts, **columns) == [1, 0.5, 1, 0]
    with pytest.raises(ValueError, match="unknown 'strct'; choose paper, "):
        Criterion.named("strct")
    with pytest.raises(KeyError, match="frame"):
        functions[2](texts, objects=columns["objects"])


def test_a_batch_changed_in_place_is_scored_again():
    texts, columns = batch()
    precision = reward_functions(Criterion.named("strict", "raw"))[2]
    assert precision(texts, **columns)[0] == 1
    texts[0] = "[]"
    assert precision(texts, **columns)[0] == 0


def test_columns_of_a_dataset_of_the_datasets_library():
    datasets = pytest.importorskip("datasets")
    texts, columns = batch()
    table = datasets.Dataset.from_list(
        [{name: values[i] for name, values in columns.items()} for i in range(len(texts))]
    )
    inputs = [table[index] for index in range(len(table))]
    columns = {name: [example[name] for example in inputs] for name in inputs[0]}  # as TRL's trainer does
    assert reward_functions(Criterion.named("strict", "raw"))[2](texts, **columns) == [1, 0.5, 1, 0]


@pytest.mark.parametrize("corner", [float("inf"), 1e13])
def test_a_corner_that_is_infinite_is_named(corner):
    with pytest.raises(ValueError, match="not finite"):
        ground_truth({"objects": [{"label": "a", "bbox": [0, 0, corner, 10]}]})


def test_thresholds_above_1_are_named():
    with pytest.raises(ValueError, match="precision_high"):
        replace(Criterion.named("strict", "stage1"), precision_high=1.5)


def test_a_configuration_without_a_known_criterion_is_named():
    for wrong in ({}, {"criterion": "ours"}):
        with pytest.raises(ValueError, match="criterion: unknown"):
            Criterion.of(wrong)
