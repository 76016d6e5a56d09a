"""What the bootstrap draws say along a curve: ROC bands, and rates by groups of prompts.

The draws are :func:`anisomem.evaluation.bootstrap.resample`; curves themselves are in ``curves``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anisomem.evaluation import walks
from anisomem.evaluation.bootstrap import statistics
from anisomem.evaluation.curves import allowed_false_positives
from anisomem.evaluation.inputs import FloatArray, check_fraction, check_scores
from anisomem.evaluation.interval import Interval, tpr_interval
from anisomem.evaluation.resampling import Resampling


def roc_band(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    resampling: Resampling,
    rates: Sequence[float],
    confidence: float = 0.95,
) -> list[Interval]:
    """Pointwise intervals of the TPR at each false positive rate, from the table's draws.

    A vertical band: each draw's threshold is its own, as in a row of the table.

    Arguments:
        scores: ``[N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized; those of the resampling.
        resampling: What :func:`resample` drew for these prompts.
        rates: False positive rates, fractions in (0, 1).
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: What :func:`statistics` refuses.
    """
    drawn = statistics(np.asarray(scores)[None], labels, resampling, rates)
    units = resampling.positive_units
    return [
        tpr_interval(drawn.tpr[k, 0], drawn.stricter_tpr[k, 0], units, confidence)
        for k in range(len(rates))
    ]


def tpr_by_group(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    resampling: Resampling,
    members: npt.ArrayLike,
    target: float,
) -> FloatArray:
    """TPR of groups of memorized prompts on every bootstrap sample, ``[G, D, draws]``.

    All groups share the sample's own threshold, the lowest that lets through no more than the
    target of *all* its negatives, as in :func:`statistics`. A sample that has none of a group
    gives NaN.

    Arguments:
        scores: ``[D, N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized; those of the resampling.
        resampling: What :func:`resample` drew for these prompts.
        members: Booleans ``[G, N]``; prompts that are not memorized are in no group.
        target: False positive rate, a fraction in (0, 1).

    Raises:
        ValueError: What :func:`statistics` refuses.
    """
    values, memorized = check_scores(scores, labels, ndim=2)
    check_fraction("target", target)
    groups = np.asarray(members, dtype=bool) & memorized
    # What a detector ranks for each group: the group, and all negatives.
    chosen = [np.flatnonzero(group | ~memorized) for group in groups]
    rankings = [
        [walks.Ranking.of(row[some], memorized[some]) for row in values] for some in chosen
    ]
    tpr = np.empty((len(groups), len(values), resampling.draws))
    for block in resampling.blocks():
        counts = resampling.by_prompt(block)
        n_negative = resampling.negatives.prompts(block.negatives)
        sums = walks.sums_for(
            max(resampling.positives.prompts(block.positives).max(), n_negative.max())
        )
        allowed = allowed_false_positives(target, n_negative).astype(sums)[None]
        for g, (group, some) in enumerate(zip(groups, chosen, strict=True)):
            size = sum((counts[row] for row in np.flatnonzero(group)), np.zeros_like(n_negative))
            ranked = [counts[row] for row in some]
            for d, ranking in enumerate(rankings[g]):
                detected = walks.detected_positives(ranking, ranked, allowed)[0]
                with np.errstate(invalid="ignore"):
                    np.divide(detected, size, out=tpr[g, d, block.part])
    return tpr
