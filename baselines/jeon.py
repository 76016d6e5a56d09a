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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
    first_steps,
    flat_norm,
)
from anisomem.detection.needs import Conditional, GuidanceDerivative
from anisomem.detection.options import Steps
from anisomem.detection.places import FIRST

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel
    from anisomem.models.prediction import Prediction


@dataclass
class JeonSharpness(Detector):
    """Jeon's HVP norm; ``steps`` is k.

    Arguments:
        convention: ``released`` or ``paper``, see the module.
    """

    info = Info(
        papers.JEON,
        "predictions with and without prompt, and a directional derivative of each, at the "
        "first k steps of a guided trajectory",
        "norm",
    )
    steps: Steps = 1
    convention: Literal["released", "paper"] = "released"

    def components(self) -> Components:
        return [
            Component(
                component_name("jeon/hvp", self.convention, *place),
                (Conditional(*place), GuidanceDerivative(*place)),
                self._hvp,
            )
            for place in first_steps(self.steps)
        ]

    def require_of(self, model: DiffusionModel) -> None:
        if self.steps == 1:  # of several the later ones are read, too
            FIRST.require_noise(model)

    def cost(self) -> Cost:
        return Cost(nfe=2 * self.n * self.steps, jvps=2 * self.n * self.steps)

    def _hvp(self, prediction: Prediction, derivative: Tensor) -> Tensor:
        """The norm of the difference's Hessian-vector product, ``[B]``."""
        norm = flat_norm(derivative.to(prediction.output.dtype))
        # One factor turns c - u into v, the other the derivative of outputs into that of scores.
        factor = prediction.score_per_output**2
        if self.convention == "released" and prediction.parameterisation == "v_prediction":
            factor = (prediction.alpha / prediction.sigma**2) ** 2
        return norm * factor.to(norm)
