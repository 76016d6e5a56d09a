"""The statistics alone, for anybody's scores."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import anisomem
from anisomem.evaluation import Evaluation


def test_numbers_are_those_of_the_statistics(numbers):
    labels, scores, clusters = numbers
    report = anisomem.evaluate(labels, scores, clusters, [0.05], draws=400, seed=7)
    rows = np.array(list(scores.values()))[:, None]
    summaries = Evaluation(rows, labels, clusters, [0.05], 400, 7).summaries()
    for row, summary, name in zip(report.frame.to_dict("records"), summaries, scores, strict=True):
        assert row["detector"] == name
        assert (
            row["auc"] == summary.auc.value == pytest.approx(roc_auc_score(labels, scores[name]))
        )
        assert (row["auc_low"], row["auc_high"]) == (
            summary.auc.interval.low,
            summary.auc.interval.high,
        )
        assert row["tpr_at_fpr_0.05"] == summary.tpr[0.05].value
    assert report.frame["nfe_per_prompt"].isna().all()


def test_clusters_widen_intervals_and_may_be_words(numbers):
    labels, scores, _ = numbers
    alone = anisomem.evaluate(labels, scores["mine"], draws=400)
    groups = np.arange(200) // 20
    named = anisomem.evaluate(labels, scores["mine"], [f"c{i}" for i in groups], draws=400)
    numbered = anisomem.evaluate(labels, scores["mine"], groups, draws=400)
    assert named.frame.equals(numbered.frame)
    width = [r.frame["auc_high"][0] - r.frame["auc_low"][0] for r in (alone, named)]
    assert width[1] > width[0]
    assert "every prompt is taken for independent" in str(alone)
    assert "every prompt is taken for independent" not in str(named)


def test_a_score_that_points_the_wrong_way_stays_and_is_said(numbers, capsys):
    labels, scores, _ = numbers
    report = anisomem.evaluate(labels, {"theirs": scores["theirs"]}, draws=400)
    assert report.frame["auc"][0] < 0.3
    said = "1 of 1 rows of detectors have an AUC below 0.5, and intervals that exclude it"
    assert said in report.warnings[0] and said in capsys.readouterr().err
    assert said in report._repr_html_()


def test_scores_are_one_array_a_mapping_or_a_frame(numbers):
    labels, scores, clusters = numbers
    both = anisomem.evaluate(labels, scores, clusters, draws=200)
    alone = anisomem.evaluate(labels, scores, clusters, fpr_targets=0.03, draws=200)
    assert list(alone.frame["auc"]) == list(both.frame["auc"])
    frame = anisomem.evaluate(
        pd.Series(labels), pd.DataFrame(scores), pd.Series(clusters), draws=200
    )
    assert frame.frame.equals(both.frame) and list(both.frame["detector"]) == ["mine", "theirs"]
    for given, name in (
        (scores["mine"], "score"),
        (list(scores["mine"]), "score"),
        (pd.Series(scores["mine"], name="mine"), "mine"),
    ):
        one = anisomem.evaluate(labels, given, clusters, draws=200)
        assert list(one.frame["detector"]) == [name]
        assert one.frame["auc"][0] == both.frame["auc"][0]


def test_labels_may_be_words_and_partial_ones_are_left_out(numbers):
    labels, scores, clusters = numbers
    report = anisomem.evaluate(labels, scores, clusters, draws=200)
    words = ["memorized" if label else "not_memorized" for label in labels]
    assert anisomem.evaluate(words, scores, clusters, draws=200).frame.equals(report.frame)
    assert anisomem.evaluate(labels == 1, scores, clusters, draws=200).frame.equals(report.frame)
    more = {name: [*values, 99.0] for name, values in scores.items()}
    partial = anisomem.evaluate([*words, "partial"], more, [*clusters, 100], draws=200)
    assert "1 of 201 prompts left out, labelled partial" in str(partial)
    assert np.array_equal(partial.frame["auc"], report.frame["auc"])


def test_names_of_rows_say_n(numbers):
    labels, scores, clusters = numbers
    rows = {"wen, n=1": scores["mine"], "wen, n=4": scores["theirs"]}
    report = anisomem.evaluate(labels, rows, clusters, draws=200)
    assert list(report.frame["detector"]) == ["wen", "wen"] and list(report.frame["n"]) == [1, 4]
    assert {*rows} <= {*report.scores.columns}


L, S = [1, 1, 0, 0], [0.4, 0.3, 0.2, 0.1]


@pytest.mark.parametrize(
    ("labels", "scores", "more", "said"),
    [
        (L, [0.1, float("nan"), 0.2, 0.3], {}, "1 of 4 scores 'score' are NaN or infinite"),
        (L, {"a": S, "b": [1, 2, 3, np.inf]}, {}, "scores 'b' are NaN or infinite, the first at"),
        (L, S[:3], {}, "'score' has 3 scores, and there are 4 labels"),
        (L, ["x", "y", "z", "w"], {}, "must be numbers"),
        (L, ["1", "2", "3", "4"], {}, "must be numbers"),
        (L, torch.ones(4, requires_grad=True), {}, "must be numbers: Can't call numpy()"),
        (L, [10**400, 1, 2, 3], {}, "must be numbers: int too large"),
        (L, S, {"draws": 100.5}, "draws must be an integer from 100"),
        (L, np.ones((4, 2)), {}, "one number a prompt, got an array (4, 2)"),
        (L, {}, {}, "no scores are given"),
        (L, {"": S}, {}, "need a name"),
        (L, {"a\nb": S}, {}, "need a name"),
        (L, {7: S}, {}, "need a name"),
        (L, {"${x}": S}, {}, "cannot be named"),
        (L, {"wen,n=1": S, "wen, n=1": S}, {}, "two scores are named 'wen, n=1'"),
        ([1, 1, 1, 1], S, {}, "has no other prompts"),
        ([1, 0, 0, 0], S, {}, "has 1 memorized prompt"),
        ([1, 1, 0, 2], S, {}, "labels[3]: no label named '2'"),
        ([1, 1, 0, None], S, {}, "labels[3]: no label"),
        ([1, 1, 0, -1], S, {}, "the labels 0 and -1"),
        ([], [], {}, "no memorized and no other"),
        ([[1, 0], [1, 0]], S, {}, "labels must be one a prompt"),
        (7, S, {}, "labels must be one a prompt"),
        (L, S, {"clusters": [1, 2]}, "there are 2 clusters and 4 labels"),
        (L, S, {"draws": 1}, "draws must be an integer from 100"),
        (L, S, {"seed": -1}, "bootstrap_seed must be an integer"),
        (L, S, {"fpr_targets": [5]}, "fpr_targets must be distinct fractions"),
        (pd.Series(L), pd.Series(S, index=[3, 2, 1, 0]), {}, "have different indexes"),
        (L, pd.DataFrame({"label": L, "a": S}), {}, "choose the columns of scores"),
        (pd.Series(L), pd.DataFrame({"a": S}, index=list("abcd")), {}, "have different indexes"),
    ],
)
def test_what_cannot_be_judged_is_one_line(labels, scores, more, said, one_line):
    assert said in one_line(anisomem.evaluate, labels, scores, **more)
