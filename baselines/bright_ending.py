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
    first_steps,
    flat_norm,
)
from anisomem.detection.needs import GUIDED, STEPS, EndAttention, pair
from anisomem.detection.options import Steps
from anisomem.detection.places import LAST

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.prediction import Prediction

MASK = EndAttention(LAST, GUIDED)


@dataclass
class BrightEnding(Detector):
    """The masked norm; ``steps`` is k, and the mask needs all 50 whatever it is."""

    info = Info(
        papers.CHEN,
        "predictions with and without prompt at k steps of a guided trajectory, and the last "
        "step's cross-attention",
        "masked norm",
    )
    steps: Steps = STEPS

    def components(self) -> Components:
        return [
            Component(
                component_name("bright_ending/norm", *place), (*pair(*place), MASK), masked_norm
            )
            for place in first_steps(self.steps)
        ]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n)


@dataclass
class BrightMask(Detector):
    """The mean of the mask."""

    info = Info(
        papers.CHEN,
        "the last step's cross-attention of a guided trajectory",
        "attention to the end of the text",
    )

    def components(self) -> Components:
        return [Component("bright_ending/mask", [MASK], lambda mask: mask.mean(dim=(1, 2)))]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n)


def masked_norm(c: Prediction, u: Prediction, mask: Tensor) -> Tensor:
    """The norm under the mask divided by the mask's mean, ``[B]``."""
    from torch.nn.functional import interpolate

    difference = c.output - u.output
    m = interpolate(mask[:, None].to(difference), difference.shape[2:], mode="bilinear")
    return flat_norm(difference * m) / m.mean(dim=(1, 2, 3))
