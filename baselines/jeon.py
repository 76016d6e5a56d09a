r"""Sharpness: Hessian-vector product of the log-probability along the guidance direction.

.. math:: \bigl\| (J_{s_c} - J_{s_u})\, v \bigr\|_2, \qquad v = s_c - s_u

at :math:`x_T` and the first step (or averaged over the first k of a 50-step DDIM trajectory with
guidance 7.5), :math:`J` the Jacobian of the score in :math:`x`, averaged over
noise samples. Jeon, Kim & No, ICML 2025 (arXiv 2412.04140). The paper squares the norm, which
orders prompts alike at n = 1; the released code (Dongjae0324/sharpness_memorization_diffusion)
and this one average the norms themselves.

For velocity models the released code takes :math:`(\sqrt{\bar\alpha}\,v - x)/(1-\bar\alpha)` for
the score, so its number is :math:`\bar\alpha/\sigma^4` instead of :math:`\bar\alpha/\sigma^2`
times the output's; ``convention="released"`` (default) reproduces it, ``"paper"`` uses true
scores. For epsilon models the two agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Detector,
    Info,
    Recorded,
    along,
    component_name,
    flat_norm,
)
from anisomem.detection.needs import Conditional, Evaluations, GuidanceDerivative
from anisomem.errors import one_of

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


@dataclass
class JeonSharpness(Detector):
    """Jeon's HVP norm.

    Arguments:
        convention: ``released`` or ``paper``, see the module.
        steps: k, over which it is averaged.

    Raises:
        UserError: An unknown convention, or steps that a trajectory does not have.
    """

    info = Info(
        title="Understanding and Mitigating Memorization in Diffusion Models via Sharpness of "
        "Probability Landscapes",
        authors="Jeon, Kim and No",
        venue="ICML",
        year=2025,
        needs="predictions with and without prompt, and a directional derivative of each, at the "
        "first k steps of a guided trajectory",
        orientation="norm, larger where memorized",
        nfe="2nk",
        jvps="2nk",
        arxiv="2412.04140",
        code="https://github.com/Dongjae0324/sharpness_memorization_diffusion",
    )
    convention: str = "released"
    steps: int = 1

    def __post_init__(self) -> None:
        one_of("convention", self.convention, ("released", "paper"))
        along(self.steps)

    @property
    def k(self) -> int:
        return self.steps

    @property
    def component_names(self) -> Sequence[str]:
        return [component_name("jeon/hvp", self.convention, *at) for at in along(self.steps)]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        found = []
        for name, (at, latents) in zip(self.component_names, along(self.steps), strict=True):
            t = At.parse(at).timestep(model)
            needs = {Conditional(t, latents), GuidanceDerivative(t, latents)}
            found.append(Component(name, needs, partial(self._hvp, t=t, latents=latents)))
        return found

    def combine(self, recorded: Recorded) -> Array:
        return np.mean([recorded.mean(name, self.n) for name in self.component_names], axis=0)

    def _hvp(self, evaluations: Evaluations, t: float, latents: str) -> Tensor:
        """``[B]``."""
        prediction = evaluations.conditional(t, latents)
        derivative = evaluations.guidance_derivative(t, latents)
        norm = flat_norm(derivative.to(prediction.output.dtype))
        # One factor turns c - u into v, the other the derivative of outputs into that of scores.
        factor = prediction.score_per_output**2
        if self.convention == "released" and prediction.parameterisation == "v_prediction":
            factor = (prediction.alpha / prediction.sigma**2) ** 2
        return norm * factor.to(norm)
