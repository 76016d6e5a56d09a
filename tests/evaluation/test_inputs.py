"""Mistakes are one line that says what to give instead, from every entry point."""

import numpy as np
import pytest

from anisomem import evaluation as ev

SCORES = [0.1, 0.4, 0.35, 0.8]
LABELS = [0, 0, 1, 1]

MISTAKES = [
    ([0.1, np.nan, np.nan, np.inf], LABELS, "scores hold 2 NaN and 1 infinite values among 4"),
    (SCORES, [1, 1, 1, 1], "both classes, got 4 memorized and 0 other prompts"),
    (SCORES, [0, 0, 0, 0], "both classes, got 0 memorized and 4 other prompts"),
    ([], [], "both classes, got 0 memorized and 0 other prompts"),
    (SCORES[:3], LABELS, "scores hold 3 prompts but labels 4; give one score per label"),
    ([SCORES, SCORES], LABELS, r"scores must have shape \[N\], got \(2, 4\)"),
    (SCORES, [-1, -1, 1, 1], r"labels must be one 0 or 1 per prompt .* got \[-1, -1\]"),
    (SCORES, [0, 0, 1, np.nan], r"labels must be one 0 or 1 per prompt .* got \[nan\]"),
    (SCORES, list("0011"), r"labels must be one 0 or 1 per prompt .* got \['0', '0', '1'\]"),
    (SCORES, [LABELS], r"labels must be one 0 or 1 per prompt .* in shape \(1, 4\)"),
]


@pytest.mark.parametrize(("scores", "labels", "message"), MISTAKES)
@pytest.mark.parametrize(
    "statistic",
    [
        ev.auc,
        ev.roc_curve,
        lambda s, y: ev.tpr_at_fpr(s, y, 0.1),
        lambda s, y: ev.released_tpr_at_fpr(s, y, 0.1),
        lambda s, y: ev.strict_tpr_at_fpr(s, y, 0.1),
        lambda s, y: ev.paired_delong(SCORES, s, y),
    ],
)
def test_scores_and_labels(statistic, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        statistic(scores, labels)


def test_detector_arrays():
    resampling = ev.resample(LABELS, [0, 1, 2, 3], draws=2)
    for statistic in (ev.delong, lambda s, y: ev.statistics(s, y, resampling)):
        with pytest.raises(ValueError, match=r"scores must have shape \[D, N\], got \(4,\)"):
            statistic(SCORES, LABELS)
        with pytest.raises(ValueError, match="scores hold 1 NaN and 0 infinite values among 8"):
            statistic([SCORES, [0.1, 0.2, 0.3, np.nan]], LABELS)
    with pytest.raises(ValueError, match="two prompts of each class, got 1 memorized and 2 other"):
        ev.delong([[1, 2, 3]], [0, 0, 1])
    with pytest.raises(ValueError, match="the resampling is of 4 prompts, labels hold 3"):
        ev.statistics([[1, 2, 3]], [0, 0, 1], resampling)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, r"must be a fraction in \(0, 1\), got 1; use 0.01 instead of 1$"),
        (95, "got 95; use 0.95 instead of 95$"),
        (0, "got 0$"),
        (-0.01, "got -0.01$"),
        (float("nan"), "got nan$"),
    ],
)
def test_fractions(value, message):
    resampling = ev.resample(LABELS, [0, 1, 2, 3], draws=2)
    for statistic in (ev.tpr_at_fpr, ev.released_tpr_at_fpr, ev.strict_tpr_at_fpr):
        with pytest.raises(ValueError, match="target .*" + message):
            statistic(SCORES, LABELS, value)
    with pytest.raises(ValueError, match="target .*" + message):
        ev.statistics([SCORES], LABELS, resampling, [0.1, value])
    with pytest.raises(ValueError, match="target .*" + message):
        ev.resolution_note(value, 100)

    draws = np.array([0.4, 0.5])
    for interval in (
        lambda c: ev.logit_interval(0.9, 1e-4, 50, 50, c),
        lambda c: ev.rule_of_three(1, 50, "", c),
        lambda c: ev.percentile_interval(draws, 50, c),
        lambda c: ev.tpr_interval(draws, draws, 50, c),
        lambda c: ev.wilson_interval(0.45, draws, 50, None, c),
        lambda c: ev.paired_difference(0.5, 0.5, draws, draws, 50, c),
    ):
        with pytest.raises(ValueError, match="confidence .*" + message):
            interval(value)


def test_clusters_and_folds():
    for entry in (ev.resample, ev.folds):
        with pytest.raises(ValueError, match=r"clusters have shape \(3,\) but labels \(4,\)"):
            entry(LABELS, [0, 1, 2])
    # one cluster holds every memorized prompt: a fit without it would see one class
    with pytest.raises(ValueError, match="all memorized prompts are in one fold"):
        ev.folds([0] * 8 + [1] * 8, list("abcdefgh") + ["m"] * 8, n_splits=4)
    with pytest.raises(ValueError, match="got 3 prompts but 4 labels"):
        ev.text_only_scores(["a", "b", "c"], LABELS, [0, 1, 2, 3])
    constant = [[0.1, 7.0], [0.4, 7.0], [0.3, 1.0], [0.8, 2.0]]
    with pytest.raises(ValueError, match="component 1 is constant over the negatives"):
        ev.equal_weights(constant, LABELS)
