"""Rows and comparisons put the tested estimators together without changing a number."""

import numpy as np
import pytest

import anisomem.evaluation as ev


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [120, 200])
    clusters = np.arange(320) // 2
    signal = labels[None, None] * np.array([2.5, 1.0, 0.0])[:, None, None]
    return signal + rng.normal(size=(3, 2, 320)), labels, clusters


def test_values_are_means_over_seeds_with_their_spread(data):
    scores, labels, clusters = data
    found = ev.Evaluation(scores, labels, clusters, [0.01, 0.05], draws=500).summaries()
    for rows, summary in zip(scores, found, strict=True):
        areas = [ev.auc(row, labels) for row in rows]
        assert summary.auc.value == pytest.approx(np.mean(areas))
        assert summary.auc.seed_std == pytest.approx(np.std(areas, ddof=1))
        assert summary.auc.interval.low < summary.auc.value < summary.auc.interval.high
        rates = [ev.tpr_at_fpr(row, labels, 0.05) for row in rows]
        assert summary.tpr[0.05].value == pytest.approx(np.mean(rates))
        nearest = [ev.released_tpr_at_fpr(row, labels, 0.01) for row in rows]
        assert summary.released_tpr[0.01] == pytest.approx(np.mean(nearest))
        assert summary.auc_delong is None  # two seeds of one prompt are not two prompts


def test_single_seed_has_no_spread_and_a_delong_interval(data):
    scores, labels, clusters = data
    (summary, *_) = ev.Evaluation(scores[:, :1], labels, clusters, draws=500).summaries()
    assert summary.auc.seed_std is None
    areas, covariance = ev.delong(scores[0, :1], labels)
    expected = ev.logit_interval(areas[0], covariance[0, 0], 120, 200)
    assert (summary.auc_delong.low, summary.auc_delong.high) == (expected.low, expected.high)
    assert summary.auc_delong.note == ev.CLUSTERED  # every cluster here has two prompts
    alone = np.arange(len(labels))
    (summary, *_) = ev.Evaluation(scores[:, :1], labels, alone, draws=500).summaries()
    assert summary.auc_delong == expected


