r"""Moves the prompt until the guidance at the first step is small.

.. math:: \min_c\; \bigl(\textstyle\sum_{i \le n} \|c(x_i) - u(x_i)\|_2^2\bigr)^{1/2}

of the raw outputs at the first timestep, over the embeddings of the prompt. Wen, Liu, Chen & Lyu,
ICLR 2024: AdamW, learning rate 0.05, at most 10 steps, targets 1 to 5 on Stable Diffusion v1.4
and 1 to 2 on v2.

As the released code (YuxinWenRick/diffusion_memorization) does it:

* the norm is taken over all n noise samples jointly, not averaged: it grows with the root of n,
  and a target belongs to an n;
* the start token is frozen by setting its gradient to zero, which leaves AdamW's weight decay: it
  shrinks by 1 - 0.05 * 0.01 in every step;
* the target is compared before a step, so that what is kept has reached it.

Other than there, a last evaluation tells what the last step reached, and the prediction without
prompt is evaluated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from anisomem import papers
from anisomem.detection.base import flat_norm
from anisomem.detection.needs import pair
from anisomem.detection.places import FIRST
from anisomem.mitigation.base import (
    Effort,
    Mitigated,
    Mitigation,
    require_count,
)
from anisomem.mitigation.descent import Descent
from anisomem.mitigation.guidance import OnNoise, embedded, movable, precise
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class WenDescent(Mitigation):
    """Descends Wen's norm over the prompt's embeddings.

    Arguments:
        n: Noise samples; the first is the one sampled from.
        lr, steps: Of AdamW.
        target: It stops where the norm is not above; None takes all steps.

    Raises:
        UserError: A value out of range, or a model without gradients or embeddings.
    """

    paper = papers.WEN
    n: int = 1
    lr: float = 0.05
    steps: int = 10
    target: float | None = None

    def __post_init__(self) -> None:
        require_count("n", self.n)
        self.descent = Descent("adamw", self.lr, self.steps, self.target)

    @property
    def width(self) -> int:
        return self.n

    @property
    def most(self) -> Effort:
        return Effort(nfe=self.n) + self.descent.most(self.n)

    def require(self, model: DiffusionModel) -> None:
        model.require(Capability.EMBEDDINGS, f"{self.name} changes them")
        model.require(Capability.DERIVATIVES, f"{self.name} needs them")

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        given = model.encode(texts)
        on_noise = OnNoise(model, x, seeds, self.n, [FIRST])

        def objective(embeddings: Tensor, rows: Tensor) -> Tensor:
            evaluations = on_noise.evaluations(embedded(model, given[rows], embeddings), rows)
            c, u = (evaluations[need] for need in pair(FIRST))
            return flat_norm((c.output - u.output).reshape(len(rows), -1))

        mask = movable(given, "after_start")
        kept, efforts = self.descent(precise(given), objective, self.n, mask)
        without = Effort(nfe=self.n)
        return Mitigated(
            texts, embedded(model, given, kept), x, [without + effort for effort in efforts]
        )
