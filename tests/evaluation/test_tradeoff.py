"""Curves of copying against fidelity, and copying at a fidelity that is kept."""

import numpy as np
import pytest

from anisomem.evaluation.tradeoff import matched, weighted_means


def test_by_hand():
    copying, fidelity = [1.0, 0.6, 0.2, 0.4], [0.9, 0.8, 0.6, 0.85]
    assert matched(copying, fidelity, 0.9) == 1
    # Back over 0.85 on the way from 0.6 to 0.85, but only at its end.
    assert matched(copying, fidelity, 0.85) == pytest.approx(0.4)
    assert matched(copying, fidelity, 0.7) == pytest.approx(0.28)  # 2/5 of the way back up
    assert matched(copying, fidelity, 0.1) == 0.2
    with pytest.raises(ValueError, match="without a mitigation the fidelity is below"):
        matched(copying, fidelity, 0.95)


def test_against_a_fine_grid():
    rng = np.random.default_rng(0)
    for _ in range(50):
        copying, fidelity = rng.uniform(size=(2, 6))
        fidelity[0] = 1
        level = rng.uniform(0.2, 0.95)
        share = np.linspace(0, 1, 20_001)
        lines = [
            np.stack([a[i] + share * (a[i + 1] - a[i]) for a in (copying, fidelity)])
            for i in range(5)
        ]
        dense = np.concatenate(lines, axis=1)
        expected = dense[0][dense[1] >= level].min()
        assert matched(copying, fidelity, level) == pytest.approx(expected, abs=2e-4)


def test_draws_are_each_their_own():
    rng = np.random.default_rng(1)
    copying, fidelity = rng.uniform(size=(2, 4, 30))
    fidelity[0] = 1
    levels = rng.uniform(0.3, 0.9, 30)
    together = matched(copying, fidelity, levels)
    for d in range(30):
        assert together[d] == matched(copying[:, d], fidelity[:, d], levels[d])


def test_means_are_those_of_the_written_out_sample():
    rng = np.random.default_rng(2)
    values, weights = rng.normal(size=(3, 8)), rng.integers(0, 4, (5, 8))
    found = weighted_means(values, weights)
    for d, counts in enumerate(weights):
        np.testing.assert_allclose(found[:, d], np.repeat(values, counts, axis=1).mean(axis=1))
