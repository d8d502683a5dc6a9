"""The parser: every verdict by example; on any text it never raises and takes linear time."""

import json
import string
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1 import released_2025
from vision_r1.parsing import MAX_BOXES, SEVERITY, WELL_FORMED, Verdict, parse
from vision_r1.prompts import format_answer

DOG = '{"bbox_2d": [1, 2, 3, 4], "label": "dog"}'
CAT = '{"bbox_2d": [5, 6.5, 7, 8], "label": "cat"}'


def item(box, label='"dog"'):
    return f'[{DOG}, {{"bbox_2d": {box}, "label": {label}}}]'


@pytest.mark.parametrize(
    ("text", "verdict", "labels"),
    [
        (f"[{DOG}, {CAT}]", "clean", ["dog", "cat"]),
        ("[]", "clean", []),
        (f"\n```json\n[{DOG}, {CAT}]\n```\n", "fenced", ["dog", "cat"]),
        (f"```\n[{DOG}]```", "fenced", ["dog"]),
        (f"```json\n[{DOG}, {CAT}]\n", "truncated", ["dog", "cat"]),
        (f'```json\n[{DOG}, {CAT}, {{"bbox_2d": [1, 2', "truncated", ["dog", "cat"]),
        (f'[{DOG}, {{"bbox_2d": [1, 2, 3, 4], "label": "do', "truncated", ["dog"]),
        (f"[{DOG}", "truncated", ["dog"]),
        ('```json\n[{"bbox_2d": [1', "truncated", []),
        (f"Here: [{DOG}", "truncated", ["dog"]),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "a", "attributes": {"c": {}}}, {"bbox', "truncated", []),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "a", "attributes": {"c": 1}}, {"bbox', "truncated", ["a"]),
        (f'{{"objects": [{DOG}, {CAT}], "n": {{"of": {{"dogs": 1}}}}', "truncated", ["dog", "cat"]),
        (f'{{"objects": [{DOG}, {{"bbox_2d": [1, 2, 3, 4], "label": "a", "x": {{}}}}', "truncated", ["dog", "a"]),
        (f"[{DOG} {CAT}]", "malformed", ["dog", "cat"]),
        (f"[{DOG}, {CAT},]", "malformed", ["dog", "cat"]),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "dog",}]', "malformed", ["dog"]),
        ('[{"bbox_2d": [1, 2, 3, 4, ], "label": ",}"\n,}]', "malformed", [",}"]),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "hot\n\tdog"}]', "malformed", ["hot\n\tdog"]),
        ('[{"bbox_2d": [1, 2, 3, 4,, ], "label": "dog"}]', "not_json", []),
        (f"\ufeff[{DOG}]", "clean", ["dog"]),
        (f"<think>\n\n</think>\n\n[{DOG}]", "clean", ["dog"]),
        (f"\ufeff<think></think>```JSON\n[{DOG}]\n```", "fenced", ["dog"]),
        (f"<think>A dog.</think>[{DOG}]", "surrounded", ["dog"]),
        (f"[{DOG}]\n```", "surrounded", ["dog"]),
        (f"[{DOG}, {{'bbox_2d': [1, 2, 3, 4], 'label': 'cat'}}]", "malformed", ["dog"]),
        (f"Sure:\n```json\n[{DOG}, {CAT}]\n```\nDone.", "surrounded", ["dog", "cat"]),
        (f"[{DOG}]\nDone.", "surrounded", ["dog"]),
        (f"2 animals: [{DOG}, {CAT}]", "surrounded", ["dog", "cat"]),
        (f"```json\n[{DOG}]\n```\n```json\n[{DOG}]\n```", "surrounded", ["dog", "dog"]),
        ("[] nothing there", "surrounded", []),
        (DOG, "not_a_list", ["dog"]),
        (f"[[{DOG}, {CAT}]]", "not_a_list", ["dog", "cat"]),
        (f'{{"objects": [{DOG}]}}', "not_a_list", ["dog"]),
        (f"\\boxed{{[{DOG}, {CAT}]}}", "surrounded", ["dog", "cat"]),
        (f'{{"objects": [{DOG} {CAT}]}}', "malformed", ["dog", "cat"]),
        (f"{{'objects': [{DOG}, {{'bbox_2d': [1, 2, 3, 4]}}]}}", "malformed", ["dog"]),
        ("17", "not_a_list", []),
        ("", "not_json", []),
        ("There is a dog at [1, 2, 3, 4].", "not_json", []),
        ("[{'bbox_2d': [1, 2, 3, 4], 'label': 'dog'}]", "not_json", []),
        ("3 dogs", "not_json", []),
        (f'[{DOG}, {{"label": "dog"}}]', "no_box", ["dog"]),
        (f"[{DOG}, 5, null]", "no_box", ["dog"]),
        (item('"1,2,3,4"'), "no_box", ["dog"]),
        (item("[1, 2, 3]"), "wrong_arity", ["dog"]),
        (item("[]"), "wrong_arity", ["dog"]),
        (item('["1", "2", "3", "4"]'), "not_a_number", ["dog"]),
        (item("[null, 2, 3, 4]"), "not_a_number", ["dog"]),
        (item("[false, 2, 3, true]"), "not_a_number", ["dog"]),
        (item("[[1], 2, 3, 4]"), "not_a_number", ["dog"]),
        (item("[NaN, 2, 3, 4]"), "non_finite", ["dog"]),
        (item("[1, 2, 3, Infinity]"), "non_finite", ["dog"]),
        (item("[1, 2, 3, 1e999]"), "non_finite", ["dog"]),
        (item(f"[1, 2, 3, {'9' * 5000}]"), "non_finite", ["dog"]),
        (item("[3, 2, 1, 4]"), "inverted", ["dog"]),
        (item("[1, 2, 1, 4]"), "inverted", ["dog"]),
        (item("[1, 2, 3, 4]", "null"), "no_label", ["dog"]),
        (item("[1, 2, 3, 4]", "7"), "no_label", ["dog"]),
        (f'[{DOG}, {{"bbox_2d": [1, 2, 3, 4]}}]', "no_label", ["dog"]),
        (item("[1, 2, 3, 4]", '" CAT "'), "clean", ["dog", " CAT "]),
        (item("[1, 2, 3, 4]", '"zebra"'), "unknown_label", ["dog", "zebra"]),
        (item("[1, 2]", '"zebra"'), "wrong_arity", ["dog"]),
        (item("[1, 2, 3, 4]", r'"a \"{}[]\\ \u732b"'), "unknown_label", ["dog", 'a "{}[]\\ 猫']),
        (item("[1, 2, 3, 4]", r'"\ud83d"'), "unknown_label", ["dog", "?"]),  # half an emoji can't be written as UTF-8
        (f'[{DOG}, {{"bbox_2d": [1, 2, 3, 4], "label": "}}{{\\"["}}, {{', "truncated", ["dog", '}{"[']),
    ],
)
def test_verdicts(text, verdict, labels):
    parsed = parse(text, ["dog", "cat"])
    assert (parsed.verdict, parsed.labels) == (verdict, labels)
    assert parsed.boxes.shape == (len(labels), 4)
    assert parsed.well_formed == (verdict in WELL_FORMED)


