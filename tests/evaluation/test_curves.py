"""AUC, ROC and the three TPR@FPR rules: scikit-learn, exact fractions, and by hand."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from sklearn import metrics

from anisomem import evaluation as ev

TARGETS = (0.003, 0.01, 0.03, 0.05, 0.29, 0.5)


def simulate(seed, n=400, share=0.4, levels=None, scale=1.0, offset=0.0):
    """Scores and labels; ``levels`` rounds the scores to that many values, which makes ties."""
    rng = np.random.default_rng(seed)
    n_positive = min(max(round(share * n), 1), n - 1)
    labels = rng.permutation(np.repeat([1, 0], [n_positive, n - n_positive]))
    scores = rng.normal(size=n) + 1.5 * labels
    if levels is not None:
        scores = np.round((scores - scores.min()) / np.ptp(scores) * (levels - 1))
    return scores * scale + offset, labels


def assert_matches_sklearn(scores, labels):
    assert ev.auc(scores, labels) == pytest.approx(
        metrics.roc_auc_score(labels, scores), abs=1e-10
    )

    fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    curve = ev.roc_curve(scores, labels)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-10)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-10)
    np.testing.assert_array_equal(curve.thresholds, thresholds)

    kept_fpr, kept_tpr, _ = metrics.roc_curve(labels, scores)
    for target in TARGETS:
        assert ev.tpr_at_fpr(scores, labels, target) == tpr[fpr <= target].max()
        nearest = kept_tpr[np.argmin(np.abs(kept_fpr - target))]
        assert ev.released_tpr_at_fpr(scores, labels, target) == nearest
        strict = kept_tpr[np.where(kept_fpr < target)[0][-1]]
        assert ev.strict_tpr_at_fpr(scores, labels, target) == strict


@pytest.mark.parametrize("levels", [None, 1, 2, 3, 10, 100])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_sklearn_over_ties_and_imbalance(levels, share):
    for seed, n in itertools.product(range(3), (3, 10, 500)):
        scores, labels = simulate(seed, n, share, levels if levels != 1 else None)
        assert_matches_sklearn(np.zeros(n) if levels == 1 else scores, labels)


def test_sklearn_over_types_and_magnitudes():
    scores, labels = simulate(0, levels=60)
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.int64):
        assert_matches_sklearn(scores.astype(dtype), labels)
        assert_matches_sklearn(simulate(1)[0].astype(dtype), labels)
    for scale, offset in itertools.product((1e-6, 1.0, 1e6), (0.0, -1e4, 1e8)):
        assert_matches_sklearn(scores * scale + offset, labels)

    expected = ev.auc(scores, labels)
    for labels_like in (labels.astype(bool), labels.astype(np.float32), labels.tolist()):
        assert ev.auc(scores.tolist(), labels_like) == expected
    assert ev.auc([0.0, -0.0], [0, 1]) == 0.5


def test_auc_is_the_exact_fraction():
    for seed, levels in itertools.product(range(5), (None, 2, 15)):
        scores, labels = simulate(seed, 150, levels=levels)
        pairs = list(itertools.product(scores[labels == 1], scores[labels == 0]))
        wins = sum(Fraction(int(p > n)) + Fraction(int(p == n), 2) for p, n in pairs)
        assert ev.auc(scores, labels) == float(wins / len(pairs))


def test_invariances():
    # integer scores, for which the maps are exact and make no new ties
    scores, labels = simulate(3, levels=300)
    statistics = [ev.auc]
    for rule in (ev.tpr_at_fpr, ev.released_tpr_at_fpr, ev.strict_tpr_at_fpr):
        statistics.append(lambda s, y, rule=rule: rule(s, y, 0.05))
    order = np.random.default_rng(0).permutation(len(labels))
    for statistic in statistics:
        expected = statistic(scores, labels)
        assert statistic(scores[order], labels[order]) == expected
        for mapped in (scores * 1e3 - 1e6, scores**3, np.exp(scores / 300)):
            assert statistic(mapped, labels) == expected
    assert ev.auc(-scores, labels) == pytest.approx(1 - ev.auc(scores, labels), abs=1e-15)
    assert ev.auc(-scores, labels) < 0.5  # never flipped


def test_the_three_rules_by_hand():
    # From the top: + - + + (-+ tied) + and then 8 negatives: n+ = 5 (and one tied), n- = 10.
    #   threshold   9  8  7  6  5  4  3 ...
    #   FP          0  1  1  1  2  2  3 ...
    #   TP          1  1  2  3  4  5  5 ...
    scores = [9, 7, 6, 5, 4, 8, 5, 3, 2, 1, 0, -1, -2, -3, -4]
    labels = [1] * 5 + [0] * 10
    # FPR <= 0.2 allows 2 false positives; the highest TP with FP = 2 is 5
    assert ev.tpr_at_fpr(scores, labels, 0.2) == 1.0
    # |FPR - 0.2| is 0 at threshold 5 and 4; the first has TP = 4
    assert ev.released_tpr_at_fpr(scores, labels, 0.2) == 0.8
    # FPR < 0.2 allows 1 false positive; the last such point, threshold 6, has TP = 3
    assert ev.strict_tpr_at_fpr(scores, labels, 0.2) == 0.6
    # 0.16 is nearer to 0.2 than to 0.1: the released rule exceeds the target
    assert ev.released_tpr_at_fpr(scores, labels, 0.16) == 0.8
    assert ev.tpr_at_fpr(scores, labels, 0.16) == 0.6


def test_released_rules_see_only_the_points_scikit_learn_keeps():
    # Three tied pairs (-+) at 9, 8, 7: FP = TP = 1, 2, 3. The point (2, 2) is on a straight line
    # and dropped, so 0.21 is nearest to FPR 0.3, and the last kept FPR below 0.21 is 0.1.
    scores = [9, 8, 7, 1, 0, 9, 8, 7, 6, 5, 4, 3, 2, -1, -2]
    labels = [1] * 5 + [0] * 10
    assert ev.released_tpr_at_fpr(scores, labels, 0.21) == 3 / 5
    assert ev.strict_tpr_at_fpr(scores, labels, 0.21) == 1 / 5
    assert ev.tpr_at_fpr(scores, labels, 0.21) == 2 / 5
    assert list(ev.roc_curve(scores, labels).fpr[:4]) == [0, 0.1, 0.2, 0.3]


def test_target_that_floats_miss():
    # 0.29 * 100 = 28.999999999999996, and yet 29 of 100 false positives are a rate of 0.29
    scores = np.append(np.arange(100), 70.5)  # 29 negatives, 71 to 99, above the positive
    labels = np.append(np.zeros(100), 1)
    assert ev.tpr_at_fpr(scores, labels, 0.29) == 1.0
    assert ev.tpr_at_fpr(scores, labels, 0.28) == 0.0


def test_resolution_note():
    assert ev.resolution_note(0.01, 99) == "not resolvable at n_neg = 99"
    assert (
        ev.resolution_note(0.01, 100) == "not resolvable at n_neg = 100: 1 false positive allowed"
    )
    assert (
        ev.resolution_note(0.01, 499) == "not resolvable at n_neg = 499: 4 false positives allowed"
    )
    assert ev.resolution_note(0.01, 500) is None
    assert ev.resolution_note(0.05, 100) is None


def test_many_detectors_at_once_equal_one_after_the_other():
    rng = np.random.default_rng(3)
    for n, levels in ((40, 6), (300, 10_000), (7, 3)):
        labels = rng.permutation(np.arange(n) % 3 == 0)
        scores = rng.integers(levels, size=(20, n)) / levels
        for target in (0.01, 0.3, 0.5):
            areas, rates = ev.auc_and_tpr(scores, labels, target)
            assert areas.tolist() == [ev.auc(row, labels) for row in scores]
            assert rates.tolist() == [ev.tpr_at_fpr(row, labels, target) for row in scores]
