r"""Anisotropy of the log-probability: guidance norm at high noise plus alignment at low noise.

Both terms are read on the same pure noise :math:`x_T`, without any denoising:

.. math:: M = \gamma_\text{norm}\,\|s_\Delta(x_T, t_\text{norm})\|_2
              + \gamma_\text{cos}\,\cos(s_\Delta(x_T, t_\text{cos}), s_u(x_T, t_\text{cos}))

with :math:`s_\Delta = s_c - s_u` (eq. 14 of Asthana & Belagiannis, ICLR 2026, arXiv 2601.20642).

Where the paper and its released code (commit 97e991b) disagree, ``convention`` chooses:

===============  =======================================  ====================================
                 ``released`` (default)                   ``paper``
===============  =======================================  ====================================
norm             epsilon: :math:`\|c-u\|_2`, not divided  :math:`\|s_c - s_u\|_2` of the true
                 by sigma; velocity:                      scores
                 :math:`\sqrt{\bar\alpha}\,\|c-u\|_2
                 / (1-\bar\alpha)`
cosine           over channels at every position, mean    over the flattened latent
                 over positions
taken between    raw network outputs, also for velocity   true scores
===============  =======================================  ====================================

The cosine's timestep is ``cos_at`` under both: the released code reads the third-last of the
schedule (t = 41, the default), the paper's text says t ~ 0.

The released code's normalisation flag never reaches its computation, and its velocity branch
overwrites what it would have normalised. Here normalisation acts on ``u`` and ``c`` at both
timesteps, before any difference, for every parameterisation; under ``paper`` on the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Cost,
    Info,
    component_name,
    flat_norm,
)
from anisomem.detection.needs import GUIDED, NOISE, nfe_until, pair
from anisomem.detection.places import FIRST, At
from anisomem.detection.weighted import NormPlusCosine

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel
    from anisomem.models.prediction import Prediction


#: What figures call the cosine of each mode.
COSINES = {
    "x,c|x": "cosine of u and c − u",
    "x,x|c": "cosine of u and c",
    "x|c,c|x": "cosine of c and c − u",
}


@dataclass
class Anisotropy(NormPlusCosine):
    r"""The metric with chosen convention, timesteps and weights.

    Arguments:
        convention: ``released`` or ``paper``, see the module.
        mode: Between which vectors the cosine is taken: ``x,c|x`` is cos(u, c - u), ``x,x|c`` is
            cos(u, c), ``x|c,c|x`` is cos(c, c - u).
        normalisation: ``none``; ``L2`` divides by the spatial 2-norm of every channel (plus 1e-6),
            ``L1`` by the 1-norm of the whole latent.
        norm_at, cos_at: Where each term is read.
        cos_latents: Where the cosine is taken: ``noise``, or on the latents of a 50-step DDIM
            trajectory at that timestep, ``guided`` (7.5) or ``unguided``.
        weights: See :class:`~anisomem.detection.weighted.NormPlusCosine`.

    Raises:
        UserError: An unknown choice, a timestep outside the schedule, or published weights for a
            model that has none.
    """

    info = Info(
        papers.ASTHANA,
        "predictions with and without prompt on pure noise at two timesteps",
        "norm plus cosine",
    )

    convention: Literal["released", "paper"] = "released"
    mode: Literal["x,c|x", "x,x|c", "x|c,c|x"] = "x,c|x"
    normalisation: Literal["none", "L1", "L2"] = "none"
    norm_at: At = FIRST
    cos_at: At = At("step:-3")
    cos_latents: Literal["noise", "guided", "unguided"] = "noise"

    def cost(self) -> Cost:
        parts = [part.name for part in self.components()]
        if self.cos_latents == NOISE or self.cos_name not in parts:
            return super().cost()
        guided = self.cos_latents == GUIDED  # without prompt, too, at every step
        nfe = nfe_until(self.cos_at, self.cos_latents) + (not guided)
        if self.norm_name in parts:  # which a trajectory passes if it is read at its beginning
            nfe += (0 if guided else 1) if self.norm_at == FIRST else 2
        return Cost(nfe=nfe * self.n)

    def require_of(self, model: DiffusionModel) -> None:
        if self.convention == "paper":  # true scores; raw outputs are of every place
            self.norm_at.require_noise(model)

    def norm_component(self) -> Component:
        choices = self.convention, self.normalisation, self.norm_at
        name = component_name("anisotropy/norm", *choices)
        return Component(name, pair(self.norm_at), self._norm)

    def cos_component(self) -> Component:
        choices = (self.convention, self.mode, self.normalisation, self.cos_at, self.cos_latents)
        name = component_name("anisotropy/cos", *choices)
        return Component(name, pair(self.cos_at, self.cos_latents), self._cosine)

    def _norm(self, c: Prediction, u: Prediction) -> Tensor:
        """The norm of the guidance under the convention, ``[B]``."""
        norm = flat_norm(self._vectors(c) - self._vectors(u))
        if self.convention == "released" and c.parameterisation == "v_prediction":
            return norm * (c.alpha / c.sigma**2).to(norm)
        return norm

    def _cosine(self, c: Prediction, u: Prediction) -> Tensor:
        """The cosine of the vectors under the convention, ``[B]``."""
        from torch.nn.functional import cosine_similarity

        if self.convention == "released":
            return self.cosine_map(c, u).mean(dim=(1, 2))
        first, second = self._compared(c, u)
        return cosine_similarity(first.flatten(1), second.flatten(1), dim=1)

    def cosine_map(self, c: Prediction, u: Prediction) -> Tensor:
        """The cosine over channels at every position, ``[B, H, W]``."""
        from torch.nn.functional import cosine_similarity

        # On a CPU norms over the last axis take a tenth of the time of those over another.
        first, second = (v.movedim(1, -1).contiguous() for v in self._compared(c, u))
        return cosine_similarity(first, second, dim=-1)

    def _compared(self, c: Prediction, u: Prediction) -> tuple[Tensor, Tensor]:
        """The two vectors that the cosine is taken between, ``[B, C, H, W]`` each."""
        v_c, v_u = self._vectors(c), self._vectors(u)
        vectors = {"x,c|x": (v_u, v_c - v_u), "x,x|c": (v_u, v_c), "x|c,c|x": (v_c, v_c - v_u)}
        return vectors[self.mode]

    def _vectors(self, prediction: Prediction) -> Tensor:
        """Raw outputs or true scores, normalised, ``[B, C, H, W]``."""
        vectors = prediction.output if self.convention == "released" else prediction.score
        match self.normalisation:
            case "L1":
                return vectors / vectors.abs().sum(dim=(1, 2, 3), keepdim=True)
            case "L2":
                return vectors / (vectors.norm(dim=(2, 3), keepdim=True) + 1e-6)
        return vectors
