r"""Guidance along the noise: how far the prompt adds to what is pure noise.

.. math:: \cos(x_T, d) \qquad\text{and}\qquad \frac{\langle d, x_T\rangle}{\|x_T\|^2},
    \qquad d = \varepsilon_c - \varepsilon_u

on pure noise :math:`x_T` at low noise (t = 41), of predicted noise whatever the network predicts.
It is the part of the metric's cosine that lies along the network's input (docs/theory.md
has the identity), and it keeps its sign where that cosine turns, on small latents. It is this
project's own and is published nowhere else. ``anisotropy_noise`` is the metric with it in the
place of :math:`\cos(u, d)`.

What it is worth: no more than the norm of the guidance at the same timestep. On the bundled models
of 32 px, n = 1, the cosine has AUC .906 [.882, .925] (epsilon) and .960 [.943, .972] (velocity),
the projection .997 [.992, .999] (epsilon), the norm .996 [.991, .998] and .995 [.990, .997].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from anisomem import papers
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Component, Components, Cost, Detector, Info, component_name
from anisomem.detection.needs import pair
from anisomem.detection.places import FIRST, At
from anisomem.detection.weighted import NormPlusCosine

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.prediction import Prediction

READS = "predictions with and without prompt on pure noise"


@dataclass
class NoiseAlignment(Detector):
    """The guidance's alignment with the noise, or its length along it.

    Arguments:
        quantity: ``cosine``, or ``projection`` on the noise in units of its length.
        at: Where it is read.
    """

    info = Info(papers.ANISOMEM, READS, "cosine or projection")
    quantity: Literal["cosine", "projection"] = "cosine"
    at: At = At("step:-3")

    def components(self) -> Components:
        name = component_name(f"noise_alignment/{self.quantity}", self.at)
        return [Component(name, pair(self.at), self._along)]

    def cost(self) -> Cost:
        return Cost(nfe=2 * self.n)

    def _along(self, c: Prediction, u: Prediction) -> Tensor:
        guidance = (c.epsilon - u.epsilon).flatten(1)
        noise = c.x.to(guidance).flatten(1)  # what they were evaluated at
        along = (guidance * noise).sum(1) / noise.square().sum(1)
        if self.quantity == "projection":
            return along
        return along * noise.norm(dim=1) / guidance.norm(dim=1)


@dataclass
class AnisotropyNoise(NormPlusCosine):
    """The anisotropy metric with the alignment with the noise in the place of its cosine.

    The published weights are those of the metric; nobody has published any for this sum.

    Arguments:
        norm_at, cos_at: Where each term is read.
        weights: See :class:`~anisomem.detection.weighted.NormPlusCosine`.
    """

    info = Info(papers.ANISOMEM, f"{READS} at two timesteps", "norm plus cosine")
    norm_at: At = FIRST
    cos_at: At = At("step:-3")

    def norm_component(self) -> Component:
        return Anisotropy(self.name, self.n, norm_at=self.norm_at).norm_component()

    def cos_component(self) -> Component:
        (alignment,) = NoiseAlignment(self.name, self.n, at=self.cos_at).components()
        assert isinstance(alignment, Component)
        return alignment
