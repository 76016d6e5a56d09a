r"""How sharply the prediction depends on the prompt: the norm of the condition Jacobian.

.. math:: \Bigl\| \frac{\partial \varepsilon(x_T, t_T, e)}{\partial e} \Bigr\|_F
          = \sqrt{\mathbb{E}_v \Bigl\| v^\top \frac{\partial\varepsilon}{\partial e} \Bigr\|^2},
          \qquad v \sim \mathcal{N}(0, I)

of the predicted noise by the embeddings of the prompt's tokens, on pure noise at the first step,
estimated with a few probes v and averaged over noise samples (OpenReview pY2P28M9Iv, 2026: between
the embedding of no prompt and that of a memorized one the score rises sharply only near the
latter). The released scripts take one probe; with one the estimate is rough, and ``probes`` takes
more, the same for all prompts. ``condition_jacobian/spread`` in the store is the standard
deviation over them in units of their mean.

What is uncertain: only the paper's abstract and a description of its scripts were at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from anisomem import papers
from anisomem.detection.base import (
    Array,
    Component,
    Components,
    Cost,
    Detector,
    Info,
    Recorded,
    component_name,
)
from anisomem.detection.needs import ConditionJacobian
from anisomem.detection.options import Whole
from anisomem.detection.places import FIRST, At

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


@dataclass
class ConditionNorm(Detector):
    """The Frobenius norm of the condition Jacobian.

    Arguments:
        probes: From how many random directions it is estimated.
        at: Where it is read on pure noise.
    """

    info = Info(papers.CONDITION, "the gradient of a prediction by the prompt's tokens", "norm")
    probes: Annotated[int, Whole(1)] = 1
    at: At = FIRST

    def components(self) -> Components:
        need = [ConditionJacobian(self.at, probes=self.probes)]
        names = [
            component_name(f"condition_jacobian/{quantity}", str(self.probes), self.at)
            for quantity in ("norm", "spread")
        ]
        norm = Component(names[0], need, lambda squares: squares.mean(1).sqrt())
        return [norm] if self.probes == 1 else [norm, Component(names[1], need, _spread)]

    def require_of(self, model: DiffusionModel) -> None:
        self.at.require_noise(model)

    def cost(self) -> Cost:
        return Cost(nfe=self.n, jvps=self.n * self.probes)

    def combine(self, recorded: Recorded) -> Array:
        return np.asarray(recorded.mean(self.component_names[0], self.n))


def _spread(squares: Tensor) -> Tensor:
    """The standard deviation of the probes' estimates in units of their mean, ``[B]``."""
    return squares.std(1) / squares.mean(1)
