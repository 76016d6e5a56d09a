"""What a run measures besides the components: costs, machine, truncated prompts.

It is one JSON file in the folder of a run, read as data that may be a stranger's. Taking the
measurements is for ``costs`` and ``complete``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from anisomem.engine.cost import Counts, TimedCounts
from anisomem.storage import atomic

COUNTED = tuple(one.name for one in fields(Counts))


@dataclass(frozen=True)
class Measured:
    """The content of a run's ``measured.json``.

    Attributes:
        costs: The costs by :attr:`Detector.cost_key`: counted, and timed where they are.
        wall_seconds: How long recording took, all commands together.
        truncated_prompts: How many prompts are longer than the text encoder takes.
        timing: What the seconds depend on besides the machine; empty where none are measured.
        timed_on: How the model was loaded for them, and where.
        provenance: How the model was loaded for recording, and where, see
            :func:`anisomem.run.provenance.provenance`; empty before that.
    """

    costs: Mapping[str, Counts] = field(default_factory=dict)
    wall_seconds: float | None = None
    truncated_prompts: int | None = None
    timing: Mapping[str, Any] = field(default_factory=dict)
    timed_on: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Measured:
        """The content of a file, nothing where none is.

        Seconds from before timing kept to one thread are left out: they are other numbers.

        Raises:
            UserError: It has another layout than a run writes.
        """
        content = atomic.read_json(file) if os.path.lexists(file) else {}
        costs, on = content.pop("costs", {}), content.pop("timed_on", {})
        timing = content.pop("timing", {})
        numbers = {name: content.pop(name, None) for name in ("wall_seconds", "truncated_prompts")}
        if not all(isinstance(part, dict) for part in (costs, on, timing)):
            raise atomic.damaged(file)
        try:
            counted = {key: _cost(cost, timing.get("threads") == 1) for key, cost in costs.items()}
        except (ValueError, KeyError, TypeError):
            raise atomic.damaged(file) from None
        timed = any(isinstance(cost, TimedCounts) for cost in counted.values())
        if (timed and not {"device_name", "dtype"} <= set(on)) or not all(
            value is None or _is_number(value) for value in numbers.values()
        ):
            raise atomic.damaged(file)
        return cls(counted, **numbers, timing=timing, timed_on=on, provenance=content)

    @property
    def content(self) -> dict[str, Any]:
        """The measurements as a card lists them; what was not measured is left out."""
        own = {
            "wall_seconds": self.wall_seconds,
            "truncated_prompts": self.truncated_prompts,
            "timing": dict(self.timing),
            "timed_on": dict(self.timed_on),
            "costs": {key: asdict(cost) for key, cost in self.costs.items()},
        }
        measured = {name: value for name, value in own.items() if value not in ({}, None)}
        return {**measured, **self.provenance}

    def write(self, file: Path) -> None:
        """Writes the file that :meth:`read` reads."""
        atomic.write_text(file, json.dumps(self.content, indent=1))

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return bool(self.provenance)


def _cost(cost: Mapping[str, Any], one_thread: bool) -> Counts:
    counted = [cost[name] for name in COUNTED]
    if "isolated" not in cost:
        return Counts(*_numbers(counted))
    median, fastest, slowest = _numbers(cost["isolated"])
    nfe, shared_nfe, jvps, amortised, peak_mb = _numbers(
        [*counted, cost["amortised"], cost["peak_mb"]]
    )
    if not one_thread:
        return Counts(nfe, shared_nfe, jvps)
    return TimedCounts(nfe, shared_nfe, jvps, (median, fastest, slowest), amortised, peak_mb)


def _numbers(values: list[Any]) -> list[Any]:
    if not all(map(_is_number, values)):
        raise ValueError
    return values


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
