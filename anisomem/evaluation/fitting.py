"""Scores fitted on labels, always on other prompts than the ones they score.

The folds keep clusters together. What is fitted are weights of components, or the text control of
``text``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.inputs import (
    FloatArray,
    IntArray,
    check_clusters,
    check_labels,
    check_scores,
)

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

KEPT = 64  # divisions into folds that are kept for whoever asks for the same


@dataclass(frozen=True)
class FoldFit:
    """Out-of-fold scores and the fits behind them, in the raw components' units.

    ``scores[i] = components[i] @ weights[fold[i]] + intercepts[fold[i]]``, with scores ``[N]``,
    weights ``[n_splits, K]``, intercepts ``[n_splits]`` and fold ``[N]``.
    """

    scores: FloatArray
    weights: FloatArray
    intercepts: FloatArray
    fold: IntArray


def folds(
    labels: npt.ArrayLike, clusters: npt.ArrayLike, n_splits: int = 5, seed: int = 0
) -> IntArray:
    """The fold ``[N]`` in which each prompt is held out; clusters are never split.

    Arguments:
        labels: ``[N]``, 1 = memorized; classes are spread over the folds as clusters allow.
        clusters: ``[N]``, integers or strings.
        n_splits: Number of folds.
        seed: The seed of the shuffle.

    Raises:
        ValueError: labels not 0 or 1, other lengths, too few clusters for the folds, or a class
            that has all its prompts in one fold.
    """
    memorized = check_labels(labels)
    names = check_clusters(clusters, memorized)
    # By number, every cluster in the place that its name has among them.
    distinct, numbers = np.unique(names, return_inverse=True)
    if len(distinct) < n_splits:
        raise ValueError(
            f"{len(memorized)} prompts in {len(distinct)} clusters are too few for {n_splits}"
            " folds"
        )
    numbers = numbers.astype(np.int64)
    return _divided(memorized.tobytes(), numbers.tobytes(), n_splits, seed).copy()


@lru_cache(KEPT)
def _divided(labels: bytes, clusters: bytes, n_splits: int, seed: int) -> IntArray:
    """:func:`folds` of checked labels and of numbered clusters, which many detectors ask for."""
    from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]

    memorized = np.frombuffer(labels, np.bool_)
    names = np.frombuffer(clusters, np.int64)
    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)

    fold = np.empty(len(memorized), dtype=np.int64)
    with warnings.catch_warnings():  # fewer prompts of a class than folds: what matters is below
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for k, (_, held_out) in enumerate(splitter.split(memorized, memorized, names)):
            fold[held_out] = k
    for members, word in ((memorized, "memorized"), (~memorized, "other")):
        if np.ptp(fold[members]) == 0:
            raise ValueError(
                f"all {word} prompts are in one fold, so a fit without it would see none of them;"
                " the class needs two clusters"
            )
    return fold


def fit_in_folds(
    components: npt.ArrayLike,
    labels: npt.ArrayLike,
    clusters: npt.ArrayLike,
    n_splits: int = 5,
    seed: int = 0,
) -> FoldFit:
    """Weights of a detector's components by logistic regression, and out-of-fold scores.

    In each fold :func:`fit_weights` sees the other prompts, and its linear predictor scores the
    held-out ones. Nothing aligns the predictors of different folds, so
    one AUC over all of them is approximate: a fold that holds out more than its share of
    memorized prompts has a lower intercept, which pulls the pooled AUC down (below 0.5 for
    components that know nothing).

    Arguments:
        components: ``[N, K]``, one column per component, in any unit.
        labels: ``[N]``, 1 = memorized.
        clusters: ``[N]``, kept together in the folds.
        n_splits, seed: As :func:`folds`.

    Raises:
        ValueError: as :func:`folds`; NaN or infinite components, or one that is constant over
            the negatives.
    """
    columns, memorized = check_scores(np.asarray(components).T, labels, ndim=2)
    fold = folds(memorized, clusters, n_splits, seed)
    fit = _fitted(columns.tobytes(), memorized.tobytes(), fold.tobytes(), n_splits)
    return FoldFit(*(getattr(fit, one.name).copy() for one in fields(fit)))


@lru_cache(KEPT)
def _fitted(components: bytes, labels: bytes, folded: bytes, n_splits: int) -> FoldFit:
    """:func:`fit_in_folds` of checked components, ``[K, N]``: of scores, and of their weights."""
    memorized = np.frombuffer(labels, np.bool_)
    columns = np.frombuffer(components, np.float64).reshape(-1, len(memorized))
    fold = np.frombuffer(folded, np.int64)
    weights = np.empty((n_splits, len(columns)))
    intercepts = np.empty(n_splits)
    for k in range(n_splits):
        weights[k], intercepts[k] = fit_weights(columns[:, fold != k].T, memorized[fold != k])

    scores = np.einsum("kn,nk->n", columns, weights[fold]) + intercepts[fold]
    return FoldFit(scores, weights, intercepts, fold)


def fit_weights(components: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, float]:
    """Weights ``[K]`` in the components' own units, and the intercept, by logistic regression.

    The components are standardised by the negatives, and scikit-learn's ``LogisticRegression()``
    is fitted (L2, C = 1, on the standardised components).

    Arguments:
        components: ``[N, K]``, one column per component, in any unit.
        labels: ``[N]``, 1 = memorized.

    Raises:
        ValueError: NaN or infinite components, one that is constant over the negatives, labels
            not 0 or 1, one class only, other lengths.
    """
    columns, memorized = check_scores(np.asarray(components).T, labels, ndim=2)
    mean, std = _moments(columns[:, ~memorized])
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    # Fits this small only lose by threads, manyfold where other programs want the cores too.
    with _libraries().limit(limits=1):
        fit = LogisticRegression(max_iter=1000).fit(((columns - mean) / std).T, memorized)
    weights = fit.coef_[0] / std[:, 0]
    return weights, float(fit.intercept_[0] - weights @ mean[:, 0])


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that a fit calls; to look for them takes as long as a fit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def equal_weights(components: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """The sum of the components, each in standard deviations from the negatives' mean.

    Of the labels it uses no more than the negatives' mean and standard deviation, and it uses
    them on the very prompts it scores.

    Arguments:
        components: ``[N, K]``, each oriented so that larger = more memorized.
        labels: ``[N]``, 1 = memorized.

    Returns:
        Scores ``[N]``.

    Raises:
        ValueError: NaN or infinite components, one that is constant over the negatives, labels
            not 0 or 1, other lengths.
    """
    columns, memorized = check_scores(np.asarray(components).T, labels, ndim=2)
    mean, std = _moments(columns[:, ~memorized])
    return np.asarray(((columns - mean) / std).sum(axis=0))


def _moments(negatives: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation ``[K, 1]`` of components ``[K, n-]``."""
    constant = np.flatnonzero(np.ptp(negatives, axis=1) == 0)
    if constant.size:
        raise ValueError(
            f"component {constant[0]} is constant over the negatives: nothing to standardise by,"
            " leave it out"
        )
    return negatives.mean(axis=1, keepdims=True), negatives.std(axis=1, keepdims=True)
