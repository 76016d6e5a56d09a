"""Samples of few clusters are numpy's, and those of many the same distribution in any blocks."""

import numpy as np
import pytest

from anisomem import evaluation as ev
from anisomem.evaluation import resampling

LABELS = np.repeat([1, 0], [60, 140])
CLUSTERS = np.concatenate([np.arange(60) // 2, 100 + np.arange(140)])  # pairs, and single ones


@pytest.fixture
def many(monkeypatch):
    """Every resampling is of many clusters."""
    monkeypatch.setattr(resampling, "FEW", 0)


def test_few_clusters_are_drawn_by_one_generator_the_memorized_first():
    found = ev.resample(LABELS, CLUSTERS, draws=600, seed=7).weights
    generator = np.random.default_rng(7)
    memorized = generator.multinomial(30, np.full(30, 1 / 30), size=600)
    others = generator.multinomial(140, np.full(140, 1 / 140), size=600)
    np.testing.assert_array_equal(found[:, :60], memorized.repeat(2, axis=1))
    np.testing.assert_array_equal(found[:, 60:], others)


def test_the_memorized_prompts_are_drawn_once_for_all_blocks_of_others():
    whole, block = ev.resample(LABELS, CLUSTERS), ev.resample(LABELS[:90], CLUSTERS[:90])
    (all_others,), (few_others,) = whole.blocks(), block.blocks()
    assert np.shares_memory(all_others.positives, few_others.positives)
    generator = np.random.default_rng(0)
    generator.multinomial(30, np.full(30, 1 / 30), size=10_000)
    others = generator.multinomial(30, np.full(30, 1 / 30), size=10_000)
    np.testing.assert_array_equal(few_others.negatives, others.T)


def test_what_is_drawn_for_the_next_table_cannot_be_changed_by_this_one():
    (block,) = ev.resample(LABELS, CLUSTERS, draws=20).blocks()
    with pytest.raises(ValueError, match="read-only"):
        block.positives[0, 0] = 9


@pytest.mark.usefixtures("many")
def test_many_clusters_are_the_same_samples_in_blocks_of_any_length(monkeypatch):
    whole = ev.resample(LABELS, CLUSTERS, draws=700, seed=3)
    assert whole.kept is None
    weights = whole.weights
    monkeypatch.setattr(resampling, "HELD", 170 * 33)
    parts = ev.resample(LABELS, CLUSTERS, draws=700, seed=3)
    assert max(block.positives.shape[1] for block in parts.blocks()) == 33
    np.testing.assert_array_equal(parts.weights, weights)
    np.testing.assert_array_equal(
        ev.resample(LABELS, CLUSTERS, draws=90, seed=3).weights, weights[:90]
    )
    assert (ev.resample(LABELS, CLUSTERS, draws=700, seed=4).weights != weights).any()


@pytest.mark.usefixtures("many")
def test_many_clusters_are_drawn_with_replacement_in_each_class():
    weights = ev.resample(LABELS, CLUSTERS, draws=20_000).weights.astype(float)
    np.testing.assert_array_equal(weights[:, 0:60:2], weights[:, 1:60:2])  # of one cluster
    for counts in (weights[:, 0:60:2], weights[:, 60:]):
        n = counts.shape[1]
        assert (counts.sum(axis=1) == n).all()
        # multinomial(n; 1/n, ...): mean 1, variance 1 - 1/n, covariance -1/n
        covariance = np.cov(counts.T)
        np.testing.assert_allclose(counts.mean(axis=0), 1, atol=5 / np.sqrt(20_000))
        assert np.trace(covariance) / n == pytest.approx(1 - 1 / n, rel=0.01)
        assert (covariance.sum() - np.trace(covariance)) / n == pytest.approx(1 / n - 1, rel=0.01)
    # The classes are drawn independently of each other.
    between = np.corrcoef(weights[:, :60:2].T, weights[:, 60:].T)[:30, 30:]
    assert np.abs(between).max() < 5 / np.sqrt(20_000)


@pytest.mark.usefixtures("many")
def test_every_statistic_is_the_same_in_blocks_and_on_samples_written_out(monkeypatch):
    monkeypatch.setattr(resampling, "HELD", 170 * 8)
    blocks = ev.resample(LABELS, CLUSTERS, draws=30, seed=1)
    given = ev.Resampling.given(LABELS, blocks.weights)
    scores = np.random.default_rng(0).normal(size=(2, 200)) + LABELS
    scores[1] = np.round(scores[1])
    members = [LABELS == 1, np.arange(200) < 25]
    found, expected = (ev.statistics(scores, LABELS, one, [0.05]) for one in (blocks, given))
    np.testing.assert_array_equal(found.auc, expected.auc)
    np.testing.assert_array_equal(found.tpr, expected.tpr)
    np.testing.assert_array_equal(found.stricter_tpr, expected.stricter_tpr)
    rates, given_rates = (
        ev.tpr_by_group(scores, LABELS, one, members, 0.05) for one in (blocks, given)
    )
    np.testing.assert_allclose(rates, given_rates, rtol=1e-12, atol=1e-12)
