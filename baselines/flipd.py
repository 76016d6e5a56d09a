r"""Local intrinsic dimension at a generated latent.

.. math:: \mathrm{LID}(x, t) = D + \sigma_t^2 \bigl(\operatorname{tr} \nabla s_c(\alpha_t x, t)
    + \|s_c(\alpha_t x, t)\|_2^2\bigr)

with the score with the prompt, x the end of a 50-step trajectory with guidance 7.5, and D the
numbers in a latent. FLIPD (Kamkari et al., NeurIPS 2024); memorized where it is small (Ross et
al., ICLR 2025), so the score is -LID, averaged over noise samples. A dimension, without unit.

It holds for every pair of scales, variance-preserving or flow matching. In the coordinates
z = x_t / alpha the noised data is that without scaling plus noise of scale
:math:`\varsigma = \sigma/\alpha`, whose density q obeys the heat equation
:math:`\partial q / \partial(\varsigma^2/2) = \Delta q`. So with
:math:`\nabla_z \log q = \alpha s`,

.. math:: D + \frac{\partial \log q(x; \varsigma)}{\partial \log \varsigma}
    = D + \varsigma^2 (\Delta \log q + \|\nabla \log q\|^2)
    = D + \varsigma^2 \alpha^2 (\operatorname{tr} \nabla s + \|s\|^2),

and :math:`\varsigma\alpha = \sigma`. Smoothing a d-dimensional density over :math:`\varsigma`
scales it by :math:`\varsigma^{d-D}`, which makes this d for small noise.

The trace is Hutchinson's: the mean over ``probes`` of :math:`v^\top \nabla s\, v`, v with entries
-1 and 1, the same for all prompts. Its variance is twice the sum of squared off-diagonal entries
(of the symmetric Jacobian) over the number of probes; it is exact for isotropic Gaussians.

The noise level is the user's to choose. The default is what the authors' code for Stable Diffusion
(layer6ai-labs/diffusion_memorization) optimises prompts by: step 40 of 50, t = 181. It has to be
well above what is left of the noise at the end of a trajectory (0.029 for Stable Diffusion, whose
last step arrives at t = 0), or the latent is off the data in every dimension and D is the answer.
That code differs otherwise: it takes the latents of the trajectory, the guided prediction, and one
Gaussian probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Detector,
    Info,
    Recorded,
    component_name,
)
from anisomem.detection.needs import GENERATED, Conditional, Divergence, Evaluations
from anisomem.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


@dataclass
class FLIPD(Detector):
    """The negated local intrinsic dimension.

    Arguments:
        at: Noise level, ``step:i`` or ``t:value``.
        probes: Directions of the trace estimate.

    Raises:
        UserError: A timestep outside the schedule, or probes that are not a positive integer.
    """

    info = Info(
        title="A Geometric View of Data Complexity: Efficient Local Intrinsic Dimension "
        "Estimation with Diffusion Models",
        authors="Kamkari, Ross, Hosseinzadeh, Cresswell and Loaiza-Ganem",
        venue="NeurIPS",
        year=2024,
        needs="the prediction with prompt, and directional derivatives of it, at the end of a "
        "guided trajectory",
        orientation="dimension, smaller where memorized; the score is its negative",
        nfe="101n",
        jvps="8n",
        arxiv="2406.03537",
        code="https://github.com/layer6ai-labs/dgm_geometry",
    )
    at: str = "step:40"
    probes: int = 8

    def __post_init__(self) -> None:
        At.parse(self.at)
        if type(self.probes) is not int or self.probes < 1:
            raise UserError(f"probes must be a positive integer, got {self.probes!r}")

    @property
    def component_names(self) -> Sequence[str]:
        return [component_name("flipd/lid", self.at, GENERATED, f"{self.probes} probes")]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        need = Divergence(At.parse(self.at).timestep(model), GENERATED, self.probes)
        needs = {Conditional(need.t, GENERATED), need}
        return [Component(self.component_names[0], needs, lambda e: dimension(e, need))]

    def combine(self, recorded: Recorded) -> Array:
        return -recorded.mean(self.component_names[0], self.n)


def dimension(evaluations: Evaluations, need: Divergence) -> Tensor:
    """The local intrinsic dimension, ``[B]``."""
    prediction = evaluations.conditional(need.t, need.latents)
    score = prediction.score.flatten(1)
    products = evaluations.divergence(need).to(score)
    size = score.shape[1]
    # The score is affine in the output and in the latents, and tr I = D.
    trace = prediction.score_per_output.to(score) * products.mean(dim=1)
    trace = trace + size * prediction.score_per_latent.to(score)
    return size + prediction.sigma.to(score) ** 2 * (trace + score.square().sum(dim=1))
