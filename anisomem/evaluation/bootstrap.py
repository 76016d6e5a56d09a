"""The stratified cluster bootstrap of AUC and TPR@FPR, and paired comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.curves import allowed_false_positives, pair_counts
from anisomem.evaluation.inputs import (
    FloatArray,
    check_clusters,
    check_fraction,
    check_labels,
    check_scores,
)
from anisomem.evaluation.interval import Interval, rule_of_three

CHUNK = 500  # draws at a time: the working set stays in the cache


@dataclass(frozen=True)
class Resampling:
    """How often each prompt occurs in each bootstrap sample: ``weights [draws, N]``.

    One resampling serves all detectors of a table, so that their draws are paired.
    """

    weights: npt.NDArray[np.int16]
    n_positive_clusters: int
    n_negative_clusters: int


@dataclass(frozen=True)
class BootstrapStatistics:
    """Draws of the statistics: ``auc [D, draws]``, ``tpr [T, D, draws]`` for ``T`` targets."""

    auc: FloatArray
    tpr: FloatArray


@dataclass(frozen=True)
class PairedDifference:
    """Detector a minus detector b; ``verdict`` is "better", "worse" or "not separable"."""

    difference: float
    interval: Interval
    p_value: float
    verdict: str


def resample(
    labels: npt.ArrayLike, clusters: npt.ArrayLike, draws: int = 10_000, seed: int = 0
) -> Resampling:
    """Draws whole clusters with replacement, in each class as many as the class has.

    A cluster with prompts of both classes counts as one cluster in each, and its two halves are
    drawn independently. The sample's size varies when cluster sizes do; with clusters of one
    prompt this is the plain stratified bootstrap. Draws belong to cluster names, so the order of
    the prompts doesn't matter.

    Arguments:
        labels: ``[N]``, 1 = memorized.
        clusters: ``[N]``, integers or strings; near-duplicate prompts share one.
        draws: Number of bootstrap samples.
        seed: Of ``np.random.default_rng``.

    Raises:
        ValueError: labels not 0 or 1, one class only, other lengths.

    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    memorized = check_labels(labels)
    names = check_clusters(clusters, memorized)
    generator = np.random.default_rng(seed)

    weights = np.empty((draws, len(memorized)), dtype=np.int16)
    n_clusters = []
    for members in (memorized, ~memorized):
        distinct, cluster = np.unique(names[members], return_inverse=True)
        n = len(distinct)
        counts = generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.int16)
        weights[:, members] = counts[:, cluster]
        n_clusters.append(n)
    return Resampling(weights, *n_clusters)


def statistics(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    resampling: Resampling,
    targets: Sequence[float] = (0.01, 0.03, 0.05),
) -> BootstrapStatistics:
    r"""AUC and TPR@FPR of every detector on every bootstrap sample.

    With prompt weights ``w`` and :math:`F_i = \sum_j w^-_j [s^-_j \ge s^+_i]`, the weight of the
    negatives that a threshold at positive ``i`` lets through, positive ``i`` is detected at the
    sample's own threshold if and only if :math:`F_i` is an allowed number of false positives:

    .. math:: \text{TPR} = \sum_i w^+_i [F_i \le \lfloor \text{target} \sum_j w^-_j \rfloor]
        \,/\, \sum_i w^+_i

    Ties are exact: the values equal :func:`auc` and :func:`tpr_at_fpr` of the written-out sample.

    Arguments:
        scores: ``[D, N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized; those of the resampling.
        resampling: From :func:`resample`, for these prompts.
        targets: ``T`` false positive rates, fractions in (0, 1).

    Raises:
        ValueError: NaN or infinite scores, labels not 0 or 1, other lengths, a target that is
            not a fraction.
    """
    values, memorized = check_scores(scores, labels, ndim=2)
    for target in targets:
        check_fraction("target", target)
    draws, n_prompts = resampling.weights.shape
    if n_prompts != len(memorized):
        raise ValueError(f"the resampling is of {n_prompts} prompts, labels hold {len(memorized)}")

    positives, negatives = values[:, memorized], values[:, ~memorized]
    order = np.argsort(negatives, axis=1)
    ranks = [pair_counts(p, n) for p, n in zip(positives, negatives, strict=True)]
    rates = np.array(targets, dtype=np.float64)[:, None]

    auc = np.empty((len(values), draws))
    tpr = np.empty((len(targets), len(values), draws))
    for start in range(0, draws, CHUNK):
        part = slice(start, start + CHUNK)
        weights = resampling.weights[part].T.astype(np.float64, order="C")
        of_positives, of_negatives = weights[memorized], weights[~memorized]
        n_positive, n_negative = of_positives.sum(axis=0), of_negatives.sum(axis=0)
        allowed = allowed_false_positives(rates, n_negative)

        lowest = np.zeros((len(of_negatives) + 1, weights.shape[1]))
        for d, (below, not_above) in enumerate(ranks):
            # row k: the weight of the k lowest negatives
            np.cumsum(of_negatives[order[d]], axis=0, out=lowest[1:])
            beaten = lowest[below]
            doubled = np.einsum("nb,nb->b", of_positives, beaten + lowest[not_above])
            auc[d, part] = doubled / (2 * n_positive * n_negative)

            passing = n_negative - beaten
            for t, limit in enumerate(allowed):
                detected = np.einsum("nb,nb->b", of_positives, passing <= limit)
                tpr[t, d, part] = detected / n_positive
    return BootstrapStatistics(auc, tpr)


def percentile_interval(draws: FloatArray, n_units: int, confidence: float = 0.95) -> Interval:
    """The percentile interval of a rate (AUC, TPR) from its bootstrap draws.

    Where no draw leaves 1 (or 0) the bootstrap is blind, and the rule of three stands in.

    Arguments:
        draws: ``[draws]``.
        n_units: Independent units behind a perfect rate: the clusters of memorized prompts for a
            TPR, the smaller of the two classes' numbers of clusters for an AUC.
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    low, high = _quantiles(draws, confidence)
    if low == high and low in (0, 1):
        return rule_of_three(low, n_units, f"always {low:g} on {n_units} units", confidence)
    note = "every draw is equal" if low == high else None
    return Interval(low, high, "percentile bootstrap", note)


def paired_difference(
    value_a: float,
    value_b: float,
    draws_a: FloatArray,
    draws_b: FloatArray,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compares one statistic of two detectors over the same bootstrap samples.

    Arguments:
        value_a, value_b: The statistic on the prompts themselves.
        draws_a, draws_b: ``[draws]`` each, from one resampling.
        confidence: A fraction in (0, 1).

    Returns:
        a - b, its percentile interval, the verdict read off the interval, and the two-sided
        p value ``2 min(#{draw <= 0} + 1, #{draw >= 0} + 1) / (draws + 1)``, at most 1.

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Davison & Hinkley (1997), chapter 4, for the + 1.
    """
    draws = draws_a - draws_b
    low, high = _quantiles(draws, confidence)
    tail = 1 + min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    verdict = "better" if low > 0 else "worse" if high < 0 else "not separable"
    return PairedDifference(
        difference=value_a - value_b,
        interval=Interval(
            low, high, "paired bootstrap", "every draw is equal" if low == high else None
        ),
        p_value=min(1.0, 2 * tail / (len(draws) + 1)),
        verdict=verdict,
    )


def _quantiles(draws: FloatArray, confidence: float) -> tuple[float, float]:
    check_fraction("confidence", confidence)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
