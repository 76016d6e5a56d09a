r"""Score difference, and difference of curvature, at the last step of a guided trajectory.

.. math:: \frac1{HW} \sum_{\text{positions}} \sum_{\text{channels}}
    \bigl(s_c(x_t, t) - s_u(x_t, t)\bigr)^2

at the last step of a 50-step DDIM trajectory with guidance 7.5 (t = 1 under Stable Diffusion's
schedule), averaged over noise samples. Kim & Lee, ICML 2026 (arXiv 2605.26756), who derive the
squared score difference as a surrogate of the difference in coordinate-wise curvature, to find
*where* a picture is memorized: their map is the sum over channels, and its spatial mean is the
detector. Scores, not raw outputs: at t = 1 an epsilon model's difference is divided by
:math:`\sigma_1 \approx 0.04`, so numbers are large. The unit is one over that of the latents,
squared.

The difference of curvature itself, what that is a surrogate of, is ``CurvatureNorm``:

.. math:: \Delta h = \frac1{HW} \sum_{\text{positions}}
    \max\Bigl(0, \sum_{\text{channels}} \operatorname{diag}(J_{\varepsilon_c} - J_{\varepsilon_u})
    \Bigr),

how much more the prompt contracts, the diagonal by Hutchinson's estimate with 16 probes. The
released code (Gwangho99/mem-curv-diff) takes predicted noise instead of the score, too, so as not
to divide by :math:`\sigma_1`, and keeps what is positive. There v multiplies the transposed
Jacobian, here the Jacobian, which has the same diagonal. Without unit.
"""

from __future__ import annotations

from dataclasses import dataclass

from anisomem import papers
from anisomem.detection.base import (
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
    squared_score_difference,
)
from anisomem.detection.needs import GUIDED, STEPS, CurvatureDifference, pair
from anisomem.detection.options import Count
from anisomem.detection.places import LAST


@dataclass
class ScoreDifference(Detector):
    """Kim and Lee's score difference, as one number."""

    info = Info(
        papers.KIM_LEE,
        "predictions with and without prompt at the last step of a guided trajectory",
        "squared difference",
    )

    def components(self) -> Components:
        name = component_name("last_step/score_difference", LAST, GUIDED)
        return [Component(name, pair(LAST, GUIDED), squared_score_difference)]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n)


@dataclass
class CurvatureNorm(Detector):
    """Kim and Lee's difference of curvature, as one number.

    Arguments:
        probes: Directions of the estimate of a diagonal.
    """

    info = Info(
        papers.KIM_LEE,
        "directional derivatives with and without prompt at the last step of a guided trajectory",
        "difference of curvature",
    )
    probes: Count = 16

    def components(self) -> Components:
        name = component_name("last_step/curvature_difference", str(self.probes), LAST, GUIDED)
        need = CurvatureDifference(LAST, GUIDED, probes=self.probes)
        return [Component(name, [need], lambda found: found.relu().mean(dim=(1, 2)))]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n, jvps=2 * self.probes * self.n)
