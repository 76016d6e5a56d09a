"""A line of the table of costs, and how its numbers are written.

What is measured for it stands in the files of the measurements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

NOTHING = "–"  # before, where nothing was measured


@dataclass(frozen=True)
class CostLine:
    """A claim about cost beside what was measured.

    Attributes:
        cost: What is measured.
        measured: The median over the turns, and their range in brackets.
        target: What it should be.
        machine: What it ran on.
        values: The numbers unrounded, by name.
        before: What was measured of an earlier version, in words, on its machine.
    """

    cost: str
    measured: str
    target: str
    machine: str
    values: Mapping[str, Any]
    before: str = NOTHING


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the least and greatest in brackets."""
    low, middle, high = (f"{v:.{digits}f}" for v in (min(values), median(values), max(values)))
    return f"{middle} [{low}, {high}]"
