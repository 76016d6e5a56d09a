"""Intervals of a statistic from its bootstrap draws, and of one that is perfect on its sample.

The draws resample few clusters as if they were many: they spread too little, and normal quantiles
are too near. What stands here corrects both by the *effective number* of clusters.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # type: ignore[import-untyped]  # its parts where they are first used

from anisomem.evaluation.inputs import FloatArray, check_fraction

SINGLE = "a single cluster, which bounds nothing"
EQUAL = "every draw is equal"
EXPANDED = "expanded percentile bootstrap"
MANY = 1e6  # a quantile beyond which an interval is all that a statistic can be


@dataclass(frozen=True)
class Interval:
    """An interval of a statistic, in the statistic's own unit."""

    low: float
    high: float
    method: str
    note: str | None = None


def effective_clusters(clusters: npt.ArrayLike) -> float:
    r"""How many clusters of equal size say as much as these do.

    .. math:: \Big(\sum_c w_c\Big)^2 \Big/ \sum_c w_c^2

    over clusters of :math:`w_c` prompts: their number where all are equal, and less else.

    Arguments:
        clusters: ``[N]``, integers or strings.

    Source: Kish, Survey Sampling (1965), section 11.7.
    """
    _, sizes = np.unique(np.asarray(clusters), return_counts=True)
    return float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum())


def rule_of_three(value: float, units: float, note: str, confidence: float = 0.95) -> Interval:
    r"""The interval of a rate that is exactly 1 (or 0) on ``units`` independent units.

    .. math:: [\alpha^{1/n}, 1] \approx [1 - 3/n, 1], \quad \alpha = 1 - \text{confidence}

    A rate below the bound yields ``n`` successes of ``n`` with probability below ``alpha``. The
    other side can't be exceeded, so all of ``alpha`` is spent on this one.

    Arguments:
        value: 1 or 0, the rate found.
        units: The number of independent units behind it.
        note: What was found, in words.
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Hanley & Lippman-Hand, JAMA 249 (1983).
    """
    check_fraction("confidence", confidence)
    bound = (1 - confidence) ** (1 / units)
    low, high = (bound, 1.0) if value == 1 else (0.0, 1 - bound)
    return Interval(low, high, "rule of three", note)


def wilson_interval(
    value: float,
    draws: FloatArray,
    units: float,
    degrees: float | None = None,
    confidence: float = 0.95,
) -> Interval:
    r"""The interval of an AUC whose variance the cluster bootstrap has found.

    Wilson's score interval for as many independent trials as would have that variance,

    .. math:: \frac{m r + \frac12 t^2 \pm t \sqrt{m r (1 - r) + \frac14 t^2}}{m + t^2},
        \quad m = \frac{r (1 - r)}{\frac{n}{n - 1} \operatorname{var} r^*},

    with draws :math:`r^*` over ``n`` units and the quantile :math:`t` of Student's distribution.
    It stays in [0, 1] and holds the value. Where no draw leaves 1 (or 0) the bootstrap is blind,
    and the rule of three stands in.

    Arguments:
        value: r; 0 or 1 only where all draws are.
        draws: r*, ``[draws]``.
        units: The :func:`effective_clusters` of the class that has fewer.
        degrees: The degrees of freedom, of the variance; ``units - 1`` if not given.
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Wilson, JASA 22 (1927); with an effective number of trials and Student's quantile as
    Korn & Graubard, Survey Methodology 24 (1998). Chosen by scripts/coverage.py.
    """
    check_fraction("confidence", confidence)
    method, variance = "Wilson, bootstrap variance", float(np.var(draws))
    equal = variance < 1e-25  # which leaves rounding errors only
    if equal and value in (0, 1):
        return rule_of_three(value, units, _perfect(value, units), confidence)
    if units <= 1:
        return Interval(0.0, 1.0, method, SINGLE)
    if equal:
        return Interval(value, value, method, EQUAL)
    t = t_quantile((1 + confidence) / 2, units - 1 if degrees is None else degrees)
    trials = value * (1 - value) / (variance * units / (units - 1))
    centre, total = trials * value + t**2 / 2, trials + t**2
    half = t * float(np.sqrt(trials * value * (1 - value) + t**2 / 4))
    return Interval(max(0.0, (centre - half) / total), min(1.0, (centre + half) / total), method)


