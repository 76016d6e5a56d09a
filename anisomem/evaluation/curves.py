"""AUC, the ROC curve, and three rules to read a true positive rate off it.

A prompt is called memorized at threshold ``s`` when its score is ``>= s``, so tied prompts are
called together and the curve has a point at distinct scores only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # type: ignore[import-untyped]  # its parts where they are first used

from anisomem.evaluation.inputs import FloatArray, IntArray, check_fraction, check_scores

COARSE = 5  # fewer allowed false positives than this make a TPR@FPR depend on single prompts


@dataclass(frozen=True)
class RocCurve:
    """The points of a ROC curve, from (0, 0) at threshold infinity to (1, 1)."""

    fpr: FloatArray
    tpr: FloatArray
    thresholds: FloatArray


def pair_counts(scores: FloatArray, others: FloatArray) -> tuple[IntArray, IntArray]:
    """How many of ``others`` lie below, and at or below, each score.

    Arguments:
        scores: ``[n]``.
        others: ``[m]``.

    Returns:
        Two arrays ``[n]``; their mean counts a tie as one half.
    """
    ordered = np.sort(others)
    return np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")


def auc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Area under the ROC curve: the Mann-Whitney statistic with mid-ranks.

    .. math:: \frac{1}{n_+ n_-} \sum_{i,j} [s^+_i > s^-_j] + \tfrac{1}{2} [s^+_i = s^-_j]

    Arguments:
        scores: ``[N]``, larger = more memorized; never flipped when the result is below 0.5.
        labels: ``[N]``, 1 = memorized.

    Raises:
        ValueError: NaN or infinite scores, one class only, labels not 0 or 1, other lengths.
    """
    values, memorized = check_scores(scores, labels)
    below, not_above = pair_counts(values[memorized], values[~memorized])
    # integers up to the one division, so equal orders give equal floats
    return int((below + not_above).sum()) / (2 * len(below) * int((~memorized).sum()))


def roc_curve(scores: npt.ArrayLike, labels: npt.ArrayLike) -> RocCurve:
    """The ROC curve with one point per distinct score; collinear points are kept.

    Arguments:
        scores: ``[N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized.

    Raises:
        ValueError: as :func:`auc`.
    """
    false_positives, true_positives, thresholds = _roc_counts(scores, labels)
    return RocCurve(
        false_positives / false_positives[-1], true_positives / true_positives[-1], thresholds
    )


def tpr_at_fpr(scores: npt.ArrayLike, labels: npt.ArrayLike, target: float) -> float:
    r"""The largest true positive rate whose false positive rate is at most ``target``.

    With :math:`k = \lfloor \text{target} \cdot n_- \rfloor` false positives allowed the
    threshold lies at the (k + 1)-th highest negative, where new prompts have an expected false
    positive rate of :math:`(k + 1) / (n_- + 1)`, above the target; with ``k - 1`` allowed it is
    below. So the rate tends to be too high where few are allowed, and its interval ends, below,
    with that of the stricter threshold.

    Arguments:
        scores: ``[N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized.
        target: A fraction in (0, 1), 0.01 for 1%. See :func:`resolution_note` for small ``n-``.

    Raises:
        ValueError: as :func:`auc`, or a target that is not a fraction.
    """
    return float(tpr_by_rules(scores, labels, [target])[0, 0])


def auc_and_tpr(
    scores: npt.ArrayLike, labels: npt.ArrayLike, target: float
) -> tuple[FloatArray, FloatArray]:
    """:func:`auc` and :func:`tpr_at_fpr` of many detectors at once, ``[D]`` each.

    Arguments:
        scores: ``[D, N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized.
        target: A fraction in (0, 1).

    Raises:
        ValueError: as :func:`tpr_at_fpr`.
    """
    check_fraction("target", target)
    values, memorized = check_scores(scores, labels, ndim=2)
    positives, negatives = values[:, memorized], values[:, ~memorized]
    n, m = positives.shape[1], negatives.shape[1]
    areas = (scipy.stats.rankdata(values, axis=1)[:, memorized].sum(axis=1) - n * (n + 1) / 2) / (
        n * m
    )
    # Detected is who scores above the first negative that may not be called memorized.
    first = m - 1 - int(allowed_false_positives(target, m))
    thresholds = np.partition(negatives, first, axis=1)[:, first, None]
    return areas, np.count_nonzero(positives > thresholds, axis=1) / n


