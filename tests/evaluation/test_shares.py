"""A share over clusters, against the bootstrap that draws every cluster by itself."""

import numpy as np
import pytest

from anisomem.evaluation.interval import effective_clusters, percentile_interval
from anisomem.evaluation.shares import share


def test_drawing_kinds_is_drawing_clusters():
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 40, 100)
    having = rng.random(100) < 0.2 + 0.6 * (clusters % 2)
    found = share(having, clusters, draws=40_000)
    _, of = np.unique(clusters, return_inverse=True)
    sizes, yes = np.bincount(of), np.bincount(of, having)
    drawn = rng.integers(0, len(sizes), (40_000, len(sizes)))
    shares = yes[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    expected = percentile_interval(shares, effective_clusters(clusters))
    assert found.value == having.mean()
    assert found.interval.low == pytest.approx(expected.low, abs=0.01)
    assert found.interval.high == pytest.approx(expected.high, abs=0.01)


def test_near_duplicates_widen_the_interval():
    having = np.repeat([True, False, False, True, False, False], 20)
    alone = share(having, np.arange(120)).interval
    together = share(having, np.repeat(np.arange(6), 20)).interval
    assert together.high - together.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(False, 0, 1 - 0.05 ** (1 / 30)), (True, 0.05 ** (1 / 30), 1)]
)
def test_none_and_all_have_the_rule_of_three(value, low, high):
    found = share(np.full(30, value), np.arange(30))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.value == value and found.note


def test_the_same_seed_gives_the_same_and_nothing_is_refused():
    having, clusters = [True, False, True, False], [0, 0, 1, 2]
    assert share(having, clusters, seed=3) == share(having, clusters, seed=3)
    for wrong in (([], []), ([True], [0, 1])):
        with pytest.raises(ValueError, match="one or more prompts"):
            share(*wrong)
