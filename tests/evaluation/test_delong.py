"""DeLong against its definition, its interval at the edges, the paired test, Holm."""

import math

import numpy as np
import pytest
from scipy import stats

from anisomem import evaluation as ev


def simulate(seed, n_positive=40, n_negative=60, detectors=3, levels=None):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 0], [n_positive, n_negative]))
    shared = rng.normal(size=len(labels))
    scores = shared + rng.normal(size=(detectors, len(labels))) + 1.5 * labels
    return (scores if levels is None else np.round(scores * levels)), labels


def literal_delong(scores, labels):
    """The definition of DeLong et al. (1988), pair by pair."""
    kernel = [
        [[(float(p > n) + float(p >= n)) / 2 for n in s[labels == 0]] for p in s[labels == 1]]
        for s in scores
    ]
    kernel = np.array(kernel)  # [D, n+, n-]
    aucs = kernel.mean(axis=(1, 2))
    covariance = np.zeros((len(scores), len(scores)))
    for a in range(len(scores)):
        for b in range(len(scores)):
            for axis in (1, 0):  # over the negatives, then over the positives
                left, right = kernel[a].mean(axis) - aucs[a], kernel[b].mean(axis) - aucs[b]
                covariance[a, b] += (left * right).sum() / (len(left) - 1) / len(left)
    return aucs, covariance


@pytest.mark.parametrize("levels", [None, 5, 1])
def test_definition(levels):
    for seed in range(3):
        scores, labels = simulate(seed, levels=levels)
        aucs, covariance = ev.delong(scores, labels)
        expected_aucs, expected_covariance = literal_delong(scores, labels)
        np.testing.assert_allclose(aucs, expected_aucs, rtol=1e-12)
        np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-10)
        np.testing.assert_allclose(aucs, [ev.auc(s, labels) for s in scores], rtol=1e-14)

        # the paired test is the z test of that matrix
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        z = (aucs[0] - aucs[1]) / math.sqrt(variance)
        p_value = ev.paired_delong(scores[0], scores[1], labels)
        assert p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
        assert p_value == ev.paired_delong(scores[1], scores[0], labels)


def test_one_detector_keeps_its_axes():
    scores, labels = simulate(0, detectors=1)
    aucs, covariance = ev.delong(scores, labels)
    assert aucs.shape == (1,) and covariance.shape == (1, 1)


def test_standard_error_is_the_bootstraps():
    scores, labels = simulate(5, 200, 300)
    resampling = ev.resample(labels, np.arange(500), draws=10_000, seed=1)
    draws = ev.statistics(scores, labels, resampling, []).auc
    _, covariance = ev.delong(scores, labels)
    standard_error = np.sqrt(covariance.diagonal())
    np.testing.assert_allclose(draws.std(axis=1), standard_error, rtol=0.03)
    correlation = covariance / np.outer(standard_error, standard_error)
    np.testing.assert_allclose(np.corrcoef(draws), correlation, atol=0.03)


def test_degrees_of_freedom_are_those_of_each_class_and_of_their_sum():
    # With one negative only the positives' placements vary, each 0 or 1: Q is +-1/2 for as many
    # of both kinds, kurtosis 1, and no more degrees than n - 1.
    labels = np.repeat([1, 0], [10, 1])
    scores = np.array([0.0] * 5 + [2.0] * 5 + [1.0])
    assert ev.auc_degrees([scores], labels, np.arange(11), (10, 1)) == 9
    # One positive of ten below the negative: values 0.1 (nine times) and -0.9, kurtosis 73 / 9
    scores = np.array([0.0] + [2.0] * 9 + [1.0])
    kurtosis = stats.kurtosis([0.1] * 9 + [-0.9], fisher=False)
    expected = 2 / ((kurtosis - 3) / 10 + 2 / 9)
    assert ev.auc_degrees([scores], labels, np.arange(11), (10, 1)) == pytest.approx(expected)
    # Welch's degrees of two classes, from the placements written out
    scores, labels = simulate(7, 30, 50, detectors=1)
    found = ev.auc_degrees(scores, labels, np.arange(80), (30, 50))
    positives, negatives = scores[0][labels == 1], scores[0][labels == 0]
    shares = (positives[:, None] > negatives).mean(1), (positives[:, None] > negatives).mean(0)
    v = np.array([share.var() / len(share) for share in shares])
    f = [
        min(len(s) - 1, 2 / ((stats.kurtosis(s, fisher=False) - 3) / len(s) + 2 / (len(s) - 1)))
        for s in shares
    ]
    assert found == pytest.approx(v.sum() ** 2 / (v**2 / f).sum())


