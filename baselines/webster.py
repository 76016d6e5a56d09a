r"""What a model makes of pure noise in a single step.

Webster, *A Reproducible Extraction of Training Images from Diffusion Models*, 2023. Both attacks
read the guided prediction (7.5) at the last training timestep, where a memorized prompt already
fixes the picture.

**White box** (:class:`WebsterWhiteBox`): how far one step moves the noise,

.. math:: \frac1D \|z_0 - D_w(z_0)\|_2^2, \qquad z_0 = x_T / \alpha_T

in the variance-exploding coordinates z = x / alpha of the released code, :math:`D_w` the guided
prediction of the data, D the numbers in a latent; averaged over noise samples. With
:math:`z_0 - \hat x_0 = (\sigma/\alpha)\,\hat\varepsilon` it is
:math:`(\sigma_T/\alpha_T)^2 \|\hat\varepsilon_w\|_2^2 / D`, which is how it is computed here. Its
unit is that of the latents, squared. The released code hands the network
:math:`\sigma_\max \varepsilon / \sqrt{\sigma_\max^2 + 1}` with
:math:`\sigma_\max = \sigma_T/\alpha_T \approx 14.6`, which is 0.998 of the noise; here it is the
noise itself, as for every other detector.

**Black box** (:class:`WebsterBlackBox`): whether the pictures of several seeds have the same
edges. Each picture is resized to 256 x 256 (Lanczos), scaled to [0, 1], and
:math:`\sum_\text{RGB} \sqrt{S_0^2 + S_1^2} > 1.5`, with S the Sobel filter along each side, marks
an edge. As in the released code the filter is given all three channels at once, so scipy smooths
across them as well: a step of 1/32 in grey is an edge, where it would be 1/8 with each channel
filtered on its own. The score is the share of pixels, from 0 to 1, that are edges in more than
half of the seeds (of four in the released code: in three).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anisomem import papers
from anisomem.detection.base import (
    AcrossSamples,
    Component,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
)
from anisomem.detection.needs import OneStepPicture, pair
from anisomem.detection.places import At
from anisomem.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel
    from anisomem.models.prediction import Prediction

GUIDANCE = 7.5
EDGE = 1.5  # summed over RGB
SIDE = 256


@dataclass
class WebsterWhiteBox(Detector):
    """The distance that one guided step covers."""

    info = Info(papers.WEBSTER, "predictions with and without prompt on pure noise", "distance")
    at: At = At("t:999")

    def require_of(self, model: DiffusionModel) -> None:
        import torch

        t = self.at.timestep_in(model)
        if not model.scales(torch.tensor([t]))[0].item():
            raise UserError(
                f"Webster's white box divides by alpha, which is 0 at timestep {t} of this model; "
                f"give a later step, detector.{self.name}.at=step:1"
            )

    def components(self) -> Components:
        return [Component(component_name("webster/white", self.at), pair(self.at), distance)]

    def cost(self) -> Cost:
        return Cost(nfe=2 * self.n)


def distance(c: Prediction, u: Prediction) -> Tensor:
    """How far one step moves the noise, squared, over D, ``[B]``."""
    guided = u.guided(c, GUIDANCE)
    ratio = (guided.sigma / guided.alpha).to(guided.output)
    return ratio**2 * guided.epsilon.square().mean(dim=(1, 2, 3))


def edges(pictures: Tensor) -> Tensor:
    """Where pictures have edges, uint8 ``[B, H, W, 3]`` to bool ``[B, 256, 256]``."""
    import torch
    from PIL import Image
    from scipy.ndimage import sobel

    maps = []
    for picture in pictures.cpu().numpy():
        small = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        values = np.asarray(small, np.float32) / 255
        magnitude = np.hypot(sobel(values, axis=0), sobel(values, axis=1))
        maps.append(torch.from_numpy(magnitude.sum(axis=2) > EDGE))
    return torch.stack(maps)


def shared_by_most(maps: Sequence[Tensor]) -> Tensor:
    """Share of pixels set in more than half of the maps, bool ``[B, H, W]`` each, ``[B]``."""
    import torch

    votes = torch.stack(list(maps)).sum(dim=0)
    return (votes > len(maps) / 2).double().mean(dim=(1, 2))


@dataclass
class WebsterBlackBox(Detector):
    """Edges that one-step pictures of several seeds have in common.

    Arguments:
        n: The number of noise seeds.
        at: The step's timestep.
    """

    info = Info(
        papers.WEBSTER, "pictures of one guided step from pure noise", "share of common edges"
    )
    n: int = 4
    at: At = At("t:999")

    def components(self) -> Components:
        name = component_name("webster/black", self.at)
        return [AcrossSamples(name, [OneStepPicture(self.at)], edges, shared_by_most)]

    def cost(self) -> Cost:
        return Cost(nfe=2 * self.n)