def test_boxes_stay_in_the_frame_of_the_text():
    assert parse(f"[{DOG}, {CAT}]").boxes.tolist() == [[1, 2, 3, 4], [5, 6.5, 7, 8]]


def test_labels_are_compared_with_their_accents_composed():
    text = '[{"bbox_2d": [1, 2, 3, 4], "label": "Cafe\u0301"}]'
    assert parse(text, ["caf\u00e9"]).verdict is Verdict.CLEAN


def test_without_categories_every_label_is_known():
    assert parse(item("[1, 2, 3, 4]", '"zebra"')).verdict == Verdict.CLEAN


def test_the_verdict_is_the_worst_fault_in_any_order():
    items = ['{"bbox_2d": [1, 2, 3], "label": "dog"}', '{"label": "dog"}', DOG]
    assert {parse(f"[{', '.join(order)}]").verdict for order in (items, items[::-1])} == {Verdict.NO_BOX}
    assert SEVERITY.index(Verdict.TRUNCATED) < SEVERITY.index(Verdict.NO_BOX) < SEVERITY.index(Verdict.CLEAN)


@pytest.mark.parametrize("label", ["0]", "a}]", 'b\\"]}'])
def test_brackets_in_labels_are_not_structure(label):
    """Found by the next test: a closing bracket in a label made a truncated text look complete."""
    text = f'```json\n[{DOG}, {{"bbox_2d": [1, 2, 3, 4], "label": "{label}"}}'
    assert parse(text).verdict == parse(text[:-2]).verdict == Verdict.TRUNCATED
    assert parse(f"{text[:-2]}").labels == ["dog"]


