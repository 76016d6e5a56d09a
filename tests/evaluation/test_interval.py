"""Intervals against closed forms and other implementations."""

import numpy as np
import pytest
from scipy import stats

from anisomem import evaluation as ev


def normal(mean, spread, count=100_001):
    """Draws whose quantiles are a normal distribution's."""
    return stats.norm(mean, spread).ppf((np.arange(count) + 0.5) / count)


def test_effective_clusters():
    assert ev.effective_clusters(np.arange(7)) == 7
    assert ev.effective_clusters(["a"] * 5 + ["b"] * 5) == 2
    assert ev.effective_clusters(np.zeros(9)) == 1
    # 500 prompts, 148 in one cluster: 500^2 / (148^2 + 352)
    heavy = np.maximum(np.arange(500) - 147, 0)
    assert ev.effective_clusters(heavy) == pytest.approx(250_000 / 22_256)


@pytest.mark.parametrize(("hits", "n"), [(1, 30), (27, 30), (200, 1000)])
def test_wilson_interval_of_a_share_is_wilsons(hits, n):
    # The bootstrap's variance of a share is p (1 - p) / n, and n - 1 in the place of n corrects
    # it; so many independent trials are n - 1.
    p = hits / n
    draws = np.array([p - 1, p + 1]) * 0 + p + np.array([-1, 1]) * np.sqrt(p * (1 - p) / n)
    found = ev.wilson_interval(p, draws, n, degrees=1e9)
    z = stats.norm.ppf(0.975)
    low, high = found.low, found.high
    for end in (low, high):  # the score test's equation, solved by both ends
        assert abs(p - end) == pytest.approx(z * np.sqrt(end * (1 - end) / (n - 1)))
    assert 0 < low < p < high < 1
    few = ev.wilson_interval(p, draws, n, degrees=4)
    assert few.low < low and few.high > high
    assert abs(p - few.low) == pytest.approx(
        stats.t(4).ppf(0.975) * np.sqrt(few.low * (1 - few.low) / (n - 1))
    )
    assert ev.wilson_interval(p, draws, n) == ev.wilson_interval(p, draws, n, degrees=n - 1)


def test_wilson_interval_is_statsmodels_where_trials_are_independent():
    # 45 of 50, from statsmodels 0.14: proportion_confint(45, 50, method="wilson")
    p, n = 0.9, 50
    draws = p + np.array([-1, 1]) * np.sqrt(p * (1 - p) / n * (1 - 1 / n))
    found = ev.wilson_interval(p, draws, n, degrees=1e9)
    assert found.low == pytest.approx(0.786398, abs=1e-6)
    assert found.high == pytest.approx(0.956524, abs=1e-6)


def test_perfect_and_constant_rates():
    ones, zeros = np.ones(99), np.zeros(99)
    for interval in (lambda d: ev.wilson_interval(d[0], d, 40), lambda d: pct(d, 40)):
        perfect, zero = interval(ones), interval(zeros)
        assert (perfect.low, perfect.high) == (pytest.approx(0.05 ** (1 / 40)), 1.0)
        assert (zero.low, zero.high) == (0.0, pytest.approx(1 - 0.05 ** (1 / 40)))
        assert perfect.note == "1 in 95% of the draws or more, 40 units"
        half = interval(np.full(99, 0.5))
        assert (half.low, half.high, half.note) == (0.5, 0.5, "every draw is equal")


def test_a_single_cluster_bounds_nothing():
    draws = np.linspace(0.4, 0.6, 99)
    for found in (ev.wilson_interval(0.5, draws, 1.0), pct(draws, 1.0)):
        assert (found.low, found.high) == (0, 1) and "single cluster" in found.note
    equal = ev.wilson_interval(0.75, np.full(99, 0.75), 1.0)
    assert (equal.low, equal.high) == (0, 1) and "single cluster" in equal.note
    almost = ev.wilson_interval(0.5, draws, 1.05)
    assert 0 <= almost.low < 0.001 and 0.999 < almost.high <= 1


def pct(draws, units, *more):
    return ev.percentile_interval(draws, units, *more)


def test_expanded_quantiles_of_normal_draws_are_the_t_interval():
    values = np.array([3.0, 5, 4, 8, 6, 7, 4, 5])
    draws = normal(values.mean(), values.std() / np.sqrt(8))  # ddof 0, as a bootstrap's
    expected = stats.t.interval(0.9, 7, values.mean(), stats.sem(values))
    assert ev.expanded_quantiles(draws, 8, 0.9) == pytest.approx(expected, rel=1e-3)
    many = ev.expanded_quantiles(np.arange(101) / 100, 1e9)
    assert many == pytest.approx((0.025, 0.975))
    assert ev.expanded_quantiles(np.arange(9), 1.0) == (0, 8)


def test_the_tpr_ends_below_with_the_stricter_threshold():
    draws, stricter = normal(0.7, 0.05), normal(0.6, 0.08)
    found = ev.tpr_interval(draws, stricter, 50)
    assert found.low == pct(stricter, 50).low and found.high == pct(draws, 50).high
    perfect = ev.tpr_interval(np.ones(99), np.full(99, 0.9), 50)
    assert (perfect.low, perfect.high) == (0.9, 1)


def test_a_small_study_finds_the_truth_as_often_as_said():
    # 40 memorized and 400 other prompts, AUC 0.9; of 60 intervals 57 are expected
    rng, labels = np.random.default_rng(0), np.repeat([1, 0], [40, 400])
    shift = np.sqrt(2) * stats.norm.ppf(0.9)
    held = 0
    for seed in range(60):
        scores = labels * shift + rng.normal(size=440)
        evaluation = ev.Evaluation(scores[None, None], labels, np.arange(440), [0.05], 200, seed)
        interval = evaluation.summaries()[0].auc.interval
        held += interval.low <= 0.9 <= interval.high
    assert 52 <= held <= 60
