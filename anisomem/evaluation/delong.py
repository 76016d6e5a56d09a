"""DeLong's variance of an AUC, its interval, the paired test, and Holm's correction.

Prompts count as independent here; near-duplicates need the cluster bootstrap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.curves import pair_counts
from anisomem.evaluation.inputs import (
    FloatArray,
    IntArray,
    check_fraction,
    check_labels,
    check_scores,
    clusters_by_class,
)
from anisomem.evaluation.interval import Interval, rule_of_three


@dataclass(frozen=True, eq=False)
class Placements:
    """Where the scores of each class stand among those of the other.

    AUCs, their covariance and its degrees of freedom are made of it.

    Attributes:
        below: Twice the negatives below each positive, a tied one once, ``[D, n+]``.
        above: Twice the positives above each negative, a tied one once, ``[D, n-]``.
    """

    below: IntArray
    above: IntArray

    @classmethod
    def of(cls, scores: npt.ArrayLike, labels: npt.ArrayLike) -> "Placements":
        """The placements of scores ``[D, N]``.

        Raises:
            ValueError: as :func:`check_scores`.
        """
        values, memorized = check_scores(scores, labels, ndim=2)
        pairs = list(zip(values[:, memorized], values[:, ~memorized], strict=True))
        below = np.stack([np.add(*pair_counts(p, n)) for p, n in pairs])
        above = 2 * below.shape[1] - np.stack([np.add(*pair_counts(n, p)) for p, n in pairs])
        return cls(below, above)

    @property
    def n_positive(self) -> int:
        """The number of memorized prompts."""
        return self.below.shape[1]

    @property
    def n_negative(self) -> int:
        """The number of other prompts."""
        return self.above.shape[1]

    @property
    def aucs(self) -> list[float]:
        """The AUC of each row, as :func:`anisomem.evaluation.auc`."""
        # integers up to the one division, so equal orders give equal floats
        pairs = 2 * self.n_positive * self.n_negative
        return [total / pairs for total in self.below.sum(axis=1).tolist()]

    @cached_property
    def shares(self) -> tuple[FloatArray, FloatArray]:
        """Of negatives below each positive ``[D, n+]``, of positives above ``[D, n-]``."""
        return self.below / (2 * self.n_negative), self.above / (2 * self.n_positive)

    def delong(self) -> tuple[FloatArray, FloatArray]:
        """What the function :func:`delong` returns.

        Raises:
            ValueError: fewer than two prompts of a class.
        """
        self._require_two()
        of_positives, of_negatives = self.shares
        covariance = np.cov(of_positives) / self.n_positive
        covariance = covariance + np.cov(of_negatives) / self.n_negative
        return of_positives.mean(axis=1), np.atleast_2d(covariance)

    def paired(self, a: int, b: int) -> float:
        """What :func:`paired_delong` returns, of two of the rows.

        Raises:
            ValueError: fewer than two prompts of a class.
        """
        self._require_two()
        # the variance of differences, and not a difference of variances that nearly cancel
        changes = [shares[a] - shares[b] for shares in self.shares]
        difference = abs(float(changes[0].mean()))
        variance = sum(float(change.var(ddof=1)) / len(change) for change in changes)
        if variance < 1e-25:  # rounding leaves 1e-33, a real change of one pair 1 / (4 n^4)
            return 2.0 ** (1 - min(map(len, changes))) if difference else 1.0
        return math.erfc(difference / math.sqrt(2 * variance))

    def degrees(
        self, positive_clusters: IntArray, negative_clusters: IntArray, units: Sequence[float]
    ) -> float:
        """What :func:`auc_degrees` returns.

        Arguments:
            positive_clusters: The number of each positive's cluster, from 0 on, ``[n+]``.
            negative_clusters: The same of the negatives, ``[n-]``.
            units: As there.
        """
        variances, degrees = [], []
        for placed, cluster, n in zip(
            self.shares, (positive_clusters, negative_clusters), units, strict=True
        ):
            mean = placed.mean(axis=0)
            sums = np.bincount(cluster, mean - mean.mean())
            square, count = float((sums**2).sum()), len(sums)
            if square < 1e-20 or n <= 1:
                continue
            kurtosis = count * float((sums**4).sum()) / square**2
            variances.append(square / len(mean) ** 2)
            degrees.append(min(n - 1, 2 / ((kurtosis - 3) / count + 2 / (count - 1))))
        if not variances:
            return 1.0
        v, f = np.array(variances), np.array(degrees)
        return max(1.0, float(v.sum() ** 2 / (v**2 / f).sum()))

    def _require_two(self) -> None:
        if min(self.n_positive, self.n_negative) < 2:
            raise ValueError(
                "DeLong's variance needs two prompts of each class,"
                f" got {self.n_positive} memorized and {self.n_negative} other"
            )


def delong(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    r"""The AUCs of detectors on the same prompts, and their covariance matrix.

    .. math:: \hat\Sigma = \frac{\operatorname{cov}(V^{10})}{n_+}
        + \frac{\operatorname{cov}(V^{01})}{n_-}

    with the placements :math:`V^{10}_i` = share of negatives below positive ``i`` and
    :math:`V^{01}_j` = share of positives above negative ``j``, ties counted one half.

    Arguments:
        scores: ``[D, N]``, larger = more memorized.
        labels: ``[N]``, 1 = memorized.

    Returns:
        AUCs ``[D]`` and covariance ``[D, D]``.

    Raises:
        ValueError: NaN or infinite scores, labels not 0 or 1, other lengths, fewer than two
            prompts of a class.

    Source: DeLong et al., Biometrics 44 (1988); in O(N log N) as Sun & Xu, IEEE SPL 21 (2014).
    """
    return Placements.of(scores, labels).delong()


def logit_interval(
    auc: float, variance: float, n_positive: int, n_negative: int, confidence: float = 0.95
) -> Interval:
    r"""The interval of an AUC, symmetric on the logit scale and so inside [0, 1].

    .. math:: \operatorname{logit}^{-1}\left(\operatorname{logit} A \pm
        z \frac{\sqrt{\operatorname{var} A}}{A (1 - A)}\right)

    At an AUC of exactly 1 (or 0) DeLong's variance is 0 and says nothing. ``min(n+, n-)``
    disjoint pairs of one positive and one negative are independent and all in order, so the
    rule of three holds with ``min(n+, n-)`` units: low = (1 - confidence)^(1 / min(n+, n-)).

    Arguments:
        auc: A in [0, 1].
        variance: Its DeLong variance.
        n_positive, n_negative: Prompts of each class (or clusters, if prompts come in clusters).
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Pepe, The Statistical Evaluation of Medical Tests for Classification (2003).
    """
    check_fraction("confidence", confidence)
    if auc in (0, 1):
        extreme = "no inversion" if auc == 1 else "nothing but inversions"
        note = f"{extreme} among {n_positive} x {n_negative} pairs"
        return rule_of_three(auc, min(n_positive, n_negative), note, confidence)

    explained = None if variance else "no variance: every placement is equal"
    centre = math.log(auc / (1 - auc))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance) / (auc * (1 - auc))
    return Interval(_expit(centre - reach), _expit(centre + reach), "logit DeLong", explained)


def auc_degrees(
    scores: npt.ArrayLike, labels: npt.ArrayLike, clusters: npt.ArrayLike, units: Sequence[float]
) -> float:
    r"""Degrees of freedom of the cluster-robust variance of an AUC.

    The placements' deviations from their mean, summed over each cluster, :math:`Q_c`, make the
    variance :math:`v_k` of class ``k`` (Obuchowski). Few large ones make it uncertain: with their
    kurtosis :math:`\kappa_k` over ``G`` clusters that are worth ``n`` equal ones,

    .. math:: f = \frac{(v_+ + v_-)^2}{v_+^2 / f_+ + v_-^2 / f_-}, \quad
        f_k = \min\Big(n_k - 1,\; 2 \Big/ \Big(\frac{\kappa_k - 3}{G_k}
        + \frac{2}{G_k - 1}\Big)\Big), \quad
        v_k = \sum_c Q_c^2 / N_k^2, \quad \kappa_k = \frac{G_k \sum Q_c^4}{(\sum Q_c^2)^2}.

    Arguments:
        scores: ``[S, N]`` for S noise seeds, over which placements are averaged.
        labels: ``[N]``, 1 = memorized.
        clusters: ``[N]``.
        units: The effective number of clusters of the memorized prompts and of the others.

    Returns:
        f; at least 1, and 1 where no placement differs from the others.

    Raises:
        ValueError: as :func:`check_scores`.

    Source: Obuchowski, Biometrics 53 (1997), for the variance; Satterthwaite, Biometrics Bulletin
    2 (1946); the variance of a sample variance as in Cramer, Mathematical Methods of Statistics
    (1946), 27.4.
    """
    placements = Placements.of(scores, labels)
    return placements.degrees(*clusters_by_class(clusters, check_labels(labels)), units)


def paired_delong(
    scores_a: npt.ArrayLike, scores_b: npt.ArrayLike, labels: npt.ArrayLike
) -> float:
    """Two-sided p value of equal AUCs of two detectors on the same prompts.

    Arguments:
        scores_a, scores_b: ``[N]`` each.
        labels: ``[N]``, 1 = memorized.

    Returns:
        ``2 (1 - Phi(|A_a - A_b| / se))``; 1 for scores of identical order. When every prompt
        moves by the same amount there is no spread to divide by, and the sign test's
        ``2^(1 - min(n+, n-))`` stands in for an impossible p of 0.

    Raises:
        ValueError: as :func:`delong`, or lengths that differ.

    Source: DeLong et al., Biometrics 44 (1988).
    """
    values_a, memorized = check_scores(scores_a, labels)
    values_b, _ = check_scores(scores_b, labels)
    return Placements.of(np.stack([values_a, values_b]), memorized).paired(0, 1)


def holm(p_values: npt.ArrayLike) -> FloatArray:
    r"""Holm's step-down adjustment of ``m`` p values, in the order given.

    .. math:: \tilde p_{(i)} = \max_{k \le i} \min(1, (m - k + 1)\, p_{(k)})

    Arguments:
        p_values: ``[m]``.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)
    adjusted = np.empty_like(given)
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(steps, 1.0))
    return adjusted


def _expit(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))
