"""Scores that many prompts share are said."""

import numpy as np
import pytest

from anisomem import evaluation as ev

LABELS = np.repeat([1, 0], 100)


def summary(rows):
    evaluation = ev.Evaluation(np.asarray(rows, float)[None], LABELS, np.arange(200), draws=200)
    return evaluation.summaries()[0]


def test_a_constant_score_is_said_to_be_one():
    found = summary([np.full(200, 3.7)])
    assert found.ties.flag == "constant"
    assert found.auc.value == 0.5
    assert found.auc.note == found.ties.note
    assert found.auc.note.startswith("constant: every prompt scores the same")
    assert found.auc.interval.note is None  # nothing about draws, which are beside the point
    assert found.ties.note in found.tpr[0.03].note


@pytest.mark.parametrize(("tied", "flag"), [(100, None), (101, "50% tied"), (126, "63% tied")])
def test_most_prompts_with_one_score_are_said(tied, flag):
    scores = np.arange(200.0)
    scores[:tied] = -1
    found = summary([scores])
    assert (found.ties.largest, found.ties.levels) == (tied / 200, 201 - tied)
    assert found.ties.flag == flag
    if flag:
        assert f"{tied / 200:.1%} of the prompts share one score" in found.auc.note


def test_few_levels_are_said_where_prompts_are_many():
    found = summary([np.arange(200) % 12])
    assert found.ties.flag == "12 levels"
    assert "take 12 values only" in found.tpr[0.01].note
    assert ev.ties([np.arange(40.0) % 12], np.arange(40) % 2).flag is None  # too few prompts
    assert summary([np.arange(200) % 20]).ties.flag is None


def test_the_worst_noise_seed_counts():
    found = summary([np.arange(200), np.zeros(200)])
    assert found.ties == ev.Ties(1.0, 1, 200)
