"""The stratified cluster bootstrap of AUC and TPR@FPR, and paired comparisons.

Samples are from ``resampling``, counts along them from ``walks``, intervals of the draws from
``interval``; tests that need no draws are in ``delong``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.evaluation import walks
from anisomem.evaluation.curves import allowed_false_positives
from anisomem.evaluation.inputs import FloatArray, check_fraction, check_scores
from anisomem.evaluation.interval import (
    EQUAL,
    EXPANDED,
    SINGLE,
    Interval,
    expanded_p,
    expanded_quantiles,
    tail_of,
)
from anisomem.evaluation.resampling import Resampling

FAMILY_LEVEL = 0.05  # chance of any wrong verdict among pairs whose p values are adjusted
NOT_SEPARABLE = "not separable"
MOST_DRAWS = 300_000  # as many as a verdict is worth


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

    Both come from walks down a detector's ranking that add whole rows of weights, all draws at
    once, in integers; where the ranking is nearly that of the detector before, as in a sweep over
    weights, the pairs that have changed are added instead. Ties are exact: the values equal
    :func:`auc` and :func:`tpr_at_fpr` of the written-out sample.

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
    if (n := resampling.n_prompts) != len(memorized):
        raise ValueError(f"the resampling is of {n} prompts, labels hold {len(memorized)}")
    rates = np.array(targets, dtype=np.float64)[:, None]
    rankings = [walks.Ranking.of(row, memorized) for row in values]
    swaps = walks.swaps_between(values, memorized)

    auc = np.empty((len(values), resampling.draws))
    tpr = np.empty((2 * len(targets), *auc.shape))
    for block in resampling.blocks():
        n_positive = resampling.positives.prompts(block.positives)
        n_negative = resampling.negatives.prompts(block.negatives)
        twice_pairs = 2 * n_positive * n_negative
        sums = walks.sums_for(max(n_positive.max(), n_negative.max()))
        heaviest = int(max(block.positives.max(), block.negatives.max()))
        light = sums is np.uint16 and heaviest <= walks.LIGHT
        counts = resampling.by_prompt(block)
        most = allowed_false_positives(rates, n_negative)
        allowed = np.concatenate([most, np.maximum(most - 1, 0)]).astype(sums)
        some = np.concatenate([np.ones_like(most), most >= 1])
        always, among = bool(some.all()), n_positive.astype(np.float64)
        lost, pairs = np.zeros_like(twice_pairs), twice_pairs.astype(np.float64)
        for d, ranking in enumerate(rankings):
            if light and (changed := swaps[d]) is not None:
                lost = lost + walks.change_of_lost_pairs(changed, counts, heaviest)
            else:
                lost = walks.lost_pairs(ranking, counts, sums)
            np.divide(twice_pairs - lost, pairs, out=auc[d, block.part])
            if len(targets):
                detected = walks.detected_positives(ranking, counts, allowed)
                np.divide(detected, among, out=tpr[:, d, block.part])
                if not always:
                    tpr[:, d, block.part] *= some
    return BootstrapStatistics(auc, *np.split(tpr, 2))


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