def test_degrees_of_freedom_take_clusters_whole():
    # Every prompt twice, in clusters of two: the degrees of the prompts taken once
    scores, labels = simulate(3, 20, 30, detectors=2)
    once = ev.auc_degrees(scores, labels, np.arange(50), (20, 30))
    twice = ev.auc_degrees(
        scores.repeat(2, axis=1), labels.repeat(2), np.arange(50).repeat(2), (20, 30)
    )
    assert twice == pytest.approx(once)
    assert ev.auc_degrees(np.zeros((1, 50)), labels, np.arange(50), (20, 30)) == 1


def test_paired_p_of_equal_orders_is_one():
    scores, labels = simulate(1, levels=3)
    assert ev.paired_delong(scores[0], scores[0], labels) == 1.0
    assert ev.paired_delong(scores[0], np.exp(scores[0] / 9), labels) == 1.0
    constant = np.zeros(len(labels))
    assert ev.paired_delong(constant, constant, labels) == 1.0


def test_paired_p_without_spread_is_the_sign_tests():
    # perfect against constant: each of the 4 placements moves by 1/2, DeLong's z is 0.5 / 0
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert ev.paired_delong(labels, np.zeros(9), labels) == 2 * 0.5**4


def test_logit_interval():
    # logit(0.9) = ln 9; se on the logit scale 0.03 / 0.09 = 1/3; z = 1.959964
    interval = ev.logit_interval(0.9, 0.03**2, 50, 50)
    low, high = (9 * math.exp(sign * 1.959963984540054 / 3) for sign in (-1, 1))
    assert interval.low == pytest.approx(low / (1 + low), abs=1e-12)
    assert interval.high == pytest.approx(high / (1 + high), abs=1e-12)
    assert interval.method == "logit DeLong" and interval.note is None

    # the plain interval 0.998 +- 1.96 x 0.002 would end above 1
    assert ev.logit_interval(0.998, 0.002**2, 50, 50).high < 1
    wide, narrow = (ev.logit_interval(0.9, 0.03**2, 50, 50, c) for c in (0.99, 0.5))
    assert wide.low < interval.low < narrow.low < 0.9 < narrow.high < interval.high < wide.high


@pytest.mark.parametrize(("n_positive", "n_negative"), [(40, 500), (500, 40), (40, 40)])
def test_perfect_auc_has_a_rule_of_three(n_positive, n_negative):
    labels = np.repeat([1, 0], [n_positive, n_negative])
    aucs, covariance = ev.delong([labels, -labels], labels)
    perfect, inverted = (
        ev.logit_interval(aucs[d], covariance[d, d], n_positive, n_negative) for d in (0, 1)
    )
    assert perfect.note == f"no inversion among {n_positive} x {n_negative} pairs"
    assert perfect.method == "rule of three" and perfect.high == 1.0
    # 40 of 40 disjoint pairs in order is just not refuted at the bound
    assert stats.binomtest(40, 40, perfect.low, "greater").pvalue == pytest.approx(0.05)
    assert perfect.low == pytest.approx(1 - 3 / 40, abs=0.003)
    assert (inverted.low, inverted.high) == (0.0, pytest.approx(1 - perfect.low))
    assert inverted.note == f"nothing but inversions among {n_positive} x {n_negative} pairs"


def test_holm():
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, running maximum .02 .03 .06 .06
    np.testing.assert_allclose(ev.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(ev.holm([0.9, 0.6, 1.0]), [1, 1, 1])
    assert ev.holm([0.2]) == 0.2
    assert ev.holm([]).shape == (0,)
