"""Bands and rates by group against samples written out row by row."""

import numpy as np
import pytest

from anisomem import evaluation as ev


def simulate(seed, n=240, levels=3):
    """Rounded scores, so that there are ties; labels; clusters of about three prompts."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    scores = np.round(levels * (rng.normal(size=(2, n)) + 1.5 * labels))
    return scores, labels, rng.integers(0, n // 3, n)


def counted(scores, labels, rate, fewer):
    """TPR with the negatives at or above each positive counted, some false positives fewer."""
    allowed = int(rate * (labels == 0).sum() + 1e-9) - fewer
    passing = [(scores[labels == 0] >= s).sum() <= allowed for s in scores[labels == 1]]
    return np.mean(passing)


@pytest.mark.parametrize("levels", [3, 1000])
def test_roc_band_is_the_quantiles_of_written_out_curves(levels):
    scores, labels, clusters = simulate(0, levels=levels)
    resampling = ev.resample(labels, clusters, draws=60)
    rates = np.geomspace(0.01, 0.9, 12)
    band = ev.roc_band(scores[0], labels, resampling, rates)
    curves, stricter = (
        np.array(
            [
                [counted(scores[0].repeat(w), labels.repeat(w), r, fewer) for r in rates]
                for w in resampling.weights
            ]
        )
        for fewer in (0, 1)
    )
    high, low = (
        np.array([ev.expanded_quantiles(c, resampling.positive_units)[end] for c in every.T])
        for every, end in ((curves, 1), (stricter, 0))
    )
    changing = (low < high) & (low > 0) & (high < 1)
    assert changing.sum() > 5
    np.testing.assert_allclose(np.array([i.low for i in band])[changing], low[changing])
    np.testing.assert_allclose(np.array([i.high for i in band])[changing], high[changing])

    curve = [ev.tpr_at_fpr(scores[0], labels, rate) for rate in rates]
    assert all(i.low <= tpr <= i.high for i, tpr in zip(band, curve, strict=True))
    assert all(i.low < i.high for i in band)  # also where no draw leaves 1
    narrow = ev.roc_band(scores[0], labels, resampling, rates, confidence=0.5)
    assert all(a.low <= b.low <= b.high <= a.high for a, b in zip(band, narrow, strict=True))


@pytest.mark.parametrize("target", [0.01, 0.05, 0.29])
def test_groups_share_the_threshold_of_all_negatives(target):
    scores, labels, clusters = simulate(1)
    group = np.random.default_rng(2).integers(0, 3, len(labels))
    members = (group == np.arange(3)[:, None]) & (labels == 1)
    resampling = ev.resample(labels, clusters, draws=40)
    draws = ev.tpr_by_group(scores, labels, resampling, members, target)
    assert draws.shape == (3, 2, 40)
    for b, weights in enumerate(resampling.weights):
        for g, of_group in enumerate(members):
            kept = np.where(of_group | (labels == 0), weights, 0)
            expected = [ev.tpr_at_fpr(s.repeat(kept), labels.repeat(kept), target) for s in scores]
            np.testing.assert_allclose(draws[g, :, b], expected)

    everyone = ev.tpr_by_group(scores, labels, resampling, [labels == 1], target)
    whole = ev.statistics(scores, labels, resampling, [target])
    np.testing.assert_allclose(everyone, whole.tpr)


def test_estimates_of_groups_by_hand():
    # 100 negatives 0..99: at 1% the threshold lets one pass, so prompts above 98 are detected
    negatives, positives = np.arange(100.0), [98.5, 120, 97, 150, 130, 140]
    scores = np.concatenate([negatives, positives])[None, None]
    labels = np.repeat([0, 1], [100, 6])
    evaluation = ev.Evaluation(scores, labels, np.arange(106), draws=500)
    members = np.zeros((2, 106), bool)
    members[0, [100, 101, 102]] = members[1, [103, 104, 105]] = True
    members[0, :50] = True  # prompts that are not memorized count in no group
    ((first, second),) = evaluation.tpr_of_groups(members, 0.01, of=[0])
    assert (first.value, second.value) == (pytest.approx(2 / 3), 1)
    assert first.interval.low == 0 and first.interval.high == 1
    # 3 of 3: the rule of three, 0.05^(1/3)
    assert (second.interval.low, second.interval.high) == (pytest.approx(0.05 ** (1 / 3)), 1)
