r"""What a model has learned since an earlier checkpoint, at the last step of a guided trajectory.

.. math:: \Delta s_{\tilde\theta} = \frac1{HW} \sum_{\text{positions}} \sum_{\text{channels}}
        \bigl(s_c(x_t, t) - \tilde s_c(x_t, t)\bigr)^2, \qquad
    \Delta h_{\tilde\theta} = \frac1{HW} \sum_{\text{positions}}
        \max\Bigl(0, \sum_{\text{channels}}
        \operatorname{diag}(J_{\varepsilon_c} - J_{\tilde\varepsilon_c})\Bigr),

where the tilde is of a less trained model, ``baseline_model.path``, both with the prompt and at
the latents of the model itself. The early-checkpoint form of Kim & Lee, ICML 2026 (arXiv
2605.26756), whose other form, which compares with no prompt, is ``last_step``: the same step,
guidance, scores, 16 probes and spatial mean. They take Stable Diffusion v1.1 for v1.4, and v2-base
for v2.1-base. The unit is one over that of the latents, squared, and the curvature has none.

The paper finds *where* a picture is memorized; the mean over positions as a detector is in the
released code (Gwangho99/mem-curv-diff, commit 706fc29), and no detection AUC of it is known to us.
That code gives the earlier network the states of the model's own text encoder. Here each model
encodes the prompt itself, which is the same where the encoder was frozen, as in Stable Diffusion,
and not where it was tuned too. It has v multiply the transposed Jacobian, which has the same
diagonal.
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
    squared_score_difference,
)
from anisomem.detection.needs import GUIDED, STEPS, Conditional, Curvature
from anisomem.detection.of_baseline import OfBaseline
from anisomem.detection.options import Count
from anisomem.detection.places import LAST

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class EarlierScore(Detector):
    """The score less an earlier checkpoint's, as one number."""

    info = Info(
        papers.KIM_LEE,
        "predictions with prompt of two models at the last step of a guided trajectory",
        "squared difference",
    )

    def components(self) -> Components:
        need = Conditional(LAST, GUIDED)
        name = component_name("earlier_checkpoint/score_difference", LAST, GUIDED)
        return [Component(name, [need, OfBaseline(need)], squared_score_difference)]

    def cost(self) -> Cost:
        return Cost(nfe=(2 * STEPS + 1) * self.n)


@dataclass
class EarlierCurvature(Detector):
    """The curvature less an earlier checkpoint's, as one number.

    Arguments:
        probes: Directions of the estimate of a diagonal.
    """

    info = Info(
        papers.KIM_LEE,
        "directional derivatives of two models at the last step of a guided trajectory",
        "difference of curvature",
    )
    probes: Count = 16

    def components(self) -> Components:
        need = Curvature(LAST, GUIDED, probes=self.probes)
        name = component_name(
            "earlier_checkpoint/curvature_difference", str(self.probes), LAST, GUIDED
        )
        return [Component(name, [need, OfBaseline(need)], larger)]

    def cost(self) -> Cost:
        return Cost(nfe=(2 * STEPS + 1) * self.n, jvps=2 * self.probes * self.n)


def larger(curvature: Tensor, earlier: Tensor) -> Tensor:
    """By how much a map exceeds another where it does, ``[B, H, W]`` to ``[B]``."""
    return (curvature - earlier).relu().mean(dim=(1, 2))
