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
    rankings = [walks.Ranking.of(row, memorized) for row in values]
    tpr = np.empty((len(groups), len(values), resampling.draws))
    for block in resampling.blocks():
        counts = resampling.by_prompt(block)
        n_positive = resampling.positives.prompts(block.positives)
        n_negative = resampling.negatives.prompts(block.negatives)
        sums = walks.sums_for(max(n_positive.max(), n_negative.max()))
        allowed = allowed_false_positives(target, n_negative).astype(sums)
        sizes = np.zeros((len(groups), len(allowed)), np.int64)
        for size, group in zip(sizes, groups, strict=True):
            for row in np.flatnonzero(group):
                size += counts[row]
        for d, ranking in enumerate(rankings):
            detected = walks.detected_of_groups(ranking, counts, allowed, groups)
            with np.errstate(invalid="ignore"):
                tpr[:, d, block.part] = detected / sizes
    return tpr
