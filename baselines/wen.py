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

from dataclasses import dataclass

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
    first_steps,
    guidance_norm,
)
from anisomem.detection.needs import pair
from anisomem.detection.options import Steps
from anisomem.detection.places import At


@dataclass
class WenNorm(Detector):
    """Wen's detection norm; ``steps`` is k."""

    info = Info(
        papers.WEN,
        "predictions with and without prompt at the first k steps of a guided trajectory",
        "norm",
    )
    steps: Steps = 1

    def components(self) -> Components:
        return [
            Component(component_name("wen/norm", *place), pair(*place), guidance_norm)
            for place in first_steps(self.steps)
        ]

    def cost(self) -> Cost:
        return Cost(nfe=2 * self.n * self.steps)


@dataclass
class SquaredNorm(Detector):
    """The squared norm at one timestep on pure noise.

    MemBench's prompts were found by maximising it, so on MemBench it and other norms are circular.
    """

    info = Info(papers.HONG, "predictions with and without prompt on pure noise", "squared norm")
    at: At = At("t:999")

    def components(self) -> Components:
        name = component_name("membench/squared_norm", self.at)
        return [Component(name, pair(self.at), lambda c, u: guidance_norm(c, u).square())]

    def cost(self) -> Cost:
        return Cost(nfe=2 * self.n)