ITEM_TEXTS = st.lists(
    st.tuples(st.lists(st.integers(0, 999), min_size=4, max_size=4), st.text(string.printable, max_size=12)), max_size=6
)


@settings(deadline=None)
@given(ITEM_TEXTS, st.integers(0, 400))
def test_truncation_keeps_every_complete_item(answers, length):
    objects = [([x, y, x + 1 + w, y + 1 + h], label) for (x, y, w, h), label in answers]
    whole = format_answer([box for box, _ in objects], [label for _, label in objects])
    text = whole[:length]
    expected = []
    end = 0
    for box, label in objects:
        written = json.dumps({"bbox_2d": box, "label": label}, ensure_ascii=False)
        end = whole.index(written, end) + len(written)
        if end <= length:
            expected.append((box, label))
    parsed = parse(text)
    assert list(zip(parsed.boxes.tolist(), parsed.labels, strict=True)) == expected
    if len(whole) - 3 > length > len("```json\n"):
        assert parsed.verdict == Verdict.TRUNCATED


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.text(),
        st.text('[]{}",:\\`json bx_2dlae0123456789.-eENanItrufls\n\t ', max_size=300),
        st.lists(
            st.sampled_from(
                [DOG, CAT, "[", "]", "{", "}", '"', "\\", ",", "```json\n", "\n```", "NaN", "9" * 400, "\ud800"]
            )
        ).map("".join),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["bbox_2d", "label", "x"]), inner),
        ).map(json.dumps),
    )
)
def test_never_raises(text):
    for read in (parse, released_2025.parse):
        parsed = read(text, {"dog"})
        assert parsed.boxes.shape == (len(parsed.labels), 4)
        assert np.isfinite(parsed.boxes).all()
        assert (parsed.boxes[:, :2] < parsed.boxes[:, 2:]).all()
        assert isinstance(parsed.verdict, Verdict)


MEGA = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * MEGA,
        "{" * MEGA,
        "9" * MEGA,
        "[" + "9" * MEGA,
        "[0." + "9" * MEGA,
        "[1e" + "9" * MEGA,
        '"' * MEGA,
        "\\" * MEGA,
        "`" * MEGA,
        "``` " + " " * MEGA,
        "```json\n" * (MEGA // 8),
        '{"' * (MEGA // 2),
        '{"{""' * (MEGA // 5),
        '{"' + '{\\"' * (MEGA // 3),
        '{"a":' * (MEGA // 5),
        '[{"a":' * (MEGA // 6),
        '{"a":[' * (MEGA // 6),
        "{}" * (MEGA // 2),
        '{"a":' + "[" * MEGA + "]" * MEGA + "}",
        '{"bbox_2d": [1, 2, 3, 4], "label": "' * (MEGA // 36),
        f"[{', '.join([DOG] * 100_000)}]",
        f"[{', '.join([DOG] * 100_000)}",
        f"[{item('[NaN, NaN, NaN, NaN]')}" * 10_000,
        "\U0001f600" * MEGA,
        "\ud800" * MEGA,
    ],
    ids=lambda text: text[:12].encode("ascii", "replace").decode(),
)
@pytest.mark.parametrize("read", [parse, released_2025.parse], ids=["strict", "released_2025"])
def test_a_megabyte_of_any_text_takes_bounded_time(read, text):
    start = time.process_time()
    parsed = read(text)
    assert time.process_time() - start < 5  # the slowest took about 0.5 s
    assert len(parsed.labels) <= MAX_BOXES
    if len(text) > MEGA or text.startswith("[" * 9):
        assert parsed.verdict == Verdict.CAPPED


@pytest.mark.parametrize("box", ['"1256"', '{"1": 0, "2": 0, "5": 0, "6": 0}', "[0, 0, 9999999999999, 10]"])
def test_the_released_rules_read_no_other_boxes(box):
    assert not released_2025.parse(f'[{{"bbox_2d": {box}, "label": "a"}}]').labels
