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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Detector,
    Info,
    Recorded,
    along,
    component_name,
    flat_norm,
)
from anisomem.detection.needs import STEPS, After, Conditional, Evaluations

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel


@dataclass
class BrokenMemories(Detector):
    """The largest deviation of an update's norm, in standard deviations of the references."""

    info = Info(
        title="Broken Memories: Detecting and Mitigating Memorization in Diffusion Models with "
        "Degraded Generations",
        authors="Huang, Zhang, Chen, Li, Hong, You and Yang",
        venue="KDD",
        year=2026,
        needs="the latents of a guided trajectory, also those of reference prompts",
        orientation="deviation of the update's norm, larger where memorized",
        nfe="100n",
        arxiv="2605.22050",
    )
    uses_references = True

    @property
    def component_names(self) -> Sequence[str]:
        return [component_name("huang/update", *place) for place in along(STEPS)]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        found = []
        for name, (at, latents) in zip(self.component_names, along(STEPS), strict=True):
            t = At.parse(at).timestep(model)
            compute = partial(_update, t=t, latents=latents)
            found.append(Component(name, {Conditional(t, latents), After(t)}, compute))
        return found

    def combine(self, recorded: Recorded) -> Array:
        deviations = []
        for name in self.component_names:
            ordinary = recorded.references[name][:, : self.n]
            distance = np.abs(recorded.samples(name, self.n) - ordinary.mean())
            deviations.append(distance / ordinary.std(ddof=1))
        score: Array = np.max(deviations, axis=0).mean(axis=1)
        return score


def _update(evaluations: Evaluations, t: float, latents: str) -> Tensor:
    """Length of the step at ``t``, ``[B]``."""
    return flat_norm(evaluations.after(t) - evaluations.conditional(t, latents).x)
