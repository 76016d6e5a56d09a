"""The bootstrap against samples written out row by row, and its intervals and verdicts."""

import numpy as np
import pytest
from scipy import stats

from anisomem import evaluation as ev
from anisomem.evaluation import bootstrap
from anisomem.evaluation import resampling as module

TARGETS = (0.01, 0.1, 0.29)


def simulate(seed, n=120, levels=None, detectors=3, cluster_size=3):
    """Scores, labels, and clusters some of which have prompts of both classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3 == 0)
    clusters = np.array([f"c{i}" for i in rng.integers(0, n // cluster_size, n)])
    scores = rng.normal(size=(detectors, n)) + 1.5 * labels
    return (scores if levels is None else np.round(scores * levels)), labels, clusters


@pytest.mark.parametrize("levels", [None, 4, 1])
@pytest.mark.parametrize("clustered", [True, False])
def test_draws_are_those_of_written_out_samples(levels, clustered, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 7)  # 20 draws: two full chunks and a rest
    for seed in range(2):
        scores, labels, clusters = simulate(seed, levels=levels)
        resampling = ev.resample(labels, clusters if clustered else np.arange(120), 20, seed)
        draws = ev.statistics(scores, labels, resampling, TARGETS)
        assert draws.auc.shape == (3, 20) and draws.tpr.shape == (3, 3, 20)

        for b, weights in enumerate(resampling.weights):
            sample, sample_labels = scores.repeat(weights, axis=1), labels.repeat(weights)
            for d, row in enumerate(sample):
                expected = [ev.auc(row, sample_labels)]
                expected += [ev.tpr_at_fpr(row, sample_labels, t) for t in TARGETS]
                found = [draws.auc[d, b], *draws.tpr[:, d, b]]
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)

                negatives, positives = row[~sample_labels], row[sample_labels]
                as_high = (negatives[:, None] >= positives).sum(axis=0)
                fewer = [int(t * len(negatives) + 1e-9) - 1 for t in TARGETS]
                expected = [(as_high <= allowed).mean() for allowed in fewer]
                np.testing.assert_allclose(draws.stricter_tpr[:, d, b], expected, atol=1e-12)


@pytest.mark.parametrize("times", [1, 1092, 1093])  # 60 * 1092 < 2 ** 16 < 60 * 1093
def test_samples_of_any_size_are_counted_without_overflow(times):
    # a sample that holds every prompt equally often has the values of the prompts themselves
    scores, _, _ = simulate(5, levels=2)
    labels = np.arange(120) % 2
    weights = np.full((3, len(labels)), times, np.int16)
    draws = ev.statistics(scores, labels, ev.Resampling.given(labels, weights), TARGETS)
    for d, row in enumerate(scores):
        assert set(draws.auc[d]) == {ev.auc(row, labels)}
        for t, target in enumerate(TARGETS):
            assert set(draws.tpr[t, d]) == {ev.tpr_at_fpr(row, labels, target)}


def test_whole_clusters_are_drawn_within_each_class():
    _, labels, clusters = simulate(0)
    resampling = ev.resample(labels, clusters, draws=300)
    assert resampling.weights.shape == (300, 120)
    assert resampling.weights.dtype.itemsize <= 2

    mixed = set(clusters[labels]) & set(clusters[~labels])
    assert mixed  # they count once in each class
    for members, units in (
        (labels, resampling.positive_units),
        (~labels, resampling.negative_units),
    ):
        names, first, of_member, sizes = np.unique(
            clusters[members], return_index=True, return_inverse=True, return_counts=True
        )
        weights = resampling.weights[:, members]
        np.testing.assert_array_equal(weights, weights[:, first][:, of_member])
        assert (weights[:, first].sum(axis=1) == len(names)).all()
        assert units == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum())
        assert units < len(names)
    assert resampling.units == min(resampling.positive_units, resampling.negative_units)


def test_clusters_of_one_prompt_are_the_plain_bootstrap():
    labels = np.repeat([1, 0], [50, 200])
    weights = ev.resample(labels, np.arange(250), draws=20_000).weights.astype(float)
    for members, n in ((labels == 1, 50), (labels == 0, 200)):
        sample = weights[:, members]
        assert (sample.sum(axis=1) == n).all()
        # multinomial(n; 1/n, ...): mean 1, variance 1 - 1/n, covariance -1/n; 0 with (1 - 1/n)^n
        covariance = np.cov(sample.T)
        np.testing.assert_allclose(sample.mean(axis=0), 1, atol=5 / np.sqrt(20_000))
        assert np.trace(covariance) / n == pytest.approx(1 - 1 / n, rel=0.01)
        assert (covariance.sum() - np.trace(covariance)) / n == pytest.approx(1 / n - 1, rel=0.01)
        assert (sample == 0).mean() == pytest.approx((1 - 1 / n) ** n, rel=0.01)


def test_draws_depend_on_the_seed_and_not_on_the_order_of_prompts():
    scores, labels, clusters = simulate(1, levels=4)
    weights = ev.resample(labels, clusters, 50, seed=3).weights
    np.testing.assert_array_equal(weights, ev.resample(labels, clusters, 50, seed=3).weights)
    assert (weights != ev.resample(labels, clusters, 50, seed=4).weights).any()

    order = np.random.default_rng(0).permutation(len(labels))
    moved = ev.resample(labels[order], clusters[order], 50, seed=3)
    np.testing.assert_array_equal(moved.weights, weights[:, order])
    before = ev.statistics(scores, labels, ev.resample(labels, clusters, 50, seed=3))
    after = ev.statistics(scores[:, order], labels[order], moved)
    np.testing.assert_array_equal(before.auc, after.auc)
    np.testing.assert_array_equal(before.tpr, after.tpr)


def test_near_duplicates_widen_the_interval():
    # every prompt five times: the rows pretend to five times the evidence
    scores, labels, _ = simulate(2, n=60)
    scores, labels, clusters = scores.repeat(5, axis=1), labels.repeat(5), np.arange(60).repeat(5)
    spread = [
        ev.statistics(scores, labels, ev.resample(labels, names, 2000), []).auc.std(axis=1)
        for names in (clusters, np.arange(300))
    ]
    np.testing.assert_allclose(spread[0] / spread[1], np.sqrt(5), rtol=0.1)


def test_paired_difference():
    scores, labels, clusters = simulate(4, n=300, detectors=2)
    scores[1] = scores[0] + 0.1 * scores[1] + 0.2 * labels  # better, and strongly correlated
    aucs = [ev.auc(s, labels) for s in scores]
    draws = ev.statistics(scores, labels, ev.resample(labels, clusters, 1999), []).auc

    better = ev.paired_difference(aucs[1], aucs[0], draws[1], draws[0], 80)
    worse = ev.paired_difference(aucs[0], aucs[1], draws[0], draws[1], 80)
    same = ev.paired_difference(aucs[0], aucs[0], draws[0], draws[0], 80)
    assert (better.verdict, worse.verdict, same.verdict) == ("better", "worse", "not separable")
    assert better.difference == aucs[1] - aucs[0] == -worse.difference
    assert better.interval.low == pytest.approx(-worse.interval.high)
    assert 0 < better.interval.low < better.difference < better.interval.high
    assert better.p_value == worse.p_value == ev.least_p(1999, 80)  # no draw on the other side
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert (same.interval.low, same.interval.high) == (0.0, 0.0)
    # pairing pays: the two intervals by themselves overlap
    alone = [ev.percentile_interval(d, 80) for d in draws]
    assert alone[0].high > alone[1].low


def test_paired_p_by_hand():
    # of 9 draws 2 are <= 0 and 8 are >= 0 (one is 0): a tail of (2 + 1) / (9 + 1)
    draws = np.array([-0.1, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    paired = ev.paired_difference(0.8, 0.5, draws, np.zeros(9), 1e9)
    assert paired.p_value == pytest.approx(0.6)
    assert paired.verdict == "not separable"
    few = ev.paired_difference(0.8, 0.5, draws, np.zeros(9), 5)
    z = stats.norm.ppf(0.3) * np.sqrt(4 / 5)
    assert few.p_value == pytest.approx(2 * stats.t(4).cdf(z))


def test_paired_interval_and_p_of_normal_draws_are_the_t_tests():
    # the bootstrap's spread of a mean of n is s sqrt((n - 1) / n) / sqrt(n)
    values = np.random.default_rng(3).normal(0.6, 1, size=9)
    spread = values.std() / 3
    draws = stats.norm(values.mean(), spread).ppf((np.arange(200_000) + 0.5) / 200_000)
    found = ev.paired_difference(values.mean(), 0, draws, np.zeros(len(draws)), 9)
    expected = stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), rel=1e-3)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.01)
    assert (found.verdict == "better") == (expected.pvalue < 0.05)


def test_a_single_cluster_separates_nothing():
    draws = np.linspace(0.1, 0.2, 99)
    found = ev.paired_difference(0.15, 0, draws, np.zeros(99), 1.0)
    assert (found.verdict, found.p_value) == ("not separable", 1)
    assert "single cluster" in found.interval.note


@pytest.mark.parametrize("units", [12.5, 60, 1e9])
@pytest.mark.parametrize("pairs", [1, 3, 300])
def test_enough_draws_let_holm_separate_the_farthest(pairs, units):
    draws = ev.enough_draws(pairs, units)
    separated = ev.paired_difference(1, 0, np.ones(draws), np.zeros(draws), units)
    same = np.ones(pairs - 1)
    adjusted = ev.holm([separated.p_value, *same])[0]
    if draws < bootstrap.MOST_DRAWS - 1:
        assert 0.4 * ev.FAMILY_LEVEL < adjusted <= ev.FAMILY_LEVEL / 2 * (1 + 1e-9)
    else:  # no number of draws is enough
        assert units < 20 and adjusted > ev.FAMILY_LEVEL / 2
