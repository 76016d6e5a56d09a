"""Which software and machine made the numbers.

How a batch was evaluated is kept beside it, as :class:`anisomem.storage.store.Origin`.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from anisomem.models.base import DiffusionModel

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "scipy", "scikit-learn")


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's."""
    if device.type != "cuda":
        return processor()
    import torch

    return torch.cuda.get_device_name(device)


def processor() -> str:
    """The processor's name and how many of its cores this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else os.uname().machine}, {len(os.sched_getaffinity(0))} cores"


def provenance(model: DiffusionModel) -> dict[str, Any]:
    """How a model was loaded, the day, the machine and versions, as a card lists them.

    Device, precision, the weights' commit, variant and hashes, adapters, what was taken of the
    scheduler's file (and which of its settings are defaults), what was not loaded; and the weights
    of the model that it is compared with.
    """
    baseline, cautions = model.baseline, list(model.cautions)
    if baseline:
        cautions += [f"the second model: {caution}" for caution in baseline.cautions]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "device": str(model.device),
        "device_name": device_name(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        **_weights(model),
        "scheduler": model.schedule.settings,
        "cautions": cautions,
        **({"baseline_model": _weights(baseline)} if baseline else {}),
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("anisomem", *PACKAGES)},
        "git_commit": git_commit(Path(__file__).parent),
    }


#: What a batch's numbers may differ by in their last digits, and when it was.
CONDITIONS = ("date", "device_name", "dtype", "packages", "git_commit")


def continued(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """How a recording goes on, with ``earlier``: under which other conditions it began."""
    earlier = list(before.get("earlier", []))
    conditions = {name: before.get(name) for name in CONDITIONS}
    if before and any(conditions[name] != now.get(name) for name in CONDITIONS):
        earlier.append(conditions)
    return {**now, **({"earlier": earlier} if earlier else {})}


def _weights(model: DiffusionModel) -> dict[str, Any]:
    """Which weights a model has."""
    return {
        "repository": model.repository,
        "revision": model.revision,
        "variant": model.variant,
        "weights": model.weights and model.weights.described,
        **({"adapters": list(model.adapters)} if model.adapters else {}),
    }


def git_commit(folder: Path) -> str | None:
    """The commit that a tracked folder is checked out at, ``-dirty`` where files differ from it.

    None outside a checkout, also where the package is installed into somebody else's.
    """

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)

    try:
        if git("ls-files", "--error-unmatch", "__init__.py").returncode:
            return None
        described = git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except FileNotFoundError:  # no git on this machine
        return None
    return described.stdout.strip() or None
