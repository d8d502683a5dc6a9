from math import exp

import numpy as np
import pytest

from vision_r1.evaluation.readers import READERS
from vision_r1.evaluation.score_policies import SCORE_POLICIES, written

ITEM = '{{"bbox_2d": [{}], "label": "{}"}}'
TEXT = f"```json\n[{ITEM.format('1, 2, 30, 40', 'dog')}, " + ITEM.format("5, 6, 70, 80", 'a \\"cat\\"') + "]\n```"


def tokens(text, sure):
    """One token per character with log-probability -1, except in `sure`: {span: log-probability}."""
    values = [-1.0] * len(text)
    for (start, end), value in sure.items():
        values[start:end] = [value] * (end - start)
    return [[place, value] for place, value in enumerate(values)]


def span(start, end):
    first = TEXT.index(start)
    return first, TEXT.index(end, first) + len(end)


def scores(policy, line):
    return SCORE_POLICIES[policy](line, READERS["strict"](line["completion"], None), 0.99)


def test_constant_and_order():
    assert scores("constant", {"completion": TEXT}) == [0.99, 0.99]
    assert scores("order", {"completion": TEXT}) == [1, 0.5]


def test_token_probability_is_that_of_the_boxs_tokens():
    first, second = span("[1,", '"dog"'), span("[5,", 'cat\\""')
    line = {"completion": TEXT, "tokens": tokens(TEXT, {first: -0.25, second: -0.5})}
    assert scores("token-probability", line) == pytest.approx([exp(-0.25), exp(-0.5)])


def test_tokens_that_overlap_a_boxs_text_count():
    start, end = span("[1,", '"dog"')
    line = {"completion": TEXT, "tokens": [[0, -9.0], [start - 2, -0.5], [end - 3, -0.1], [end, -9.0]]}
    assert scores("token-probability", line)[0] == pytest.approx(exp(-0.3))


def test_boxes_are_located_in_order_and_unread_ones_skipped():
    item = '{"bbox_2d": [1, 1, 2, 2], "label": "x"}'
    text = f'[{{"bbox_2d": [9, 9, 1, 1]}}, {item}, {item}]'
    spans = written(text, np.array([[1, 1, 2, 2], [7, 7, 8, 8], [1, 1, 2, 2]], float))
    assert spans[1] is None and text[slice(*spans[0])] == text[slice(*spans[2])] == '1, 1, 2, 2], "label": "x"'
    assert spans[0][1] <= spans[2][0]


def test_boxes_without_tokens_or_text_have_a_score():
    assert scores("token-probability", {"completion": TEXT}) == [0.99, 0.99]
    line = {"completion": "[{'bbox_2d': [0x10, 2, 30, 40], 'label': 'dog'}]", "tokens": [[0, -0.5], [9, -1.5]]}
    parsed = READERS["released_2025"](line["completion"], None)
    assert SCORE_POLICIES["token-probability"](line, parsed, 0.99) == [pytest.approx(exp(-1))]
