"""What a run measures besides the components: costs, machine, truncated prompts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anisomem.storage import atomic

COUNTED = ("nfe", "shared_nfe", "jvps")


def read(file: Path) -> dict[str, Any]:
    """The content of a file, empty where none is.

    Raises:
        UserError: It has another layout than a run writes.
    """
    content = atomic.read_json(file) if os.path.lexists(file) else {}
    costs, on = content.get("costs", {}), content.get("timed_on", {})
    numbers = [content.get(name, 0) for name in ("truncated_prompts", "wall_seconds")]
    if not (isinstance(costs, dict) and all(map(_is_cost, costs.values()))):
        raise atomic.damaged(file)
    timed = any("isolated" in cost for cost in costs.values())
    named = isinstance(on, dict) and ({"device_name", "dtype"} <= set(on) or not timed)
    if not named or not all(map(_is_number, numbers)):
        raise atomic.damaged(file)
    return content


def costs(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Costs by :attr:`Detector.cost_key`: counted, and timed where they are.

    Seconds from before timing kept to one thread are left out: they are other numbers.
    """
    found: dict[str, dict[str, Any]] = content.get("costs", {})
    if content.get("timing", {}).get("threads") == 1:
        return found
    return {key: {name: cost[name] for name in COUNTED} for key, cost in found.items()}


def _is_cost(cost: Any) -> bool:
    if not isinstance(cost, dict) or not all(_is_number(cost.get(name)) for name in COUNTED):
        return False
    if "isolated" not in cost:
        return True
    spread = cost["isolated"]
    return (
        isinstance(spread, list)
        and len(spread) == 3
        and all(map(_is_number, [*spread, cost.get("amortised"), cost.get("peak_mb")]))
    )


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
