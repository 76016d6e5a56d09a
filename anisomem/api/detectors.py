"""Detectors as a program names them: by name with settings, or as objects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from anisomem.api.plain import listed
from anisomem.config import registry
from anisomem.detection import configured
from anisomem.detection.base import Detector
from anisomem.errors import UserError, unknown

Asked = str | Detector


def one(asked: Asked, n: int | None, options: Mapping[str, Any]) -> Detector:
    """A detector.

    Arguments:
        asked: Its name in ``anisomem list detectors``, or itself.
        n: Noise samples; if not given its own, of a name the fewest that it is configured with.
        options: Its settings, of a name alone.

    Raises:
        UserError: There is no such detector, or it has no such setting.
    """
    n = _whole(n)
    if isinstance(asked, Detector):
        if options:
            raise UserError(
                f"{asked.name} is an object with settings of its own; leave out "
                f"{', '.join(sorted(options))}"
            )
        return asked if n is None else _at(asked, n)
    nodes = _nodes(asked, None if n is None else [n], options)
    return min(configured.detectors(nodes), key=lambda detector: detector.n)


def _whole(n: Any) -> Any:
    """Numpy's whole numbers as Python's; others are checked where they are used."""
    return int(n) if isinstance(n, np.integer) else n


def _at(detector: Detector, n: int) -> Detector:
    """A detector at another n.

    Raises:
        UserError: No number of noise samples, or it draws none.
    """
    if not detector.n:
        raise UserError(f"{detector.name} draws no noise; leave out n")
    if type(n) is not int or not 1 <= n <= configured.SAMPLES:
        raise UserError(f"n must be an integer from 1 to {configured.SAMPLES:,}, got {n!r}")
    return replace(detector, n=n)


def several(asked: Iterable[Asked] | Asked, n: int | Sequence[int] | None) -> list[Detector]:
    """Detectors, each at all its n.

    Arguments:
        asked: Names and objects.
        n: Noise samples of those that are named and draw noise; as configured if not given.

    Raises:
        UserError: None, the same row twice, or what :func:`one` refuses.
    """
    chosen = [asked] if isinstance(asked, Asked) else list(asked)
    wanted = None if n is None else [_whole(one) for one in listed(n)]
    made: list[Detector] = []
    for item in chosen:
        if isinstance(item, Detector):
            made.append(item)
        else:
            made += configured.detectors(_nodes(item, wanted, {}, must_draw=False))
    if not made:
        raise UserError('no detectors are given; give some, detectors=["anisotropy", "wen"]')
    keys = [detector.key for detector in made]
    if again := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"two detectors fill the row {again!r}; give one another name")
    return made


def _nodes(
    name: str, n: list[int] | None, options: Mapping[str, Any], must_draw: bool = True
) -> dict[str, Any]:
    """The settings of a named detector.

    Raises:
        UserError: There is none, or it draws no noise.
    """
    if not isinstance(name, str):
        raise UserError(
            f"a detector is a name or an object of a Detector's class; got {type(name).__name__}"
            + ", which is a class: call it" * isinstance(name, type)
        )
    node = registry.find(name).node()[name]
    if n is not None and "n" in node:
        node = {**node, "n": n}
    elif n is not None and must_draw:
        raise UserError(f"{name} draws no noise; leave out n")
    for option in options:
        if option not in (known := set(node) - {"_target_", "n"}):
            raise unknown(f"setting of {name}", option, known)
    return {name: {**node, **options}}


def kept(detectors: Sequence[Detector]) -> dict[str, Any]:
    """Settings that make detectors anew, for a file.

    Raises:
        UserError: One holds what no file can, or two of a name differ in more than their n.
    """
    nodes: dict[str, Any] = {}
    for detector in detectors:
        node = _node(detector)
        before = nodes.setdefault(detector.name, node)
        if before is not node:
            if {**before, "n": 0} != {**node, "n": 0}:
                raise UserError(
                    f"two detectors are named {detector.name!r} and differ in more than their n; "
                    "give one another name"
                )
            before["n"] += node["n"]
    if configured.detectors(nodes) != sorted(
        detectors, key=lambda detector: list(nodes).index(detector.name)
    ):
        raise UserError(
            "what is kept must be made anew from its settings, and a detector here cannot be; "
            "leave out runs, or make its class a dataclass with its settings as fields"
        )
    return nodes


def _node(detector: Detector) -> dict[str, Any]:
    kind = type(detector)
    options = {
        one.name: _plain(detector, one.name)
        for one in fields(detector)
        if one.init and one.name not in ("name", "n")
    }
    drawn = {"n": [detector.n]} if detector.n else {}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **options, **drawn}


def _plain(detector: Detector, name: str) -> Any:
    value = getattr(detector, name)
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value):
        return list(value)
    raise UserError(
        f"{detector.name}.{name} cannot be written to a file, so what is recorded cannot be "
        "continued; give the detector by its name, or leave out runs"
    )
