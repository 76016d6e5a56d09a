"""Fits in folds: no leak, raw units, clusters whole; and the text-only control."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from anisomem import evaluation as ev
from anisomem.evaluation import fitting, text


def simulate(seed=0, n=200):
    """Components of units a thousandfold apart, the second one useful too, the third noise."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    clusters = rng.integers(0, n // 3, n)
    components = rng.normal(size=(n, 3)) + labels[:, None] * [1.5, 1.0, 0.0]
    return components * [1e3, 1.0, 1e-3] + [5e3, 0.0, 1.0], labels, clusters


def test_folds_keep_clusters_and_spread_classes():
    _, labels, clusters = simulate()
    fold = ev.folds(labels, clusters, n_splits=4)
    assert set(fold) == {0, 1, 2, 3}
    for name in np.unique(clusters):
        assert len(set(fold[clusters == name])) == 1
    for k in range(4):
        assert 0.4 < labels[fold == k].mean() < 0.6
    names = [f"cluster {c:03d}" for c in clusters]
    np.testing.assert_array_equal(fold, ev.folds(labels == 1, names, n_splits=4))
    assert (fold != ev.folds(labels, clusters, n_splits=4, seed=1)).any()


def test_fewer_clusters_than_folds_are_refused():
    with pytest.raises(ValueError, match="6 prompts in 3 clusters are too few for 5 folds"):
        ev.folds([1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 2, 2])


def test_each_fold_is_a_plain_fit_of_the_others():
    components, labels, clusters = simulate()
    fit = ev.fit_in_folds(components, labels, clusters)
    assert fit.weights.shape == (5, 3) and ev.auc(fit.scores, labels) > 0.85
    np.testing.assert_array_equal(fit.fold, ev.folds(labels, clusters))
    for k in range(5):
        training, held_out = fit.fold != k, fit.fold == k
        scaler = StandardScaler().fit(components[training & (labels == 0)])
        model = LogisticRegression().fit(scaler.transform(components[training]), labels[training])
        expected = model.decision_function(scaler.transform(components[held_out]))
        np.testing.assert_allclose(fit.scores[held_out], expected, atol=1e-6)
        linear = components[held_out] @ fit.weights[k] + fit.intercepts[k]
        np.testing.assert_allclose(fit.scores[held_out], linear, atol=1e-10)


def test_weights_are_in_raw_units():
    components, labels, clusters = simulate()
    fit = ev.fit_in_folds(components, labels, clusters)
    other = ev.fit_in_folds(components * [1e-3, 7, 1] + [0, 3, 0], labels, clusters)
    np.testing.assert_allclose(other.scores, fit.scores, atol=1e-8)
    np.testing.assert_allclose(other.weights * [1e-3, 7, 1], fit.weights, rtol=1e-6)


def test_the_fit_never_sees_what_it_scores(monkeypatch):
    components, labels, clusters = simulate()
    fold = ev.folds(labels, clusters)
    monkeypatch.setattr(fitting, "folds", lambda *_: fold)  # labels steer the folds: hold them
    clean = ev.fit_in_folds(components, labels, clusters)
    for k in range(5):
        held_out = fold == k
        poisoned, flipped = components.copy(), labels.copy()
        poisoned[held_out] = 1e6 * np.random.default_rng(k).normal(size=(held_out.sum(), 3))
        flipped[held_out] = 1 - flipped[held_out]
        fit = ev.fit_in_folds(poisoned, flipped, clusters)
        np.testing.assert_array_equal(fit.weights[k], clean.weights[k])
        assert fit.intercepts[k] == clean.intercepts[k]
        others = np.arange(5) != k
        assert (fit.weights[others] != clean.weights[others]).all()  # the poison is potent


def test_equal_weights_by_hand():
    # negatives: first component 0, 2 (mean 1, std 1), second 10, 30 (mean 20, std 10)
    components = [[0, 10], [2, 30], [4, 20], [1, 50]]
    np.testing.assert_allclose(ev.equal_weights(components, [0, 0, 1, 1]), [-2, 2, 3, 3])
    # the memorized prompts move nothing but themselves
    components[3] = [1e9, -1e9]
    np.testing.assert_allclose(ev.equal_weights(components, [0, 0, 1, 1])[:3], [-2, 2, 3])


def captions(seed=0, n_clusters=60, copies=4):
    """Near-duplicate prompts, told apart by a name that only their cluster has."""
    rng = np.random.default_rng(seed)
    names = np.arange(n_clusters).repeat(copies)
    labels = rng.permutation(np.arange(n_clusters) % 2)[names]
    words = np.array(["red", "lamp", "on", "wood", "old", "map", "of", "snow"])
    prompts = [f"name{c} " + " ".join(rng.choice(words, 4)) for c in names]
    return prompts, labels, names


def test_text_only_learns_words_and_not_duplicates():
    prompts, labels, clusters = captions()
    # within clusters the name gives the label away; across clusters nothing does
    leaking = ev.text_only_scores(prompts, labels, np.arange(len(labels)))
    assert ev.auc(leaking, labels) > 0.95
    assert ev.auc(ev.text_only_scores(prompts, labels, clusters), labels) < 0.65

    telling = [p + (" poster" if y else " photo") for p, y in zip(prompts, labels, strict=True)]
    assert ev.auc(ev.text_only_scores(telling, labels, clusters), labels) == 1.0


def test_text_only_never_sees_what_it_scores(monkeypatch):
    prompts, labels, clusters = captions(1)
    fold = ev.folds(labels, clusters)
    monkeypatch.setattr(text, "folds", lambda *_: fold)
    clean = ev.text_only_scores(prompts, labels, clusters)
    # new words for one held-out prompt, new labels for its whole fold
    changed, flipped = list(prompts), np.where(fold == fold[0], 1 - labels, labels)
    changed[0] = "snow snow unheard words"
    scores = ev.text_only_scores(changed, flipped, clusters)
    same = (fold == fold[0]) & (np.arange(len(labels)) > 0)
    np.testing.assert_array_equal(scores[same], clean[same])
    assert (scores[fold != fold[0]] != clean[fold != fold[0]]).mean() > 0.9
    with pytest.raises(ValueError, match="labels must hold both classes"):
        ev.text_only_scores(prompts, np.ones(len(labels)), clusters)


def test_a_fit_takes_one_thread_whatever_others_take(monkeypatch):
    """And leaves to others what they had."""
    fit, threads = LogisticRegression.fit, []

    def watched(self, *data):
        threads.append({pool["num_threads"] for pool in threadpool_info()})
        return fit(self, *data)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    with threadpool_limits(2):
        ev.fit_in_folds(rng.normal(size=(40, 2)), labels, np.arange(40) // 2)
        assert {pool["num_threads"] for pool in threadpool_info()} == {2}
    assert threads == [{1}] * 5


def test_a_fit_that_its_caller_changes_is_nobody_elses():
    components, labels, clusters = simulate()
    fit = ev.fit_in_folds(components, labels, clusters)
    before = fit.scores.copy()
    fit.scores[:], fit.weights[:] = 0, 0
    again = ev.fit_in_folds(components, labels, clusters)
    np.testing.assert_array_equal(again.scores, before)
    assert again.weights.any()
