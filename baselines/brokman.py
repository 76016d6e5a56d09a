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

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod
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
from anisomem.detection.needs import (
    GENERATED,
    GUIDED,
    LATENTS,
    UNGUIDED,
    Conditional,
    Evaluations,
    Nearby,
)
from anisomem.errors import UserError, one_of

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


@dataclass
class PLaplace(Detector):
    r"""The negated p-Laplacian.

    Arguments:
        p: Power; 1 is the divergence of the score's direction, 2 the Laplacian.
        radius: Of the sphere, in :math:`\sigma_t \sqrt D`.
        probes: Directions.
        at: Noise level, ``step:i`` or ``t:value``.
        latents: ``generated``, ``noise``, ``guided`` or ``unguided``.

    Raises:
        UserError: A timestep outside the schedule, unknown latents, or a number out of range.
    """

    info = Info(
        title="Identifying Memorization of Diffusion Models through p-Laplace Analysis",
        authors="Brokman, Giloni, Hofman, Vainshtein, Kojima and Gilboa",
        venue="SSVM",
        year=2025,
        needs="predictions with prompt on a sphere around the end of a guided trajectory",
        orientation="p-Laplacian, more negative where memorized; the score is its negative",
        nfe="117n",
        arxiv="2505.08246",
    )
    p: float = 1.0
    radius: float = 1.0
    probes: int = 16
    at: str = "t:10"
    latents: str = GENERATED

    def __post_init__(self) -> None:
        At.parse(self.at)
        one_of("latents", self.latents, (GENERATED, *LATENTS))
        if type(self.probes) is not int or self.probes < 1:
            raise UserError(f"probes must be a positive integer, got {self.probes!r}")
        for name, value in (("p", self.p), ("radius", self.radius)):
            if not (isfinite(value) and value > 0):
                raise UserError(f"{name} must be a positive number, got {value}")

    @property
    def component_names(self) -> Sequence[str]:
        size = f"p={self.p:.12g}", f"radius={self.radius:.12g}", f"{self.probes} probes"
        return [component_name("brokman/p_laplacian", *size, self.at, self.latents)]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        import torch

        t = At.parse(self.at).timestep(model)
        if self.latents in (GUIDED, UNGUIDED) and t not in model.timesteps():
            raise UserError(
                f"timestep {t} is no step of a trajectory; give detector.{self.name}.at=step:-1, "
                "or another step"
            )
        sigma = model.scales(torch.tensor([t]))[1].item()
        radius = self.radius * sigma * prod(model.latent_shape) ** 0.5
        around = [Nearby(t, self.latents, radius, probe) for probe in range(self.probes)]
        needs = {Conditional(t, self.latents), *around}
        name = self.component_names[0]
        return [Component(name, needs, lambda e: p_laplacian(e, around, self.p))]

    def combine(self, recorded: Recorded) -> Array:
        return -recorded.mean(self.component_names[0], self.n)


def p_laplacian(evaluations: Evaluations, around: Sequence[Nearby], p: float) -> Tensor:
    """The mean flux through a sphere over its volume, ``[B]``."""
    import torch

    first = around[0]
    assert first.t is not None
    centre = evaluations.conditional(first.t, first.latents)
    flux = []
    for need in around:
        prediction = evaluations.nearby(need)
        score = prediction.score.flatten(1)
        # The step that was taken, which in half precision is not quite the one that was meant.
        step = (prediction.x.to(score.dtype) - centre.x.to(score.dtype)).flatten(1)
        outward = (score * step).sum(dim=1) / step.norm(dim=1)
        flux.append(score.norm(dim=1) ** (p - 2) * outward)
    return torch.stack(flux).mean(dim=0) * prod(centre.x.shape[1:]) / first.radius
