r"""p-Laplacian of the log-probability at a generated latent.

.. math:: -\Delta_p \log p_t = -\nabla \cdot \bigl(\|s_c\|^{p-2} s_c\bigr)
    \approx -\frac{D}{r}\, \frac1K \sum_{i \le K} \|s_c(x + r n_i)\|^{p-2}\, s_c(x + r n_i)
    \cdot n_i

the flux through a sphere of radius r over its volume (divergence theorem), with the score with the
prompt, D the numbers in a latent, and K random directions n_i. With p = 1 only the score's
direction counts, and the mean is that of the cosines between score and outward normal. Brokman et
al., SSVM 2025 (arXiv 2505.08246).

The authors' code gives their settings, which are the defaults: p = 1, the end of a generation
scaled by alpha_t, t = 10 (a hundredth of the training steps), and
:math:`r = \sigma_t \sqrt D`, the distance at which Gaussian noise lies; ``radius`` is in units of
that. It leaves out D / r, the same for all prompts, takes epsilon for the score, which for p = 1
is the sign here, decodes and re-encodes the picture first, and uses 128 directions. Here the
latents are read as they are, and ``probes`` is 16: in high dimension the standard error of the
mean cosine is at most about :math:`1 / \sqrt{D K}`, 0.002 for Stable Diffusion.

Why larger where memorized: for data :math:`\mathcal{N}(m, s^2 I)` and
:math:`v = \alpha^2 s^2 + \sigma^2`, the score at :math:`x = \alpha m + \delta` points to
:math:`\alpha m`, and in high dimension the mean cosine with the outward normal is
:math:`-r / \sqrt{r^2 + \|\delta\|^2}`. A typical sample has
:math:`\|\delta\| = \alpha s \sqrt D`, so that the score's value is
:math:`(D / r)\, \sigma / \sqrt{\sigma^2 + \alpha^2 s^2}`: it grows as the data around the
generated point narrows, up to D / r at a point mass. Its unit is one over that of the latents for
p = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
)
from anisomem.detection.needs import Conditional, Nearby, nfe_until
from anisomem.detection.options import Count, Scale
from anisomem.detection.places import At

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.prediction import Prediction


@dataclass
class PLaplace(Detector):
    r"""The negated p-Laplacian.

    Arguments:
        p: Power; 1 is the divergence of the score's direction, 2 the Laplacian.
        radius: The radius of the sphere, in :math:`\sigma_t \sqrt D`.
        probes: The number of directions.
        at: Noise level.
        latents: What is at the centre.
    """

    info = Info(
        papers.BROKMAN,
        "predictions with prompt on a sphere around the end of a guided trajectory",
        "p-Laplacian",
        memorized="smaller",
    )
    p: Scale = 1.0
    radius: Scale = 1.0
    probes: Count = 16
    at: At = At("t:10")
    latents: Literal["generated", "noise", "guided", "unguided"] = "generated"

    def components(self) -> Components:
        size = f"p={self.p:.12g}", f"radius={self.radius:.12g}", f"{self.probes} probes"
        name = component_name("brokman/p_laplacian", *size, self.at, self.latents)
        around = [Nearby(self.at, self.latents, self.radius, i) for i in range(self.probes)]
        return [Component(name, (Conditional(self.at, self.latents), *around), self._laplacian)]

    def cost(self) -> Cost:
        return Cost(nfe=(nfe_until(self.at, self.latents) + self.probes) * self.n)

    def _laplacian(self, centre: Prediction, *around: Prediction) -> Tensor:
        """The negated p-Laplacian of a batch, ``[B]``."""
        radius = self.radius * centre.sigma[0].item() * prod(centre.x.shape[1:]) ** 0.5
        return p_laplacian(centre, around, self.p, radius)


def p_laplacian(
    centre: Prediction, around: tuple[Prediction, ...], p: float, radius: float
) -> Tensor:
    """The mean flux through a sphere over its volume, ``[B]``.

    Arguments:
        centre: The prediction at the sphere's centre.
        around: Predictions on the sphere.
        p: The power p of the Laplacian.
        radius: The radius of the sphere.
    """
    import torch

    flux = []
    for prediction in around:
        score = prediction.score.flatten(1)
        # The step that was taken, which in half precision is not quite the one that was meant.
        step = (prediction.x.to(score.dtype) - centre.x.to(score.dtype)).flatten(1)
        outward = (score * step).sum(dim=1) / step.norm(dim=1)
        flux.append(score.norm(dim=1) ** (p - 2) * outward)
    return torch.stack(flux).mean(dim=0) * prod(centre.x.shape[1:]) / radius
