r"""How sharply the prompt contracts the score where cycles of noising and denoising lead.

Cyclic denoising takes a generated latent, noises it to a share gamma of the schedule, takes ten
steps back, and so on for k cycles: what falls into the basin of a training picture stays there.
Then

.. math:: \Delta A_1 = \nabla \cdot s_c - \nabla \cdot s_u
    \approx \frac{D}{r}\, \frac{1}{2K} \sum_{i \le 2K} (s_c - s_u)(x + r e_i) \cdot e_i

at t = 1, the outward flux through a sphere of radius r (that of the p-Laplacian with p = 2, see
``brokman``) in K = 8 pairs of opposite directions, the same with and without prompt. Verma et al.
2026 (arXiv 2610.11670); more negative where memorized, so the score is its negative, averaged over
noise samples. The unit is one over that of the latents, squared.

From the paper: chains begin at the end of a 50-step trajectory with guidance 7.5; gamma = 0.9 and
:math:`t_\gamma = \operatorname{round}(\gamma (T - 1))`; noise is drawn anew for each cycle; the
sphere is centred at :math:`\alpha_1 x`, without noise, with :math:`r = 10^{-2} \sigma_1`. For
Stable Diffusion v1.4, with 500 memorized prompts of Wen et al., 2,000 others of four kinds and
four seeds, it reports AUC .811 and TPR@1%FPR .526 without cycles (``cycles=0``), .890 and .804
after 10, .944 and .866 after 60, beside .990 and .838 for Wen's norm.

What is uncertain: no code is released. Whether a cycle's steps are guided is not said; here they
are, which costs 2 NFE a step, as the generation does. Nor is where the ten steps stand: here they
are evenly spaced from :math:`t_\gamma`. The radius is read as a distance per number, as elsewhere
in that paper and in Brokman et al., that is :math:`10^{-2} \sigma_1 \sqrt D` in all
(``radius`` is in units of :math:`\sigma_t \sqrt D`). Whether the flux was multiplied by D / r is
not said either; it changes no order within a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
)
from anisomem.detection.needs import STEPS
from anisomem.detection.options import Count, Scale, Whole
from anisomem.detection.places import At
from anisomem.detection.renoised import FluxDifference
from anisomem.errors import UserError

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class CyclicDenoising(Detector):
    r"""The negated difference of divergences after cycles.

    Arguments:
        cycles: How many, k; 0 reads the generated latents.
        gamma: The share of the schedule that a cycle noises to, above 0 and at most 1.
        steps: Of a cycle, back to data.
        pairs: Pairs of directions, K.
        radius: The radius of the sphere, in :math:`\sigma_t \sqrt D`.
        at: Where the flux is read.

    Raises:
        UserError: A gamma above 1.
    """

    info = Info(
        papers.VERMA,
        "predictions with and without prompt on a small sphere around what cycles of noising and "
        "denoising make of the end of a guided trajectory",
        "difference of divergences",
        memorized="smaller",
    )
    cycles: Annotated[int, Whole(0)] = 60
    gamma: Scale = 0.9
    steps: Count = 10
    pairs: Count = 8
    radius: Scale = 0.01
    at: At = At("t:1")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma > 1:
            raise UserError(f"gamma must be above 0 and at most 1, got {self.gamma!r}")

    def components(self) -> Components:
        cycle = f"{self.cycles} cycles", f"gamma={self.gamma:.12g}", f"{self.steps} steps"
        size = f"{self.pairs} pairs", f"radius={self.radius:.12g}"
        need = FluxDifference(
            self.at, self.pairs, self.radius, self.cycles, self.gamma, self.steps
        )
        name = component_name("cyclic/flux_difference", *cycle, *size, self.at)
        return [Component(name, [need], lambda estimates: estimates.mean(dim=1))]

    def cost(self) -> Cost:
        return Cost(nfe=(2 * STEPS + 2 * self.steps * self.cycles + 4 * self.pairs) * self.n)

    def require_of(self, model: DiffusionModel) -> None:
        try:
            model.schedule.partial(self.gamma, self.steps)
        except UserError as error:
            most = int(model.schedule.noised(self.gamma))
            fitting = f"steps={most}" if most else "gamma=0.9"
            raise UserError(f"{self.name}: {error}; give detector.{self.name}.{fitting}") from None
