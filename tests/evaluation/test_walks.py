"""Pairs that two rankings have the other way round, against both rankings walked."""

import numpy as np
import pytest

from anisomem import evaluation as ev
from anisomem.evaluation import walks


def sweep(seed, n=90, steps=40):
    """Scores between two components, labels, and samples."""
    rng = np.random.default_rng(seed)
    memorized = rng.permutation(np.arange(n) % 3 == 0)
    first, second = rng.normal(size=(2, n)) + memorized
    angles = np.linspace(0, np.pi / 2, steps)
    scores = np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second
    return scores, memorized, ev.resample(memorized, np.arange(n), draws=50, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_swaps_change_the_lost_pairs_as_a_walk_finds_them(seed):
    scores, memorized, resampling = sweep(seed)
    counts = list(np.ascontiguousarray(resampling.weights.T))
    lost = [
        walks.lost_pairs(walks.Ranking.of(row, memorized), counts, np.uint16) for row in scores
    ]
    swaps = walks.swaps_between(scores, memorized)
    assert swaps[0] is None and None not in swaps[1:]
    assert sum(one.lost.shape[1] + one.won.shape[1] for one in swaps[1:]) > 100
    # Sums of the lightest samples fit 16 bits, those of the heaviest possible ones need not.
    for heaviest in (int(resampling.weights.max()), walks.LIGHT):
        for before, after, one in zip(lost[:-1], lost[1:], swaps[1:], strict=True):
            found = before + walks.change_of_lost_pairs(one, counts, heaviest)
            np.testing.assert_array_equal(found, after)


def test_sums_over_swaps_do_not_wrap_around():
    counts = np.full((6, 4), walks.LIGHT, np.uint16)
    swaps = walks.Swaps(np.array([[0, 1], [3, 4]]), np.empty((2, 0), np.int64))
    found = walks.change_of_lost_pairs(swaps, counts, walks.LIGHT)
    np.testing.assert_array_equal(found, 2 * 2 * walks.LIGHT**2)  # 130,050 pairs, above 2 ** 16


def test_swaps_are_the_pairs_that_changed_sides():
    memorized = np.array([True, False, False, True])
    scores = np.array([[4.0, 3, 2, 1], [2.5, 3, 2, 1], [2.5, 3, 0, 1]])
    _, first, second = walks.swaps_between(scores, memorized)
    pairs = [[one.lost.T.tolist(), one.won.T.tolist()] for one in (first, second)]
    assert pairs == [
        [[[0, 1]], []],
        [[], [[3, 2]]],
    ]  # prompt 1 is above 0, prompt 2 no longer above 3


def test_ties_and_rankings_that_differ_much_are_walked():
    scores, memorized, resampling = sweep(1, steps=3)
    tied = scores[1].copy()
    tied[memorized.argmax()] = tied[memorized.argmin()]
    for row in (tied, -scores[1]):
        assert walks.swaps_between(np.array([scores[1], row]), memorized)[1] is None
        assert walks.swaps_between(np.array([row, scores[1]]), memorized)[1] is None
    rows = np.array([scores[1], tied, scores[1], -scores[1], scores[1] + 1e-9])
    together = ev.statistics(rows, memorized, resampling, [0.1])
    for d, row in enumerate(rows):
        alone = ev.statistics(row[None], memorized, resampling, [0.1])
        np.testing.assert_array_equal(together.auc[d], alone.auc[0])
        np.testing.assert_array_equal(together.tpr[:, d], alone.tpr[:, 0])


def test_a_heavy_prompt_is_walked_and_not_multiplied_in_sixteen_bits():
    scores, memorized, _ = sweep(2, n=30, steps=12)
    weights = np.full((2, 30), 300)  # 300 * 300 is above 2 ** 16
    draws = ev.statistics(scores, memorized, ev.Resampling.given(memorized, weights), [])
    for d, row in enumerate(scores):
        assert set(draws.auc[d]) == {ev.auc(row, memorized)}


def test_large_samples_are_counted_in_more_bits():
    scores, memorized, _ = sweep(0, n=12, steps=2)
    weights = np.full((1, 12), 60_000)
    draws = ev.statistics(scores, memorized, ev.Resampling.given(memorized, weights), [0.3])
    for d, row in enumerate(scores):
        assert draws.auc[d, 0] == ev.auc(row, memorized)
        assert draws.tpr[0, d, 0] == ev.tpr_at_fpr(row, memorized, 0.3)
