r"""Bright Ending: the guidance norm where the end of the text is attended to at the end.

.. math:: \frac1k \sum_{i<k} \frac{\|(c_{t_i} - u_{t_i}) \odot m\|_2}{\operatorname{mean}(m)}

The mask :math:`m` is the cross-attention to the end-of-text token at the last of 50 guided steps,
averaged over heads and over the down-sampling layers of the highest resolution, soft and not
thresholded; all steps share it. Memorized regions are bright in it. Chen et al., ICLR 2025.

The released code (chenchen-usyd/BE-PRSS) generates twice, for the mask and for the norm; one
trajectory whose differences are kept gives the same. It reads layers of 64 x 64 positions and 8
heads; here any resolution serves, and a mask of fewer positions than the latents is interpolated
bilinearly. Its column is that of the first end-of-text token, at the length of the prompt (padding
repeats the token in SD v1).

``BrightMask`` scores the mask alone: its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Detector,
    Info,
    Recorded,
    Stepwise,
    flat_norm,
)
from anisomem.detection.needs import (
    GUIDED,
    STEPS,
    Conditional,
    EndAttention,
    Evaluations,
    Need,
    Unconditional,
)

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel

INFO = Info(
    title="Exploring Local Memorization in Diffusion Models via Bright Ending Attention",
    authors="Chen, Liu, Shah and Xu",
    venue="ICLR",
    year=2025,
    needs="predictions with and without prompt at k steps of a guided trajectory, and the last "
    "step's cross-attention",
    orientation="masked norm, larger where memorized",
    nfe="100n",
    arxiv="2410.21665",
    code="https://github.com/chenchen-usyd/BE-PRSS",
    licence="MIT",
)


@dataclass
class BrightEnding(Stepwise):
    """The masked norm; ``steps`` is k, and the mask needs all 50 whatever it is."""

    info = INFO
    steps: int = STEPS
    quantity = ("bright_ending/norm",)

    def at_step(
        self, model: DiffusionModel, t: float, latents: str
    ) -> tuple[Set[Need], Callable[[Evaluations], Tensor]]:
        mask = _mask(model)
        needs = {Conditional(t, latents), Unconditional(t, latents), mask}
        return needs, partial(masked_norm, t=t, latents=latents, mask=mask)


@dataclass
class BrightMask(Detector):
    """The mean of the mask."""

    info = replace(
        INFO,
        needs="the last step's cross-attention of a guided trajectory",
        orientation="attention to the end of the text, larger where memorized",
    )
    component_names = ("bright_ending/mask",)

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        mask = _mask(model)
        return [
            Component(
                self.component_names[0],
                {mask},
                lambda e: e.end_attention(mask.t, mask.latents).mean(dim=(1, 2)),
            )
        ]

    def combine(self, recorded: Recorded) -> Array:
        return recorded.mean(self.component_names[0], self.n)


def _mask(model: DiffusionModel) -> EndAttention:
    return EndAttention(At(step=-1).timestep(model), GUIDED)


def masked_norm(evaluations: Evaluations, t: float, latents: str, mask: EndAttention) -> Tensor:
    """The norm under the mask divided by the mask's mean, ``[B]``."""
    from torch.nn.functional import interpolate

    c, u = evaluations.conditional(t, latents), evaluations.unconditional(t, latents)
    difference = c.output - u.output
    m = evaluations.end_attention(mask.t, mask.latents)[:, None].to(difference)
    m = interpolate(m, difference.shape[2:], mode="bilinear")
    return flat_norm(difference * m) / m.mean(dim=(1, 2, 3))
