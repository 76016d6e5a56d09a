r"""Score difference at the last step of a guided trajectory.

.. math:: \frac1{HW} \sum_{\text{positions}} \sum_{\text{channels}}
    \bigl(s_c(x_t, t) - s_u(x_t, t)\bigr)^2

at the last step of a 50-step DDIM trajectory with guidance 7.5 (t = 1 under Stable Diffusion's
schedule), averaged over noise samples. Kim & Lee, ICML 2026 (arXiv 2605.26756), who derive the
squared score difference as a surrogate of the difference in coordinate-wise curvature, to find
*where* a picture is memorized: their map is the sum over channels, and its spatial mean is the
detector. Scores, not raw outputs: at t = 1 an epsilon model's difference is divided by
:math:`\sigma_1 \approx 0.04`, so numbers are large. The unit is one over that of the latents,
squared.
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
from anisomem.detection.needs import GUIDED, Conditional, Evaluations, Unconditional

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel

LAST = "step:-1"


def squared_difference(evaluations: Evaluations, t: float) -> Tensor:
    r""":math:`\|s_c - s_u\|_2^2` per position on the guided trajectory, ``[B]``."""
    c, u = evaluations.conditional(t, GUIDED), evaluations.unconditional(t, GUIDED)
    difference = c.coefficient(c.score_per_output) * (c.output - u.output)
    return difference.square().sum(dim=1).mean(dim=(1, 2))


@dataclass
class ScoreDifference(Detector):
    """Kim and Lee's score difference, as one number."""

    info = Info(
        title="Localizing Memorized Regions in Diffusion Models via Coordinate-Wise Curvature "
        "Differences",
        authors="Kim and Lee",
        venue="ICML",
        year=2026,
        needs="predictions with and without prompt at the last step of a guided trajectory",
        orientation="squared difference, larger where memorized",
        nfe="100n",
        arxiv="2605.26756",
        code="https://github.com/Gwangho99/mem-curv-diff",
    )

    @property
    def component_names(self) -> Sequence[str]:
        return [component_name("last_step/score_difference", LAST, GUIDED)]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        t = At.parse(LAST).timestep(model)
        needs = {Conditional(t, GUIDED), Unconditional(t, GUIDED)}
        name = self.component_names[0]
        return [Component(name, needs, lambda e: squared_difference(e, t))]

    def combine(self, recorded: Recorded) -> Array:
        return recorded.mean(self.component_names[0], self.n)
