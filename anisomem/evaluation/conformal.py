r"""Which prompts stand out from ordinary ones, with a stated rate of false discoveries.

Ordinary prompts, the *calibration*, have scores :math:`c_1, \dots, c_n`. A scanned prompt of score
``s`` has the conformal p-value

.. math:: p(s) = \frac{1 + \#\{i : c_i > s\}}{n + 1},

where equal scores are ordered at random. If the prompt is exchangeable with the calibration, p is
uniform on ``1/(n + 1), ..., 1``, whatever the detector and the model; p-values of one scan share
their calibration, which the procedure of Benjamini and Hochberg withstands.

Sources: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World (2005); Benjamini &
Hochberg, Journal of the Royal Statistical Society B (1995); Bates, Candès, Lei, Romano & Sesia,
Testing for outliers with conformal p-values, Annals of Statistics (2023).
"""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt
import scipy  # type: ignore[import-untyped]  # its parts where they are first used

from anisomem.evaluation.inputs import BoolArray, FloatArray, check_fraction
from anisomem.evaluation.interval import Interval

BETA = "beta"  # the distribution of a calibrated threshold's rate
EXACT = "exact binomial"
ROUNDING = 1e-9  # relative, of a product that is a rate in exact arithmetic


def p_values(scores: npt.ArrayLike, calibration: npt.ArrayLike, seed: int = 0) -> FloatArray:
    """Conformal p-values ``[m]``.

    Arguments:
        scores: ``[m]`` of the scanned prompts, larger = more memorized.
        calibration: ``[n]`` of ordinary prompts.
        seed: Of the order of equal scores.

    Raises:
        ValueError: NaN or infinite scores, or no calibration.
    """
    scanned, ordinary = _finite(scores), _finite(calibration)
    if not len(ordinary):
        raise ValueError("a calibration needs scores of ordinary prompts, got none")
    generator = np.random.default_rng(seed)
    beside = generator.random(len(ordinary)), generator.random(len(scanned))
    # Places from the largest down, a tie by what was drawn: an order that all prompts share.
    both = np.concatenate([ordinary, scanned])
    order = np.lexsort((np.concatenate(beside), both))[::-1]
    above = np.cumsum(order < len(ordinary))  # ordinary prompts down to each place
    found = np.empty(len(both))
    found[order] = above
    return (1 + found[len(ordinary) :]) / (len(ordinary) + 1)


def q_values(p: npt.ArrayLike) -> FloatArray:
    r"""The smallest rate of false discoveries at which each prompt is flagged, ``[m]``.

    .. math:: q_{(j)} = \min_{k \ge j} \min\Bigl(1, \frac{m\, p_{(k)}}{k}\Bigr)

    Arguments:
        p: p-values ``[m]``.

    Raises:
        ValueError: Values outside (0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values > 0) & (values <= 1)).all():
        raise ValueError("p-values must be above 0 and at most 1")
    m, order = len(values), np.argsort(values, kind="stable")
    steps = values[order] * m / np.arange(1, m + 1)
    q = np.empty(m)
    q[order] = np.minimum.accumulate(steps[::-1])[::-1].clip(max=1)
    return q


def flagged(p: npt.ArrayLike, rate: float) -> BoolArray:
    """The prompts of which at most a share ``rate`` is expected to be ordinary, ``[m]``.

    Raises:
        ValueError: A rate that is no fraction, or p-values outside (0, 1].
    """
    check_fraction("the rate of false discoveries", rate)
    return np.asarray(q_values(p) <= rate * (1 + ROUNDING))


def fewest_flagged(n: int, m: int, rate: float) -> int:
    """How many of ``m`` scanned prompts must stand out together before any is flagged.

    No p-value is below ``1 / (n + 1)``, so fewer can never be flagged by ``n`` ordinary ones.
    """
    return max(1, ceil(m / (rate * (n + 1)) - 1e-9))


def calibration_needed(m: int, rate: float, together: int = 1) -> int:
    """Ordinary prompts from which ``together`` of ``m`` scanned ones can be flagged."""
    return max(1, ceil(m / (rate * together) - 1e-9) - 1)


@dataclass(frozen=True)
class Threshold:
    """A score above which ordinary prompts are rarely found.

    Attributes:
        value: Larger scores are above it; the largest of the calibration where the rate asks for
            less than it can say.
        rate: The rate that was asked for.
        realised: Where the rate of this threshold lies, for prompts like the calibration.
    """

    value: float
    rate: float
    realised: Interval


def threshold(calibration: npt.ArrayLike, rate: float, confidence: float = 0.95) -> Threshold:
    r"""The score that a share ``rate`` of ordinary prompts is expected to exceed at most.

    With ``k = floor(rate (n + 1))`` it is the ``k``-th largest score of the calibration, which is
    not exceeded itself. The rate of the threshold, over prompts to come, is then distributed as
    :math:`\text{Beta}(k, n + 1 - k)`, with mean ``k / (n + 1)``; between equal scores the rate is
    lower.

    Raises:
        ValueError: A rate that is no fraction or below ``1 / (n + 1)``, or NaN.
    """
    check_fraction("the false-positive rate", rate)
    ordinary = _finite(calibration)
    n = len(ordinary)
    k = floor(rate * (n + 1) + 1e-9)
    if k < 1:
        raise ValueError(
            f"a false-positive rate of {rate:g} needs {calibration_needed(1, rate):,} ordinary"
            f" prompts, the calibration has {n:,}"
        )
    tail = (1 - confidence) / 2
    low, high = scipy.stats.beta.ppf([tail, 1 - tail], k, n + 1 - k)
    value = float(np.sort(ordinary)[n - k])
    return Threshold(value, rate, Interval(float(low), float(high), BETA))


def share_interval(found: int, of: int, confidence: float = 0.95) -> Interval:
    """Where the share of a population lies of which ``found`` among ``of`` drawn ones have it.

    Raises:
        ValueError: Nothing was drawn, or more was found than drawn.

    Source: Clopper & Pearson, Biometrika 26 (1934).
    """
    low, high = scipy.stats.binomtest(found, of).proportion_ci(confidence, "exact")
    return Interval(float(low), float(high), EXACT)


def _finite(scores: npt.ArrayLike) -> FloatArray:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("scores must be finite numbers, one for each prompt")
    return values
