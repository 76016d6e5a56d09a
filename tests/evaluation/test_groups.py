"""Groups of detectors that are not separable."""

from itertools import combinations

import numpy as np

from anisomem.evaluation import inseparable_groups


def test_groups_by_hand():
    assert inseparable_groups(3, []) == [(0, 1, 2)]
    assert inseparable_groups(3, [(0, 1), (0, 2), (1, 2)]) == []
    # The usual picture: the first from the last alone.
    assert inseparable_groups(3, [(2, 0)]) == [(0, 1), (1, 2)]
    # The neighbours differ, the ends do not: a paired test may say so.
    assert inseparable_groups(3, [(0, 1), (1, 2)]) == [(0, 2)]
    # A triangle with a neighbour at each side: the triangle's sides all lie in others.
    sides = [(0, 1), (0, 2), (1, 2)]
    around = [(0, 1, 3), (1, 2, 4), (0, 2, 5)]
    tied = {*sides, *(pair for group in around for pair in combinations(group, 2))}
    separable = set(combinations(range(6), 2)) - tied
    assert inseparable_groups(6, separable) == sorted(around)


def test_two_share_a_group_exactly_if_they_are_not_separable():
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        for count in (2, 7, 12):
            pairs = list(combinations(range(count), 2))
            separable = {pair for pair in pairs if rng.uniform() < share}
            groups = inseparable_groups(count, separable)
            together = {pair for group in groups for pair in combinations(group, 2)}
            assert together == set(pairs) - separable
            for group in groups:  # each says what no other says
                others = {p for other in groups if other != group for p in combinations(other, 2)}
                assert not set(combinations(group, 2)) <= others
