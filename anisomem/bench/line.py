"""A line of the table of costs, and how its numbers are written."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class Line:
    """A claim about cost beside what was measured.

    Attributes:
        cost: What is measured.
        measured: The median over the turns, and their range in brackets.
        target: What it should be.
        machine: What it ran on.
        values: The numbers unrounded, by name.
    """

    cost: str
    measured: str
    target: str
    machine: str
    values: Mapping[str, Any]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the least and greatest in brackets."""
    low, middle, high = (f"{v:.{digits}f}" for v in (min(values), median(values), max(values)))
    return f"{middle} [{low}, {high}]"


def processor() -> str:
    """The processor's name and how many of its cores this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else os.uname().machine}, {len(os.sched_getaffinity(0))} cores"


def name_of(device: torch.device) -> str:
    """The accelerator's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor()
