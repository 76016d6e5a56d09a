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

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anisomem.detection.base import Info, Stepwise, flat_norm
from anisomem.detection.needs import Conditional, Evaluations, GuidanceDerivative, Need
from anisomem.errors import one_of

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


@dataclass
class JeonSharpness(Stepwise):
    """Jeon's HVP norm; ``steps`` is k.

    Arguments:
        convention: ``released`` or ``paper``, see the module.

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

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("convention", self.convention, ("released", "paper"))

    @property
    def quantity(self) -> Sequence[str]:
        return "jeon/hvp", self.convention

    def at_step(
        self, model: DiffusionModel, t: float, latents: str
    ) -> tuple[Set[Need], Callable[[Evaluations], Tensor]]:
        needs = {Conditional(t, latents), GuidanceDerivative(t, latents)}
        return needs, partial(self._hvp, t=t, latents=latents)

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
