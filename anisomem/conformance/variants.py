"""Detectors like a given one: with another setting, with more noise samples; and all built in.

The models that they are tried on are in ``examination``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

from anisomem.config import catalog, compose
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.detection.options import other_values


def variants(detector: Detector) -> Iterator[tuple[str, Detector]]:
    """The detector with one of its options changed: which, and the changed one."""
    for option in fields(detector):
        if option.name in ("name", "n", "members"):
            continue
        for value in other_values(detector, option.name):
            try:
                changes: dict[str, Any] = {option.name: value}
                yield option.name, replace(detector, **changes)
            except Exception:  # a value that it refuses, in whatever way
                continue


def members(detector: Detector) -> Sequence[Detector]:
    """The members of a combination of detectors, which costs what they cost."""
    return getattr(detector, "members", ())


def drawing(detector: Detector, n: int) -> Detector:
    """The detector at n noise samples, and so its members."""
    changes: dict[str, Any] = {"n": n}
    if parts := members(detector):
        changes["members"] = [replace(part, n=n) if part.n else part for part in parts]
    return replace(detector, **changes)


def usual(detector: Detector) -> Detector | None:
    """The detector with default settings at its n; None where a setting has no default."""
    try:
        return type(detector)(detector.name, detector.n)
    except TypeError:
        return None


@cache
def shipped() -> list[Detector]:
    """All built-in detectors, each with the fewest noise samples that it is configured with."""
    composed = compose.cases([f"detector=[{','.join(catalog.names('detector'))}]"])[0]
    by_name: dict[str, Detector] = {}
    for detector in detectors(composed.detector):
        by_name.setdefault(detector.name, detector)
    return list(by_name.values())
