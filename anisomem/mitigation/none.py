"""Samples as always, for comparison.

Every trade-off holds it, as what the other mitigations are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from anisomem.mitigation.base import Effort, Mitigated, Mitigation

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class NoMitigation(Mitigation):
    """Changes nothing."""

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        return Mitigated(texts, model.encode(texts), x, [Effort() for _ in texts])
