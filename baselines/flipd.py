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

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
)
from anisomem.detection.needs import GENERATED, STEPS, Conditional, Divergence
from anisomem.detection.options import Count
from anisomem.detection.places import At

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.prediction import Prediction


@dataclass
class FLIPD(Detector):
    """The negated local intrinsic dimension.

    Arguments:
        at: Noise level.
        probes: Directions of the trace estimate.
    """

    info = Info(
        papers.KAMKARI,
        "the prediction with prompt, and directional derivatives of it, at the end of a "
        "guided trajectory",
        "dimension",
        memorized="smaller",
    )
    at: At = At("step:40")
    probes: Count = 8

    def components(self) -> Components:
        name = component_name("flipd/lid", self.at, GENERATED, f"{self.probes} probes")
        needs = Conditional(self.at, GENERATED), Divergence(self.at, GENERATED, self.probes)
        return [Component(name, needs, dimension)]

    def cost(self) -> Cost:
        return Cost(nfe=(2 * STEPS + 1) * self.n, jvps=self.probes * self.n)


def dimension(prediction: Prediction, products: Tensor) -> Tensor:
    """The local intrinsic dimension, ``[B]``.

    Arguments:
        prediction: The prediction with the prompt.
        products: The products of its directional derivatives with their directions, ``[B,
            probes]``.
    """
    score = prediction.score.flatten(1)
    products = products.to(score)
    size = score.shape[1]
    # The score is affine in the output and in the latents, and tr I = D.
    trace = prediction.score_per_output.to(score) * products.mean(dim=1)
    trace = trace + size * prediction.score_per_latent.to(score)
    return size + prediction.sigma.to(score) ** 2 * (trace + score.square().sum(dim=1))
