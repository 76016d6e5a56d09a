"""Training that can be stopped at any moment: the loop state goes to one file, atomically.

What is trained is in ``autoencoder``, ``concepts`` and ``diffusion``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes the state beside its final name first, so that a kill leaves the last good one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any] | None:
    """The saved state, or None where training has not begun."""
    return torch.load(path, "cpu", weights_only=True) if path.exists() else None
