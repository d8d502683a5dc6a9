"""Statistics over training seeds, against scipy and by hand."""

import pytest
from scipy import stats

from vision_r1.evaluation.compare import holm
from vision_r1.evaluation.seeds import effect, spread


def test_spread_is_mean_sd_and_t_interval():
    over = spread([0.4, 0.5, 0.6])
    assert (over.n, over.mean, over.sd) == (3, pytest.approx(0.5), pytest.approx(0.1))
    # t(0.975, 2) = 4.3027, sd / sqrt(3) = 0.057735
    assert (over.low, over.high) == (pytest.approx(0.5 - 0.24841, abs=1e-5), pytest.approx(0.5 + 0.24841, abs=1e-5))


def test_one_seed_has_no_spread_and_no_seeds_have_no_mean():
    assert spread([0.4]) == type(spread([]))(1, 0.4, None, None, None)
    assert spread([]).mean is None


def test_an_effect_is_paired_by_training_seed():
    """A shift that all seeds share is significant, however different the seeds are."""
    own, reference = {0: 0.21, 1: 0.52, 2: 0.83, 9: 0.0}, {2: 0.80, 1: 0.50, 0: 0.20, 7: 0.0}
    paired = effect(own, reference)
    expected = stats.ttest_rel([0.21, 0.52, 0.83], [0.20, 0.50, 0.80])
    assert (paired.n, paired.difference, paired.p) == (3, pytest.approx(0.02), pytest.approx(expected.pvalue))
    interval = expected.confidence_interval(0.95)
    assert (paired.low, paired.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_without_randomness_there_is_no_p_value():
    assert effect({0: 0.5}, {0: 0.4}).p is None and effect({0: 0.5}, {0: 0.4}).difference == pytest.approx(0.1)
    assert effect({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}).p is None
    equal = effect({0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4, 1: 0.5, 2: 0.6})  # up to rounding
    assert (equal.difference, equal.low, equal.high, equal.p) == (pytest.approx(0.1), None, None, None)
    assert effect({0: 0.5}, {1: 0.4}).difference is None


def test_holm_leaves_out_missing_tests():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([]) == [] and holm([None]) == [None] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_two_seeds_have_an_interval_and_no_common_seed_is_no_pair():
    assert (spread([1.0, 3.0]).low, spread([1.0, 3.0]).high) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-3)
    assert effect({1: 0.5}, {2: 0.5}).n == 0