def released_tpr_at_fpr(scores: npt.ArrayLike, labels: npt.ArrayLike, target: float) -> float:
    """The true positive rate at the ROC point whose FPR is nearest to ``target``, first hit.

    The point may lie above the target, and it is the lowest of its ROC step. Only for the
    comparison with numbers published under this rule.

    Arguments and errors: as :func:`tpr_at_fpr`.

    Source: the released codes of Ren et al. 2024, Jeon et al. 2025 and Asthana & Belagiannis
    2026: ``tpr[argmin |fpr - target|]`` of scikit-learn's ``roc_curve``.
    """
    return float(tpr_by_rules(scores, labels, [target])[1, 0])


def strict_tpr_at_fpr(scores: npt.ArrayLike, labels: npt.ArrayLike, target: float) -> float:
    """The true positive rate at the last ROC point whose FPR is strictly below ``target``.

    Arguments and errors: as :func:`tpr_at_fpr`.

    Source: the released notebook of Wen et al. 2024: ``tpr[where(fpr < target)[-1]]`` of
    scikit-learn's ``roc_curve``.
    """
    return float(tpr_by_rules(scores, labels, [target])[2, 0])


def tpr_by_rules(
    scores: npt.ArrayLike, labels: npt.ArrayLike, targets: Sequence[float]
) -> FloatArray:
    """:func:`tpr_at_fpr`, :func:`released_tpr_at_fpr` and :func:`strict_tpr_at_fpr`, ``[3, T]``.

    Arguments:
        scores: ``[N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized.
        targets: ``T`` fractions in (0, 1).

    Raises:
        ValueError: as :func:`tpr_at_fpr`.
    """
    for target in targets:
        check_fraction("target", target)
    false_positives, true_positives, _ = _roc_counts(scores, labels)
    fpr, tpr = _released_points(false_positives, true_positives)
    rates = np.empty((3, len(targets)))
    for k, target in enumerate(targets):
        allowed = allowed_false_positives(target, false_positives[-1])
        last = np.searchsorted(false_positives, allowed, "right") - 1
        rates[0, k] = true_positives[last] / true_positives[-1]
        rates[1, k] = tpr[np.argmin(np.abs(fpr - target))]
        rates[2, k] = tpr[np.flatnonzero(fpr < target)[-1]]
    return rates


def allowed_false_positives(target: float | FloatArray, n_negative: npt.ArrayLike) -> FloatArray:
    """The largest count ``k`` with ``k / n- <= target``, elementwise."""
    # counts and not rates are compared: 0.29 * 100 is 28.999999999999996 in floats
    return np.floor(np.multiply(target, n_negative, dtype=np.float64) + 1e-9)


def resolution_note(target: float, n_negative: int) -> str | None:
    """What to print beside (or, when not resolvable, instead of) a TPR at this target.

    Arguments:
        target: A fraction in (0, 1).
        n_negative: The number of prompts that are not memorized.

    Raises:
        ValueError: a target that is not a fraction.
    """
    check_fraction("target", target)
    allowed = int(allowed_false_positives(target, n_negative))
    if allowed == 0:
        return f"not resolvable at n_neg = {n_negative}"
    if allowed < COARSE:
        plural = "s" if allowed > 1 else ""
        return f"not resolvable at n_neg = {n_negative}: {allowed} false positive{plural} allowed"
    return None


def _roc_counts(
    scores: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[IntArray, IntArray, FloatArray]:
    """False and true positives at each distinct score, from none at threshold infinity on."""
    values, memorized = check_scores(scores, labels)
    thresholds, place = np.unique(values, return_inverse=True)

    def at_or_above(places: IntArray) -> IntArray:
        counts = np.bincount(places, minlength=len(thresholds))
        return np.append(0, counts[::-1].cumsum())

    return (
        at_or_above(place[~memorized]),
        at_or_above(place[memorized]),
        np.append(np.inf, thresholds[::-1]),
    )


def _released_points(curve_fp: IntArray, curve_tp: IntArray) -> tuple[FloatArray, FloatArray]:
    """FPR and TPR of the points that scikit-learn's ``roc_curve`` keeps by default."""
    # drop_intermediate: a point is dropped when the step before it equals the step after it; the
    # origin is added afterwards, so the first point after it always stays
    keep = np.ones(len(curve_fp), dtype=bool)
    keep[2:-1] = (np.diff(curve_fp[1:], 2) != 0) | (np.diff(curve_tp[1:], 2) != 0)
    return curve_fp[keep] / curve_fp[-1], curve_tp[keep] / curve_tp[-1]
