"""Scores from anywhere become results as a run's are."""

import numpy as np
import pytest

from anisomem.benchmark import given
from anisomem.config import members
from anisomem.errors import UserError

SCORES = {"mine": [4.0, 3, 2, 1], "wen, n=4": [1.0, 2, 3, 4]}


@pytest.fixture
def prompts(make_prompts):
    return make_prompts("abcd", [1, 1, 0, 0], [0, 1, 2, 3])


def test_scores_come_out_as_they_went_in(prompts):
    results = given.results(prompts, SCORES, {"draws": 100})
    assert {key: rows[0].tolist() for key, rows in results.scores.items()} == SCORES
    assert [(row.detector, row.n, row.summary.auc.value) for row in results.table] == [
        ("mine", 0, 1.0),
        ("wen", 4, 0.0),
    ]
    assert all(detector.sees_model for detector in results.detectors)


def test_settings_are_those_of_a_run_unless_given(prompts):
    config = given.results(prompts, SCORES, {"draws": 100}).config
    usual = members.constants("config")
    assert config.draws == 100
    assert config.fpr_targets == usual["fpr_targets"]
    assert config.bootstrap_seed == usual["bootstrap_seed"]


def test_other_scores_are_another_identity(prompts):
    def identity(scores):
        return given.results(prompts, scores, {"draws": 100}).case.identity

    assert identity(SCORES) == identity(dict(SCORES))
    assert identity(SCORES) != identity({**SCORES, "mine": [4.0, 3, 2, 0]})
    assert identity(SCORES) != identity({"other": SCORES["mine"], "wen, n=4": SCORES["wen, n=4"]})


def test_given_scores_cannot_be_evaluated_anew(prompts):
    detector = given.results(prompts, SCORES, {"draws": 100}).detectors[0]
    with pytest.raises(UserError, match="cannot be evaluated for other prompts"):
        detector.components()[0].compute()


@pytest.mark.parametrize("name", ["prompt", "ID", "label", "failure", "wen, n=1, rank"])
def test_a_score_is_not_called_as_another_column_is(prompts, name):
    with pytest.raises(UserError, match="has something else under that; rename it"):
        given.results(prompts, {name: np.arange(4.0)}, {"draws": 100})


def test_too_many_scores_are_refused(prompts):
    many = {f"c{i}": np.arange(4.0) for i in range(given.MOST + 1)}
    with pytest.raises(UserError, match="201 scores are given, and a table has 200"):
        given.results(prompts, many, {"draws": 100})