def percentile_interval(draws: FloatArray, units: float, confidence: float = 0.95) -> Interval:
    """The interval of a rate (TPR, a share of prompts) between :func:`expanded_quantiles`.

    Where no draw leaves 1 (or 0) the bootstrap is blind, and the rule of three stands in.

    Arguments:
        draws: ``[draws]``.
        units: The :func:`effective_clusters` of the prompts that the rate is a share of.
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.
    """
    low, high = expanded_quantiles(draws, units, confidence)
    if low == high and low in (0, 1):
        return rule_of_three(low, units, _perfect(low, units), confidence)
    if units <= 1:
        return Interval(0.0, 1.0, EXPANDED, SINGLE)
    return Interval(low, high, EXPANDED, EQUAL if low == high else None)


def tpr_interval(
    draws: FloatArray, stricter: FloatArray, units: float, confidence: float = 0.95
) -> Interval:
    """The interval of a TPR at a target false positive rate.

    It ends, above, with the :func:`percentile_interval` of the TPR and, below, with that of the
    stricter TPR: the target lies between the expected false positive rates of the two thresholds
    (see :func:`tpr_at_fpr`).

    Arguments:
        draws: The draws of the TPR, ``[draws]``.
        stricter: The same where one false positive fewer is allowed, ``[draws]``.
        units: The :func:`effective_clusters` of the memorized prompts.
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Chosen by scripts/coverage.py.
    """
    above = percentile_interval(draws, units, confidence)
    below = percentile_interval(stricter, units, confidence)
    return Interval(below.low, above.high, above.method, above.note)


def expanded_quantiles(
    draws: FloatArray, units: float, confidence: float = 0.95
) -> tuple[float, float]:
    r"""The ends of a percentile interval, expanded for few units.

    Of draws over ``n`` units these are the quantiles at

    .. math:: \Phi\left(\pm \sqrt{\tfrac{n}{n-1}}\, t_{n-1}\right)

    where the plain interval takes :math:`\Phi(\pm z)`: of normal draws it is the t interval.
    Of a single unit they are the least and the largest draw.

    Arguments:
        draws: ``[draws]``.
        units: The :func:`effective_clusters` behind the statistic.
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Hesterberg, The American Statistician 69 (2015), section 5.3.
    """
    check_fraction("confidence", confidence)
    tail = tail_of(1 - confidence, units)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def expanded_p(tail: float, units: float) -> float:
    r"""Two-sided p value of a share of draws on one side, expanded for few units.

    .. math:: 2\, T_{n-1}\left(\sqrt{\tfrac{n-1}{n}}\, \Phi^{-1}(\text{tail})\right)

    It is below 1 - confidence where the interval between :func:`expanded_quantiles` is on one
    side of 0.

    Arguments:
        tail: A share in (0, 1).
        units: The :func:`effective_clusters` behind the statistic; at most one gives 1.
    """
    if units <= 1 or tail >= 0.5:
        return 1.0
    return float(
        2
        * scipy.special.stdtr(units - 1, np.sqrt((units - 1) / units) * scipy.special.ndtri(tail))
    )


def tail_of(p_value: float, units: float) -> float:
    """The share of draws on one side for which :func:`expanded_p` gives a p value; 0 for none."""
    if units <= 1:
        return 0.0
    t = t_quantile(1 - p_value / 2, units - 1)
    return float(scipy.special.ndtr(-t * np.sqrt(units / (units - 1))))


def t_quantile(probability: float, degrees: float) -> float:
    """A quantile of Student's distribution, never infinite."""
    return min(MANY, float(scipy.special.stdtrit(degrees, probability)))


def _perfect(value: float, units: float) -> str:
    return f"{value:g} in 95% of the draws or more, {units:.4g} units"
