import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1.evaluation.readers import READERS, released_2025, upstream_2026
from vision_r1.parsing import Verdict, parse

BOX = '{"bbox_2d": [1, 2, 30, 40], "label": "dog"}'


def read(text):
    parsed = released_2025(text)
    return parsed.boxes.tolist(), parsed.labels


@pytest.mark.parametrize(
    "text",
    [
        f"[{BOX}]",
        f"```json\n[{BOX}]\n```",
        f"Here:\n```json\n[{BOX}]\n```\nDone.",
        f"```json\n[\n{BOX},\n{BOX[:20]}",  # truncated: the last item is lost
        f"[{BOX}, {BOX[:-1]}",
        f"({BOX},)",  # a Python literal, not JSON
        f"[{BOX}, 3, {{}}, {{'bbox_2d': [1, 2, 3], 'label': 'x'}}, {{'bbox_2d': [1, 2, 3, 4]}}, {{'bbox_2d': 'abcd'}}]",
    ],
)
def test_reads_the_same_texts_as_the_released_evaluation(text):
    assert read(text) == ([[1, 2, 30, 40]], ["dog"])


@pytest.mark.parametrize("box", ["[[1, 2, 30, 40]]", "[[1, 2, 30, 40], [5, 6, 7, 8]]", "[1, 2, 30, 40, 5, 6, 7, 8]"])
def test_of_several_boxes_in_an_item_the_first_counts(box):
    """The released code takes the first row of torch.tensor(box).view(-1, 4)."""
    text = f'[{{"bbox_2d": {box}, "label": "dog"}}]'
    assert read(text) == ([[1, 2, 30, 40]], ["dog"])
    assert not upstream_2026(text).labels


@pytest.mark.parametrize("box", ["[1, 2, 30, 40, 5]", "[[1, 2, 30, 40], [5, 6]]", "[[1, 2], [30, 40]]", "[[]]", "[]"])
def test_boxes_that_the_released_evaluation_can_not_shape_are_left_out(box):
    assert read(f'[{{"bbox_2d": {box}, "label": "dog"}}, {BOX}]') == ([[1, 2, 30, 40]], ["dog"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no boxes",
        f"Sure! [{BOX}]",  # text before, and no fence
        f"``` json\n[{BOX}]\n```",
        f'[{{"bbox_2d": [1, 2, 30, null], "label": "dog"}}, {BOX}]',  # null is not Python
        BOX,  # a single item is not a list
        "[" * 5000,
        "-" * 100_000 + "1",
    ],
)
def test_reads_nothing(text):
    assert read(text) == ([], [])


def test_keeps_boxes_that_the_strict_parser_drops_and_does_not_round():
    text = '[{"bbox_2d": [30, 40, 1, 2], "label": "dog"}, {"bbox_2d": [0.5, 1, 2.25, 3], "label": "cat"}]'
    assert read(text) == ([[30, 40, 1, 2], [0.5, 1, 2.25, 3]], ["dog", "cat"])
    assert READERS["strict"](text, None).labels == ["cat"]
    assert released_2025(text).verdict == Verdict.INVERTED


@given(st.text(alphabet='[]{}",:0123456789 \n`jsonbx_2dlae-.\\', max_size=80))
def test_never_raises(text):
    assert released_2025(text).verdict == parse(text).verdict


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (f"[{BOX}]", ["dog"]),
        (f"```json\n[{BOX}]\n```", ["dog"]),
        (f"I think [3].</think>\n```json\n[{BOX}]\n```", ["dog"]),
        (f"[{BOX}, {{'bbox_2d': [1, 2, 3], 'label': 'x'}}, {{'label': 'no box'}}]", ["dog"]),
        ('[{"bbox_2d": [30, 40, 1, 2], "label": "dog"}]', ["dog"]),
        (f"[{BOX}, {{'bbox_2d': [1, 2, 3, 4]}}]", []),  # no label
        (f"[{BOX}, 3]", []),
        (f"[{BOX}, {{'bbox_2d': ['a', 2, 3, 4], 'label': 'x'}}]", []),
        (f"[{BOX}, {BOX[:-1]}", []),  # truncated
        (f"Here:\n```json\n[{BOX}]\n```", []),
        (BOX, []),
        ("", []),
    ],
)
def test_upstream_reads_all_or_nothing(text, labels):
    assert upstream_2026(text).labels == labels


@given(st.text(alphabet='[]{}",:0123456789 \n`jsonbx_2dlae-.\\', max_size=80))
def test_upstream_never_raises(text):
    assert upstream_2026(text).verdict == parse(text).verdict
