"""What detectors cost, as it is counted and timed.

Counting is in ``counting``; seconds are measured in :mod:`anisomem.benchmark.costs`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Evaluations of one noise seed.

    Attributes:
        nfe: The evaluations for each prompt.
        shared_nfe: The evaluations for all prompts together, the unconditional ones.
        jvps: Directional derivatives for each prompt.
    """

    nfe: float
    shared_nfe: int
    jvps: float


@dataclass(frozen=True)
class TimedCounts(Counts):
    """Evaluations with what they take, the detector alone.

    Attributes:
        isolated: Seconds per ten prompts: (median, fastest, slowest).
        amortised: Its part of the seconds that all detectors take together, in proportion to
            ``isolated``; weightings of the same components count as one detector.
        peak_mb: Memory at its peak, model and libraries included: of the accelerator, or of the
            process.
    """

    isolated: tuple[float, float, float]
    amortised: float
    peak_mb: float
