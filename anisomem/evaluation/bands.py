"""What the bootstrap draws say along a curve: ROC bands, and rates by groups of prompts.

The draws are :func:`anisomem.evaluation.bootstrap.resample`; curves themselves are in ``curves``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.bootstrap import statistics
from anisomem.evaluation.curves import allowed_false_positives, pair_counts
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
    r"""TPR of groups of memorized prompts on every bootstrap sample, ``[G, D, draws]``.

    All groups share the sample's own threshold, the lowest that lets through no more than the
    target of *all* its negatives: with the negatives from the highest score down,

    .. math:: k = \max \{ m : \sum_{j \le m} w^-_j
        \le \lfloor \text{target} \sum_j w^-_j \rfloor \}

    and a positive is detected where at most ``k`` negatives score as high. A sample that has none
    of a group gives NaN.

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
    groups = np.asarray(members, dtype=np.float64)[:, memorized]
    tpr = np.empty((len(groups), len(values), resampling.draws))
    for part, of_positives, of_negatives in resampling.weights_by_class():
        allowed = allowed_false_positives(target, of_negatives.sum(axis=0))
        sizes = groups @ of_positives
        for d, row in enumerate(values):
            positives, negatives = row[memorized], row[~memorized]
            falling = np.argsort(-negatives)
            passed = (np.cumsum(of_negatives[falling], axis=0) <= allowed).sum(axis=0)
            as_high = len(negatives) - pair_counts(positives, negatives)[0]
            detected = of_positives * (as_high[:, None] <= passed)
            with np.errstate(invalid="ignore"):
                tpr[:, d, part] = (groups @ detected) / sizes
    return tpr
