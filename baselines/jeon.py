r"""Sharpness: Hessian-vector product of the log-probability along the guidance direction.

.. math:: \bigl\| (J_{s_c} - J_{s_u})\, v \bigr\|_2, \qquad v = s_c - s_u

at :math:`x_T` and the first step, :math:`J` the Jacobian of the score in :math:`x`, averaged over
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
from typing import TYPE_CHECKING

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Conditional,
    Detector,
    Evaluations,
    GuidanceDerivative,
    Info,
    Need,
    Recorded,
    Unconditional,
    flat_norm,
)
from anisomem.errors import one_of

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


@dataclass
class JeonSharpness(Detector):
    """Jeon's one-step HVP norm.

    Arguments:
        convention: ``released`` or ``paper``, see the module.
    """

    info = Info(
        title="Understanding and Mitigating Memorization in Diffusion Models via Sharpness of "
        "Probability Landscapes",
        authors="Jeon, Kim and No",
        venue="ICML",
        year=2025,
        arxiv="2412.04140",
        code="https://github.com/Dongjae0324/sharpness_memorization_diffusion",
    )
    convention: str = "released"

    def __post_init__(self) -> None:
        one_of("convention", self.convention, ("released", "paper"))

    @property
    def component_names(self) -> Sequence[str]:
        return [f"jeon/hvp[{self.convention},step:0]"]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        t = At(step=0).timestep(model)
        needs = frozenset[Need]({Conditional(t), Unconditional(t), GuidanceDerivative(t)})
        return [Component(self.component_names[0], needs, lambda e: self._hvp(e, t))]

    def combine(self, recorded: Recorded) -> Array:
        return recorded.mean(self.component_names[0], self.n)

    def _hvp(self, evaluations: Evaluations, t: float) -> Tensor:
        """``[B]``."""
        prediction = evaluations.conditional(t)
        norm = flat_norm(evaluations.guidance_derivative(t).to(prediction.output.dtype))
        # One factor turns c - u into v, the other the derivative of outputs into that of scores.
        factor = prediction.score_per_output**2
        if self.convention == "released" and prediction.parameterisation == "v_prediction":
            factor = (prediction.alpha / prediction.sigma**2) ** 2
        return norm * factor.to(norm)
