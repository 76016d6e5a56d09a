r"""Norm of the guidance vector at the first step.

.. math:: \|c - u\|_2

over the flattened latent of raw network outputs at :math:`x_T`, averaged over noise samples.
Wen, Liu, Chen & Lyu, ICLR 2024. The released code (YuxinWenRick/diffusion_memorization) runs in
float16 with a noise seed per prompt; ``noise_policy=per_prompt`` reproduces the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Conditional,
    Detector,
    Info,
    Recorded,
    Unconditional,
    flat_norm,
)

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class WenFirstStep(Detector):
    """Wen's one-step detection norm."""

    info = Info(
        title="Detecting, Explaining, and Mitigating Memorization in Diffusion Models",
        authors="Wen, Liu, Chen and Lyu",
        venue="ICLR",
        year=2024,
        arxiv="2407.21720",
        code="https://github.com/YuxinWenRick/diffusion_memorization",
    )
    component_names = ("wen/norm[step:0]",)

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        t = At(step=0).timestep(model)
        return [
            Component(
                self.component_names[0],
                frozenset({Conditional(t), Unconditional(t)}),
                lambda e: flat_norm(e.conditional(t).output - e.unconditional(t).output),
            )
        ]

    def combine(self, recorded: Recorded) -> Array:
        return recorded.mean(self.component_names[0], self.n)
