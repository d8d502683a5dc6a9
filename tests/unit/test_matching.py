"""Matching: the published cost, label-aware matching, and the assignment of the greatest value, against brute force."""

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1.boxes import giou
from vision_r1.matching import match_box_prioritised, match_most_value

A, B, FAR_AWAY = [0, 0, 10, 10], [20, 0, 30, 10], [500, 500, 510, 510]


def box_prioritised(predictions, truth, same_label, **options):
    predictions, truth = np.array(predictions, np.float32), np.array(truth, np.float32)
    rows, columns = match_box_prioritised(
        predictions, truth, giou(predictions, truth), np.array(same_label, bool), **options
    )
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def test_boxes_decide_not_labels():
    crossed = [[0, 1], [1, 0]]
    assert box_prioritised([A, B], [A, B], crossed) == [(0, 0), (1, 1)]


def test_labels_break_a_tie_of_boxes():
    assert box_prioritised([A, A], [A, A], [[0, 1], [1, 0]]) == [(0, 1), (1, 0)]


def test_every_prediction_is_matched_however_far_away():
    assert box_prioritised([FAR_AWAY], [A, B], [[0, 0]]) == [(0, 1)]
    assert box_prioritised([FAR_AWAY, A, A], [A], [[1], [1], [1]]) == [(1, 0)]


def test_label_aware_matches_equal_labels_only():
    crossed = [[0, 1], [1, 0]]
    assert box_prioritised([A, B], [A, B], crossed, label_aware=True) == [(0, 1), (1, 0)]
    assert box_prioritised([A, B], [A, B], [[1, 0], [0, 0]], label_aware=True) == [(0, 0)]


def test_the_greatest_value_excludes_worthless_pairs():
    rows, columns = match_most_value(np.array([[0.0, 0.6], [0.0, 0.9]]), np.zeros((2, 2), bool))
    assert (rows.tolist(), columns.tolist()) == ([1], [1])


def test_between_equal_sums_more_preferred_pairs_win():
    value = np.array([[0.25, 0.5], [0.5, 0.75]])
    for order in ([0, 1], [1, 0]):
        pairs = match_most_value(value[order], value[order] > 0.6)
        assert sorted(value[order][pairs]) == [0.25, 0.75]
        pairs = match_most_value(value[order], value[order] > 0.4)
        assert sorted(value[order][pairs]) == [0.5, 0.5]


def test_pairs_are_preferred_by_their_number_not_by_their_value():
    """Three pairs of 2/3 and two of 1 have the same sum."""
    value = np.array([[2 / 3, 1, 0], [0, 2 / 3, 1], [0, 0, 2 / 3]])
    for preferred in (value > 0, np.ones_like(value, bool)):
        assert sorted(value[match_most_value(value, preferred)]) == [2 / 3] * 3


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4), st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_greatest_value_equals_brute_force(n, m, random):
    value = np.array([[random.choice([0, random.random()]) for _ in range(m)] for _ in range(n)])
    wide = value if n <= m else value.T
    best = max(
        sum(wide[i, j] for i, j in enumerate(chosen)) for chosen in permutations(range(wide.shape[1]), len(wide))
    )
    pairs = match_most_value(value, np.zeros_like(value, bool))
    assert abs(value[pairs].sum() - best) < 1e-6
    assert len(set(pairs[0])) == len(pairs[0]) and len(set(pairs[1])) == len(pairs[1])


def test_at_equal_distance_the_overlap_decides():
    assert box_prioritised([[0, 0, 10, 8], [0, 0, 10, 12]], [A], [[1], [1]]) == [(1, 0)]


def test_label_aware_takes_a_far_box_rather_than_none():
    assert box_prioritised([A, FAR_AWAY], [A], [[0], [1]], label_aware=True) == [(1, 0)]
