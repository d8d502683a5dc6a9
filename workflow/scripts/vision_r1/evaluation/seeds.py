"""Statistics of a method over training seeds: mean, spread, and the paired difference of two methods.

The unit is a training run. Two methods are compared on the runs of equal training seed, which share base model, data
and order of prompts, by a paired t test. Test images stay the same, so these intervals cover the randomness of
training, not the choice of images: that is what the paired bootstrap of vision_r1.evaluation.compare covers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vision_r1.evaluation.bootstrap import LEVEL


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (n - 1) and t interval over training seeds; None where n is too small."""

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Effect:
    """The mean paired difference over training seeds, its t interval, and the two-sided p of a paired t test.

    Interval and p are None with fewer than two pairs, and where all differences are equal up to rounding: then there is
    no spread to test against.
    """

    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of values, one per training seed."""
    if not values:
        return Spread(0)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(len(values), float(np.mean(values)), sd, *_interval(values))


def effect(own: Mapping[int, float], reference: Mapping[int, float]) -> Effect:
    """Compare two methods (each: training seed -> value) on the seeds that both have."""
    seeds = sorted(own.keys() & reference.keys())
    differences = [own[seed] - reference[seed] for seed in seeds]
    if not seeds:
        return Effect(0)
    mean = float(np.mean(differences))
    if np.ptp(differences) < 1e-12:  # also of a single pair
        return Effect(len(seeds), mean)
    return Effect(len(seeds), mean, *_interval(differences), float(stats.ttest_1samp(differences, 0).pvalue))


def _interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    if len(values) < 2:
        return None, None
    half = stats.sem(values) * stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    mean = np.mean(values)
    return float(mean - half), float(mean + half)
