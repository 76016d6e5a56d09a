"""The stratified cluster bootstrap of AUC and TPR@FPR, and paired comparisons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.curves import allowed_false_positives
from anisomem.evaluation.inputs import (
    BoolArray,
    FloatArray,
    check_clusters,
    check_fraction,
    check_labels,
    check_scores,
)
from anisomem.evaluation.interval import Interval, rule_of_three

FAMILY_LEVEL = 0.05  # chance of any wrong verdict among pairs whose p values are adjusted
NOT_SEPARABLE = "not separable"
CHUNK = 10_000  # draws at a time: long enough for numpy, and a row of them stays in the cache

Block = tuple[list[int], list[int], bool]  # prompts memorized and not, and whether they are tied
Counts = npt.NDArray[np.integer[Any]]  # uint16, or int64 for samples too large for that


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

    With prompt weights ``w``, and :math:`A_i = \sum_j w^-_j [s^-_j > s^+_i]` and
    :math:`F_i = \sum_j w^-_j [s^-_j \ge s^+_i]` the weights of the negatives above positive ``i``
    and of those that a threshold at ``i`` lets through,

    .. math:: \text{AUC} = 1 - \sum_i w^+_i \tfrac{1}{2}(A_i + F_i)
        \,/\, \sum_i w^+_i \sum_j w^-_j,

    and ``i`` is detected at the sample's own threshold if and only if :math:`F_i` is an allowed
    number of false positives:

    .. math:: \text{TPR} = \sum_i w^+_i [F_i \le \lfloor \text{target} \sum_j w^-_j \rfloor]
        \,/\, \sum_i w^+_i

    Both come from one walk down a detector's ranking that adds whole rows of weights, all draws
    at once, in integers. Ties are exact: the values equal :func:`auc` and :func:`tpr_at_fpr` of
    the written-out sample.

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
    rates = np.array(targets, dtype=np.float64)[:, None]

    auc = np.empty((len(values), draws))
    tpr = np.empty((len(targets), len(values), draws))
    for start in range(0, draws, CHUNK):
        part = slice(start, start + CHUNK)
        drawn = resampling.weights[part]
        n_positive = drawn[:, memorized].sum(axis=1, dtype=np.int64)
        n_negative = drawn[:, ~memorized].sum(axis=1, dtype=np.int64)
        n_pairs = n_positive * n_negative
        small = max(n_positive.max(), n_negative.max()) < 2**16
        counts: type[np.integer[Any]] = np.uint16 if small else np.int64
        weights = list(drawn.T.astype(counts, order="C"))
        allowed = allowed_false_positives(rates, n_negative).astype(counts)
        for d, row in enumerate(values):
            lost, tied, detected = _walk(_ranking(row, memorized), weights, allowed)
            auc[d, part] = (2 * (n_pairs - lost) - tied) / (2 * n_pairs)
            tpr[:, d, part] = detected / n_positive
    return BootstrapStatistics(auc, tpr)


def _ranking(scores: FloatArray, memorized: BoolArray) -> list[Block]:
    """The prompts from the highest score down, in blocks.

    A block is a run of memorized prompts and the run of others below it, or, *tied*, the prompts
    of both classes that share one score.
    """
    order = np.lexsort((~memorized, -scores))  # memorized ones first where scores are equal
    positive = memorized[order]
    new = np.append(True, np.diff(scores[order]) != 0)
    level = new.cumsum() - 1
    share = np.bincount(level, positive) / np.bincount(level)
    tied = ((share > 0) & (share < 1))[level]
    begins = (positive[1:] & ~positive[:-1]) | (new[1:] & (tied[1:] | tied[:-1]))
    cuts = [0, *(np.flatnonzero(begins) + 1).tolist(), len(order)]
    ahead = np.append(0, positive.cumsum()).tolist()
    rows, of_tied = order.tolist(), tied.tolist()
    blocks = []
    for begin, end in pairwise(cuts):
        middle = begin + ahead[end] - ahead[begin]
        blocks.append((rows[begin:middle], rows[middle:end], of_tied[begin]))
    return blocks


def _walk(
    ranking: Sequence[Block], weights: Sequence[Counts], allowed: Counts
) -> tuple[Counts, Counts, Counts]:
    """Pairs lost and tied ``[b]``, and positives detected ``[T, b]``, on ``b`` draws.

    Arguments:
        ranking: From :func:`_ranking`.
        weights: Of every prompt, ``[b]`` each.
        allowed: False positives, ``[T, b]``.
    """
    # A product of two numbers below 2 ** 16 is below 2 ** 32.
    products = np.uint32 if allowed.dtype == np.uint16 else np.int64
    above, detected = np.zeros_like(weights[0]), np.zeros_like(allowed)
    lost, tied_pairs, product = np.zeros((3, allowed.shape[1]), products)
    run_buffer, level_buffer = np.empty_like(above), np.empty_like(above)
    loosest = allowed.max(axis=0, initial=0)
    undecided = len(allowed) > 0
    for positives, negatives, tied in ranking:
        if not positives:
            _add(negatives, weights, above)
            continue
        run = _total(positives, weights, run_buffer)
        lost += np.multiply(run, above, out=product, dtype=products)
        if tied:
            level = _total(negatives, weights, level_buffer)
            tied_pairs += np.multiply(run, level, out=product, dtype=products)
            above += level
        if undecided:
            detected += run * (above <= allowed)
            undecided = bool((above <= loosest).any())
        if not tied:
            _add(negatives, weights, above)
    return lost, tied_pairs, detected


def _total(rows: Sequence[int], weights: Sequence[Counts], buffer: Counts) -> Counts:
    """The sum of some weights, in ``buffer`` unless there is one row alone."""
    if len(rows) == 1:
        return weights[rows[0]]
    np.add(weights[rows[0]], weights[rows[1]], out=buffer)
    _add(rows[2:], weights, buffer)
    return buffer


def _add(rows: Sequence[int], weights: Sequence[Counts], total: Counts) -> None:
    for row in rows:
        np.add(total, weights[row], out=total)


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
        return rule_of_three(
            low, n_units, f"{low:g} in 95% of the draws or more, {n_units} units", confidence
        )
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
    verdict = "better" if low > 0 else "worse" if high < 0 else NOT_SEPARABLE
    return PairedDifference(
        difference=value_a - value_b,
        interval=Interval(
            low, high, "paired bootstrap", "every draw is equal" if low == high else None
        ),
        p_value=min(1.0, 2 * tail / (len(draws) + 1)),
        verdict=verdict,
    )


def enough_draws(pairs: int) -> int:
    r"""Bootstrap draws from which Holm's method over so many pairs can give a verdict.

    The least p value of :func:`paired_difference`, :math:`2/(\text{draws} + 1)`, is then at most
    half of ``FAMILY_LEVEL`` after it has been multiplied by the number of pairs.
    """
    return math.ceil(4 * pairs / FAMILY_LEVEL) - 1


def _quantiles(draws: FloatArray, confidence: float) -> tuple[float, float]:
    check_fraction("confidence", confidence)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
