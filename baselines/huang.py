r"""Broken Memories: latent updates that leave the range of ordinary generations.

.. math:: \max_t \frac{\bigl|\,\|z_t - z_{t+1}\|_2 - \mu_t\bigr|}{s_t}

over the 50 steps of a guided DDIM trajectory, with mean :math:`\mu_t` and standard deviation
:math:`s_t` of the same norm over reference prompts, averaged over noise samples. Huang et al., KDD
2026. No code is released that we know of.

The references (50 in the paper) are no prompts of the evaluated set; ``references`` of the
configuration says where they come from. Their norms are pooled over the noise samples, and
:math:`s_t` has one degree of freedom less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    first_steps,
    flat_norm,
)
from anisomem.detection.needs import STEPS, After, Conditional

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.prediction import Prediction


@dataclass
class BrokenMemories(Detector):
    """The largest deviation of an update's norm, in standard deviations of the references."""

    info = Info(
        papers.HUANG,
        "the latents of a guided trajectory, also those of reference prompts",
        "deviation of the update's norm",
    )
    uses_references = True

    def components(self) -> Components:
        return [
            Component(
                component_name("huang/update", at, latents),
                (Conditional(at, latents), After(at)),
                update,
            )
            for at, latents in first_steps(STEPS)
        ]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n)

    def combine(self, recorded: Recorded) -> Array:
        deviations = []
        for name in self.component_names:
            ordinary = recorded.references[name][:, : self.n]
            distance = np.abs(recorded.samples(name, self.n) - ordinary.mean())
            deviations.append(distance / ordinary.std(ddof=1))
        score: Array = np.max(deviations, axis=0).mean(axis=1)
        return score


def update(before: Prediction, after: Tensor) -> Tensor:
    """Length of a step from the latents of a prediction to those after it, ``[B]``."""
    return flat_norm(after - before.x)
