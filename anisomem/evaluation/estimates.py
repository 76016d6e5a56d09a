"""What is said of one number, of one detector, and of a pair: values without computation.

``summary`` makes them of scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.bootstrap import FAMILY_LEVEL, NOT_SEPARABLE, PairedDifference
from anisomem.evaluation.interval import Interval
from anisomem.evaluation.ties import Ties


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval over prompt clusters.

    Attributes:
        value: The mean over noise seeds.
        interval: The interval of that mean, over prompts.
        seed_std: Standard deviation over noise seeds (ddof 1), None for a single seed.
        note: What limits the number, if anything does.
    """

    value: float
    interval: Interval
    seed_std: float | None
    note: str | None = None

    @classmethod
    def of_seeds(cls, points: npt.ArrayLike, interval: Interval, *notes: str | None) -> Estimate:
        """The mean of a number over noise seeds.

        Arguments:
            points: The number at each seed, ``[S]``.
            interval: Of their mean.
            notes: What limits it; None says nothing.
        """
        each = np.asarray(points, np.float64)
        spread = float(np.std(each, ddof=1)) if len(each) > 1 else None
        note = "; ".join(note for note in notes if note) or None
        return cls(float(np.mean(each)), interval, spread, note)


@dataclass(frozen=True)
class Summary:
    """What a table's row says of one detector.

    Attributes:
        auc: Area under the ROC curve.
        auc_delong: Its logit-DeLong interval, which takes prompts for independent; None for
            several noise seeds, or a single prompt of a class.
        tpr: The TPR at each target FPR, None below 1 / n_neg.
        released_tpr: The same by the rule of Jeon's, Asthana's and Ren's codes (nearest FPR), at
            the targets that can be resolved.
        strict_tpr: The TPR by Wen's rule (last point strictly below the target).
        n_negative: Prompts that are not memorized, which limit what can be resolved.
        ties: The ties among its scores; a row with a flag is read with care.
    """

    auc: Estimate
    auc_delong: Interval | None
    tpr: Mapping[float, Estimate | None]
    released_tpr: Mapping[float, float]
    strict_tpr: Mapping[float, float]
    n_negative: int
    ties: Ties


@dataclass(frozen=True)
class Comparison:
    """Detector a against b on the same prompts, noise and bootstrap draws.

    Attributes:
        a, b: Indices of the detectors.
        auc: a - b in AUC, with its paired bootstrap interval, p value and verdict.
        holm_p: The p value of the AUC, adjusted by Holm's method over all pairs compared.
        delong_holm_p: Paired DeLong's, adjusted likewise; None where there is no DeLong interval.
        tpr: The difference in TPR at each resolvable target.
        tpr_holm_p: Its p values, adjusted over all pairs at the same target.
    """

    a: int
    b: int
    auc: PairedDifference
    holm_p: float
    delong_holm_p: float | None
    tpr: Mapping[float, PairedDifference]
    tpr_holm_p: Mapping[float, float]

    @property
    def auc_verdict(self) -> str:
        """The verdict by AUC where it holds after the adjustment."""
        return _adjusted(self.auc, self.holm_p)

    def tpr_verdict(self, target: float) -> str:
        """The verdict by the TPR at a resolvable target, in the same words."""
        return _adjusted(self.tpr[target], self.tpr_holm_p[target])


def _adjusted(difference: PairedDifference, p_value: float) -> str:
    return difference.verdict if p_value < FAMILY_LEVEL else NOT_SEPARABLE
