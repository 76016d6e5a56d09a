"""An interval of a statistic, and the one for a statistic that is perfect on its sample."""

from dataclasses import dataclass

from anisomem.evaluation.inputs import check_fraction


@dataclass(frozen=True)
class Interval:
    """An interval of a statistic, in the statistic's own unit."""

    low: float
    high: float
    method: str
    note: str | None = None


def rule_of_three(value: float, n_units: int, note: str, confidence: float = 0.95) -> Interval:
    r"""The interval of a rate that is exactly 1 (or 0) on ``n_units`` independent units.

    .. math:: [\alpha^{1/n}, 1] \approx [1 - 3/n, 1], \quad \alpha = 1 - \text{confidence}

    A rate below the bound yields ``n`` successes of ``n`` with probability below ``alpha``. The
    other side can't be exceeded, so all of ``alpha`` is spent on this one.

    Arguments:
        value: 1 or 0, the rate found.
        n_units: The number of independent units behind it.
        note: What was found, in words.
        confidence: A fraction in (0, 1).

    Raises:
        ValueError: a confidence that is not a fraction.

    Source: Hanley & Lippman-Hand, JAMA 249 (1983).
    """
    check_fraction("confidence", confidence)
    bound = (1 - confidence) ** (1 / n_units)
    low, high = (bound, 1.0) if value == 1 else (0.0, 1 - bound)
    return Interval(low, high, "rule of three", note)
