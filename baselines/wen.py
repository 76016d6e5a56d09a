r"""Norm of the guidance vector over the first steps.

.. math:: \frac1k \sum_{i<k} \|c_{t_i} - u_{t_i}\|_2

over the flattened latent of raw network outputs along a 50-step DDIM trajectory with guidance 7.5
(the first step is read at :math:`x_T`), averaged over noise samples. Wen, Liu, Chen & Lyu, ICLR
2024, with k = 1, 5 or 50. The released code (YuxinWenRick/diffusion_memorization) runs in float16
with a noise seed per prompt; ``noise_policy=per_prompt`` reproduces the latter.

``squared`` is what MemBench's authors mined its prompts with (Hong et al., 2024):
:math:`\|c - u\|_2^2` at the last training timestep (``at=t:999``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Detector,
    Info,
    Recorded,
    Stepwise,
    component_name,
    flat_norm,
)
from anisomem.detection.needs import Conditional, Evaluations, Need, Unconditional

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


def guidance_norm(evaluations: Evaluations, t: float, latents: str) -> Tensor:
    r""":math:`\|c - u\|_2` of the raw outputs, ``[B]``."""
    c, u = evaluations.conditional(t, latents), evaluations.unconditional(t, latents)
    return flat_norm(c.output - u.output)


@dataclass
class WenNorm(Stepwise):
    """Wen's detection norm; ``steps`` is k."""

    info = Info(
        title="Detecting, Explaining, and Mitigating Memorization in Diffusion Models",
        authors="Wen, Liu, Chen and Lyu",
        venue="ICLR",
        year=2024,
        needs="predictions with and without prompt at the first k steps of a guided trajectory",
        orientation="norm, larger where memorized",
        nfe="2nk",
        arxiv="2407.21720",
        code="https://github.com/YuxinWenRick/diffusion_memorization",
    )
    quantity = ("wen/norm",)

    def at_step(
        self, model: DiffusionModel, t: float, latents: str
    ) -> tuple[Set[Need], Callable[[Evaluations], Tensor]]:
        needs = {Conditional(t, latents), Unconditional(t, latents)}
        return needs, partial(guidance_norm, t=t, latents=latents)


@dataclass
class SquaredNorm(Detector):
    """The squared norm at one timestep on pure noise.

    MemBench's prompts were found by maximising it, so on MemBench it and other norms are circular.

    Arguments:
        at: ``step:i`` or ``t:value``.
    """

    info = Info(
        title="MemBench: Memorized Image Trigger Prompt Dataset for Diffusion Models",
        authors="Hong, Oh and Cho",
        venue="arXiv",
        year=2024,
        needs="predictions with and without prompt on pure noise",
        orientation="squared norm, larger where memorized",
        nfe="2n",
        arxiv="2407.17095",
    )
    at: str = "t:999"

    def __post_init__(self) -> None:
        At.parse(self.at)

    @property
    def component_names(self) -> Sequence[str]:
        return [component_name("membench/squared_norm", self.at)]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        t = At.parse(self.at).timestep(model)
        needs = {Conditional(t), Unconditional(t)}
        name = self.component_names[0]
        return [Component(name, needs, lambda e: guidance_norm(e, t, "noise").square())]

    def combine(self, recorded: Recorded) -> Array:
        return recorded.mean(self.component_names[0], self.n)
