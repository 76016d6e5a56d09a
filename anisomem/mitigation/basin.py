r"""Guides only after the trajectory has left the basin that a memorized prompt pulls into.

Until a timestep (``until``), or until the norm of the guidance :math:`c - u` first rises again
after it has fallen (``until: rise``), the scale is ``before``: 0, the unconditional prediction
alone, or a negative one, *opposite guidance*. From then on it is what is asked for. It costs
nothing: every step takes both predictions as before.

Jain, Kobayashi, Shibuya, Takida, Memon, Togelius & Mitsufuji, CVPR 2025 (arXiv 2411.16738): 0
until t = 500, and -2 until t = 650. Their code for the dynamic transition point
(SonyResearch/mitigating_memorization) samples with DPM-Solver++ and has scale 1 before it, which
is ``before: 1`` here; sampling here is DDIM. As in that code the first step that is guided is the
one whose norm is larger than the last one's, where that was smaller than the one's before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from torch import Tensor

from anisomem import papers
from anisomem.errors import UserError
from anisomem.mitigation.base import Effort, Mitigated, Mitigation, require_number

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

RISE = "rise"


@dataclass(frozen=True)
class Delayed:
    """Guidance from a timestep on, or from where the norm of the guidance first rises.

    Attributes:
        until: The timestep; None is where it rises.
        before: The scale until then.
    """

    until: float | None
    before: float

    def start(self, guidance: float) -> Callable[[float, float], float]:
        """The scale of each step in turn."""
        norms: list[float] = []
        begun = False

        def scale(t: float, norm: float) -> float:
            nonlocal begun
            norms.append(norm)
            if self.until is not None:
                begun = begun or t <= self.until
            elif len(norms) > 2:
                begun = begun or norms[-3] > norms[-2] < norm
            return guidance if begun else self.before

        return scale


@dataclass
class AttractionBasin(Mitigation):
    """Leaves the attraction basin before it guides.

    Arguments:
        until: The timestep from which the prompt guides, or ``rise``.
        before: The guidance scale until then.

    Raises:
        UserError: Another word, or no numbers.
    """

    paper = papers.JAIN
    until: float | str = 500
    before: float = 0

    def __post_init__(self) -> None:
        if self.until != RISE:
            if isinstance(self.until, str):
                raise UserError(f"until must be a timestep or {RISE!r}, got {self.until!r}")
            require_number("until", self.until, allowed=True)
        if not isinstance(self.before, int | float) or not isfinite(self.before):
            raise UserError(f"before must be a number, got {self.before!r}")

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        guide = Delayed(None if isinstance(self.until, str) else self.until, self.before)
        efforts = [Effort() for _ in texts]
        return Mitigated(texts, model.encode(texts), x, efforts, guides=[guide] * len(texts))