def test_intervals_of_few_clusters_carry_a_warning():
    labels, clusters = np.repeat([1, 0], 500), np.arange(1000) // 5  # a hundred clusters a class
    rng = np.random.default_rng(0)
    for shift, few_errors in ((1.0, False), (3.8, True)):  # an AUC of 0.76, and of 0.996
        scores = (labels * shift + rng.normal(size=1000))[None, None]
        alone = ev.Evaluation(scores, labels, np.arange(1000), draws=200).summaries()[0]
        (found,) = ev.Evaluation(scores, labels, clusters, draws=200).summaries()
        assert (found.auc.note is not None) == few_errors
        assert alone.auc.note is None  # 500 clusters
        assert found.tpr[0.01].note is None and alone.tpr[0.01].note is None
    assert "0.33 of 100 effective clusters of errors" in found.auc.note
    # the same hundred clusters, one of them with 401 prompts: 500^2 / (401^2 + 99) are left
    uneven = np.maximum(np.arange(1000) % 500 - 400, 0) + 100 * (np.arange(1000) // 500)
    (found,) = ev.Evaluation(scores, labels, uneven, draws=200).summaries()
    assert "of 1.55 effective clusters" in found.auc.note


def test_a_threshold_at_a_single_prompt_and_few_missed_prompts_are_said():
    labels = np.repeat([1, 0], [40, 150])
    scores = np.concatenate([np.linspace(2, 3, 38), [-1, -2], np.linspace(0, 1, 150)])
    (found,) = ev.Evaluation(scores[None, None], labels, np.arange(190), draws=200).summaries()
    assert "the threshold is at a single prompt" in found.tpr[0.01].note  # one false positive
    assert found.tpr[0.03].value == 38 / 40
    assert "2 of 40 effective clusters missed" in found.tpr[0.03].note


def test_the_headline_intervals_are_those_of_the_draws(data):
    scores, labels, clusters = data
    evaluation = ev.Evaluation(scores, labels, clusters, [0.05], draws=500)
    drawn = ev.statistics(
        scores.reshape(-1, 320), labels, ev.resample(labels, clusters, 500), [0.05]
    )
    units = evaluation.resampling.positive_units, evaluation.resampling.negative_units
    assert units == (60, 100)
    for d, summary in enumerate(evaluation.summaries()):
        rows = slice(2 * d, 2 * d + 2)
        degrees = ev.auc_degrees(scores[d], labels, clusters, units)
        draws = drawn.auc[rows].mean(axis=0)
        expected = ev.wilson_interval(summary.auc.value, draws, 60, degrees)
        assert summary.auc.interval == expected
        rates, stricter = (x[0, rows].mean(axis=0) for x in (drawn.tpr, drawn.stricter_tpr))
        assert summary.tpr[0.05].interval == ev.tpr_interval(rates, stricter, 60)


def test_target_that_cannot_be_resolved_has_no_number(data):
    scores, labels, clusters = data
    keep = np.r_[0:120, 120:170]  # fifty negatives
    evaluation = ev.Evaluation(scores[..., keep], labels[keep], clusters[keep], draws=200)
    (summary, *_) = evaluation.summaries()
    assert summary.tpr[0.01] is None
    assert "not resolvable" in summary.tpr[0.03].note
    assert 0.01 not in evaluation.comparisons()[0].tpr


def test_comparisons(data):
    scores, labels, clusters = data
    evaluation = ev.Evaluation(scores[:, :1], labels, clusters, [0.05], draws=2000)
    pairs = evaluation.comparisons()
    assert [(c.a, c.b) for c in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert [c.auc.verdict for c in pairs] == ["better"] * 3
    summaries = evaluation.summaries()
    for c in pairs:
        gap = summaries[c.a].auc.value - summaries[c.b].auc.value
        assert c.auc.difference == pytest.approx(gap)
        assert c.auc.interval.low < gap < c.auc.interval.high
    raw = [c.auc.p_value for c in pairs]
    np.testing.assert_allclose([c.holm_p for c in pairs], ev.holm(raw))
    delong = [ev.paired_delong(scores[c.a, 0], scores[c.b, 0], labels) for c in pairs]
    np.testing.assert_allclose([c.delong_holm_p for c in pairs], ev.holm(delong))
    rates = [c.tpr[0.05].p_value for c in pairs]
    np.testing.assert_allclose([c.tpr_holm_p[0.05] for c in pairs], ev.holm(rates))


def test_perfect_detector_has_a_bound_and_says_what_it_saw():
    labels = np.repeat([1, 0], [30, 40])
    scores = np.stack([labels + 0.5, labels * 2.0])[None]  # two noise seeds
    (summary,) = ev.Evaluation(scores, labels, np.arange(70), draws=200).summaries()
    assert summary.auc.interval.low == pytest.approx(0.05 ** (1 / 30))
    assert summary.auc.interval.note == (
        "no inversion among 30 x 40 pairs at any of 2 noise seeds"
    )


def test_identical_scores_do_not_differ(data):
    scores, labels, clusters = data
    twice = np.stack([scores[0, :1], scores[0, :1]])
    (pair,) = ev.Evaluation(twice, labels, clusters, [0.05], draws=500).comparisons()
    assert pair.auc.difference == 0 and pair.auc.p_value == 1
    assert pair.delong_holm_p == 1 and pair.auc.verdict == "not separable"
    assert pair.tpr[0.05].difference == 0


@pytest.mark.parametrize(
    ("raw", "p", "adjusted"),
    [
        ("better", 0.049, "better"),
        ("worse", 0.049, "worse"),
        ("worse", 0.05, "not separable"),
        ("not separable", 0.01, "not separable"),
    ],
)
def test_adjusted_verdict_needs_the_interval_and_the_adjusted_p(raw, p, adjusted):
    found = ev.PairedDifference(0.1, ev.Interval(0, 0.2, "made"), 0.001, raw)
    pair = ev.Comparison(0, 1, found, p, None, {0.01: found}, {0.01: p})
    assert pair.auc_verdict == pair.tpr_verdict(0.01) == adjusted


@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_a_score_and_its_mirror_image_have_one_caution(wrong):
    labels = np.repeat([0, 1], 40)
    scores = labels + np.linspace(0, 0.1, 80)
    scores[:wrong] += 1.5  # so many of the others are above all memorized prompts
    rows = np.stack([scores, -scores])[:, None]
    found = [one.auc for one in ev.Evaluation(rows, labels, np.arange(80), draws=300).summaries()]
    assert found[1].value == pytest.approx(1 - found[0].value)
    low, high = found[1].interval.low, found[1].interval.high
    assert (1 - high, 1 - low) == pytest.approx((found[0].interval.low, found[0].interval.high))
    notes = [one.note or one.interval.note for one in found]
    if wrong == 0:
        assert notes[0].startswith("no inversion among 40 x 40")
        assert notes[1].startswith("nothing but inversions among 40 x 40")
    elif wrong == 1:
        assert notes[0].endswith("1 of 40 effective clusters of errors")
        assert notes[1].endswith("1 of 40 effective clusters of hits")
    else:
        assert notes == [None, None]
