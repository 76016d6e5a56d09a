r"""Guides away from the prompt as it was given, towards one that was moved: prompt re-anchoring.

Chen, Liu, Shah & Xu, CVPR 2025 (arXiv 2504.18032), the half of PRSS that needs no language
model: the prompt is moved as Wen et al. do (``wen``), which they call prompt engineering, and
where that had anything to do, guidance starts from the prediction with the prompt as given,
:math:`c`, instead of the one without any, :math:`u`. With the moved prompt's :math:`c^*`, in
every step,

.. math:: c + s (c^* - c) + (w - s)(c^* - u), \qquad
    s = w \min\Bigl(1, \frac{m - k}{b - k}\Bigr), \quad k = \frac{w a - b}{w - 1}

where the norm :math:`m = \|c^* - u\|_2` of that step is above ``low``, a; and
:math:`u + w (c^* - u)` where it is not. At m = a both agree (s = 1), and from m = b, ``high``, on
it is the paper's own :math:`c + w (c^* - c)`. This is the released code (chenchen-usyd/BE-PRSS,
MIT; ``convention: released``), with a = 3 and b = 5 for Stable Diffusion v1.4, and target 1 for
the search of a prompt. The paper, as we know it second hand, has no ramp (``convention: paper``):
it re-anchors in all steps where the first step's norm is above a target.

Norms are of a model and a latent size: those above are of 4 x 64 x 64. In the released code a
prompt counts as risky where the descent's first norm is above its target; here a target of null
takes all prompts for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from anisomem import papers
from anisomem.errors import UserError, one_of
from anisomem.mitigation.anchored import Anchored
from anisomem.mitigation.base import Effort, Mitigated, Mitigation, require_number
from anisomem.mitigation.wen import WenDescent

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass(frozen=True)
class Reanchored(Anchored):
    """Guided from the prompt as it was given.

    Attributes:
        low, high: The norms between which the anchor moves; None where it is the prompt always.
    """

    low: float | None
    high: float | None

    def output(
        self, progress: float, guidance: float, u: Tensor, c: Tensor, given: Tensor
    ) -> Tensor:
        s = guidance
        if self.low is not None and self.high is not None:
            norm = float((c - u).norm())
            if norm <= self.low or guidance == 1:
                return u + guidance * (c - u)
            k = (guidance * self.low - self.high) / (guidance - 1)
            s *= min(1.0, (norm - k) / (self.high - k))
        return given + s * (c - given) + (guidance - s) * (c - u)


@dataclass
class Reanchoring(Mitigation):
    """Moves the prompt down Wen's norm, and guides from where it was.

    Arguments:
        n, lr, steps, target: Of the descent, as ``wen`` has them.
        low, high: The norms between which the anchor moves, of ``released``.
        convention: ``released`` or ``paper``.

    Raises:
        UserError: A value out of range, or a model without gradients or embeddings.
    """

    paper = papers.CHEN_PRSS
    n: int = 1
    lr: float = 0.05
    steps: int = 10
    target: float | None = None
    low: float = 3.0
    high: float = 5.0
    convention: str = "released"

    def __post_init__(self) -> None:
        self.moving = WenDescent(self.name, self.n, self.lr, self.steps, self.target)
        require_number("low", self.low, allowed=True)
        require_number("high", self.high)
        if self.high <= self.low:
            raise UserError(f"high must be above low, {self.low:g}, got {self.high:g}")
        one_of("convention", self.convention, ("released", "paper"))

    @property
    def width(self) -> int:
        return self.moving.width

    @property
    def most(self) -> Effort:
        return self.moving.most

    @property
    def beside(self) -> int:
        return Reanchored.nfe

    def require(self, model: DiffusionModel) -> None:
        self.moving.require(model)

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        moved, given = self.moving.apply(model, texts, x, seeds), model.encode(texts)
        norms = (self.low, self.high) if self.convention == "released" else (None, None)
        steers = [
            Reanchored(given[[i]], *norms) if self._risky(effort) else None
            for i, effort in enumerate(moved.efforts)
        ]
        return replace(moved, guides=steers)

    def _risky(self, effort: Effort) -> bool:
        """Whether the norm that the descent began with was above the target."""
        return self.target is None or effort.before is None or effort.before > self.target
