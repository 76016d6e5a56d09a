"""The stratified cluster bootstrap of AUC and TPR@FPR, and paired comparisons.

Intervals are made of the draws in ``interval``; tests that need no draws are in ``delong``.
"""

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
from anisomem.evaluation.interval import (
    EQUAL,
    EXPANDED,
    SINGLE,
    Interval,
    effective_clusters,
    expanded_p,
    expanded_quantiles,
    tail_of,
)

FAMILY_LEVEL = 0.05  # chance of any wrong verdict among pairs whose p values are adjusted
NOT_SEPARABLE = "not separable"
MOST_DRAWS = 100_000  # as many as a verdict is worth
CHUNK = 10_000  # draws at a time: long enough for numpy, and a row of them stays in the cache

Block = tuple[list[int], list[int], bool]  # prompts memorized and not, and whether they are tied
Counts = npt.NDArray[np.integer[Any]]  # uint16, or int64 for samples too large for that


@dataclass(frozen=True)
class Resampling:
    """How often each prompt occurs in each bootstrap sample: ``weights [draws, N]``.

    One resampling serves all detectors of a table, so that their draws are paired.

    Attributes:
        weights: ``[draws, N]``.
        positive_units, negative_units: The :func:`effective_clusters` of either class.
    """

    weights: npt.NDArray[np.int16]
    positive_units: float
    negative_units: float

    @property
    def units(self) -> float:
        """The units of the class that has fewer."""
        return min(self.positive_units, self.negative_units)


@dataclass(frozen=True)
class BootstrapStatistics:
    """Draws of the statistics.

    Attributes:
        auc: ``[D, draws]``.
        tpr: ``[T, D, draws]`` for ``T`` targets.
        stricter_tpr: The same where one false positive fewer is allowed.
    """

    auc: FloatArray
    tpr: FloatArray
    stricter_tpr: FloatArray


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
        seed: The seed of ``np.random.default_rng``.

    Raises:
        ValueError: labels not 0 or 1, one class only, other lengths.

    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    memorized = check_labels(labels)
    names = check_clusters(clusters, memorized)
    generator = np.random.default_rng(seed)

    weights = np.empty((draws, len(memorized)), dtype=np.int16)
    units = []
    for members in (memorized, ~memorized):
        distinct, cluster = np.unique(names[members], return_inverse=True)
        n = len(distinct)
        counts = generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.int16)
        weights[:, members] = counts[:, cluster]
        units.append(effective_clusters(cluster))
    return Resampling(weights, *units)


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

    The stricter TPR is that of one false positive fewer; where none is allowed, it is 0.

    Both come from one walk down a detector's ranking that adds whole rows of weights, all draws
    at once, in integers. Ties are exact: the values equal :func:`auc` and :func:`tpr_at_fpr` of
    the written-out sample.

    Arguments:
        scores: ``[D, N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized; those of the resampling.
        resampling: What :func:`resample` drew for these prompts.
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
    tpr = np.empty((2 * len(targets), len(values), draws))
    for start in range(0, draws, CHUNK):
        part = slice(start, start + CHUNK)
        drawn = resampling.weights[part]
        n_positive = drawn[:, memorized].sum(axis=1, dtype=np.int64)
        n_negative = drawn[:, ~memorized].sum(axis=1, dtype=np.int64)
        n_pairs = n_positive * n_negative
        small = max(n_positive.max(), n_negative.max()) < 2**16
        counts: type[np.integer[Any]] = np.uint16 if small else np.int64
        weights = list(drawn.T.astype(counts, order="C"))
        most = allowed_false_positives(rates, n_negative)
        allowed = np.concatenate([most, np.maximum(most - 1, 0)]).astype(counts)
        some = np.concatenate([np.ones_like(most), most >= 1])
        for d, row in enumerate(values):
            lost, tied, detected = _walk(_ranking(row, memorized), weights, allowed)
            auc[d, part] = (2 * (n_pairs - lost) - tied) / (2 * n_pairs)
            tpr[:, d, part] = some * detected / n_positive
    return BootstrapStatistics(auc, *np.split(tpr, 2))


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
        ranking: The order of the scores from :func:`_ranking`.
        weights: The weights of every prompt, ``[b]`` each.
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


def paired_difference(
    value_a: float,
    value_b: float,
    draws_a: FloatArray,
    draws_b: FloatArray,
    units: float,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compares one statistic of two detectors over the same bootstrap samples.

    Arguments:
        value_a, value_b: The statistic on the prompts themselves.
        draws_a, draws_b: ``[draws]`` each, from one resampling.
        units: The :func:`effective_clusters` behind the statistic.
        confidence: A fraction in (0, 1).

    Returns:
        a - b, its interval between :func:`expanded_quantiles`, the verdict read off the interval,
        and the two-sided p value, :func:`expanded_p` of the smaller tail
        ``min(#{draw <= 0} + 1, #{draw >= 0} + 1) / (draws + 1)``.

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Davison & Hinkley (1997), chapter 4, for the + 1.
    """
    draws = draws_a - draws_b
    low, high = expanded_quantiles(draws, units, confidence)
    tail = 1 + min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    verdict = "better" if low > 0 else "worse" if high < 0 else NOT_SEPARABLE
    note = EQUAL if low == high else None
    if units <= 1:
        verdict, note = NOT_SEPARABLE, SINGLE
    return PairedDifference(
        difference=value_a - value_b,
        interval=Interval(low, high, f"paired, {EXPANDED}", note),
        p_value=expanded_p(tail / (len(draws) + 1), units),
        verdict=verdict,
    )


def least_p(draws: int, units: float) -> float:
    """The p value of :func:`paired_difference` where every draw is on one side."""
    return expanded_p(1 / (draws + 1), units)


def enough_draws(pairs: int, units: float) -> int:
    """Bootstrap draws from which Holm's method over so many pairs can give a verdict.

    :func:`least_p` is then at most half of ``FAMILY_LEVEL`` after it has been multiplied by the
    number of pairs; for few units that may ask for more than ``MOST_DRAWS``, which is returned.
    """
    tail = tail_of(FAMILY_LEVEL / (2 * pairs), units)
    return math.ceil(1 / max(tail, 1 / MOST_DRAWS) - 1e-9) - 1
