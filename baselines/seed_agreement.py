r"""How alike the pictures of a prompt are, over seeds.

.. math:: \binom{n}{2}^{-1} \sum_{i < j} S(x_i, x_j)

over the decoded ends of n trajectories of 50 steps with guidance 7.5. Verma et al. 2026
(arXiv 2610.11670) define it with S the cosine of SSCD descriptors and n = 4, to follow how chains
of noising and denoising collapse; they report no AUC of it, so that it detects is this project's
reading. ``similarity`` chooses S:

- ``ssim``: structural similarity, mean over places and colours (Wang et al., 2004).
- ``l2``: one minus the root-mean-square difference of colours in [0, 1]; it orders prompts as
  ``tiled_l2`` with ``grid=1`` does.
- ``sscd``: the paper's, with weights that have to be downloaded, 169 MB (see docs/measures.md):
  ``detector.seed_agreement.similarity=sscd detector.seed_agreement.sha256=DIGEST``.

All are 1 for equal pictures, from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt

from anisomem import papers
from anisomem.detection.base import (
    AcrossSamples,
    Components,
    Cost,
    Detector,
    Info,
    component_name,
)
from anisomem.detection.needs import STEPS, Picture
from anisomem.detection.options import Whole
from anisomem.errors import UserError
from anisomem.measures.pixels import TAPS, Structure, rms
from anisomem.measures.sscd import Descriptor
from anisomem.measures.weights import WeightsFile
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel

Pictures = npt.NDArray[np.uint8]  # [n, H, W, 3]
PUBLISHED = "https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_large.torchscript.pt"


@dataclass
class SeedAgreement(Detector):
    """Mean similarity over pairs of a prompt's pictures.

    Arguments:
        n: Pictures of a prompt, at least 2.
        similarity: ``ssim``, ``l2`` or ``sscd``, see the module.
        weights: SSCD's, a path or an ``https://`` address.
        sha256: The sha256 of its bytes; only ``sscd`` needs it.
        convention: How SSCD's input is prepared, see :mod:`anisomem.measures.sscd`.

    Raises:
        UserError: ``sscd`` without the sha256 of its weights.
    """

    info = Info(
        papers.VERMA,
        "pictures at the end of guided trajectories",
        "similarity",
    )
    n: Annotated[int, Whole(2)] = 4
    similarity: Literal["ssim", "l2", "sscd"] = "ssim"
    weights: str = PUBLISHED
    sha256: str = ""
    convention: Literal["membench", "jeon", "nemo"] = "membench"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.similarity == "sscd":
            if not self.sha256:
                raise UserError(
                    f"similarity=sscd runs the program in {self.weights}; give its digest, "
                    f"detector.{self.name}.sha256=DIGEST, see docs/measures.md"
                )
            WeightsFile(self.weights, self.sha256)

    def components(self) -> Components:
        choices = (self.sha256, self.convention) if self.similarity == "sscd" else ()
        name = component_name(f"seed_agreement/{self.similarity}", *choices)
        return [AcrossSamples(name, [Picture()], lambda picture: picture, self._agreement)]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n)

    def require_of(self, model: DiffusionModel) -> None:
        if self.similarity == "sscd" and "://" not in self.weights:
            WeightsFile(self.weights, self.sha256).read()  # before anything is generated
        if self.similarity == "ssim" and Capability.ENCODER in model.capabilities:
            height, width = model.picture_size
            if min(height, width) < TAPS:
                raise UserError(
                    f"{self.name}: SSIM needs pictures of {TAPS} px a side, got {width}×{height}; "
                    f"give detector.{self.name}.similarity=l2"
                )

    def _agreement(self, pictures: Sequence[Tensor]) -> Tensor:
        """``[B]`` from n times ``[B, H, W, 3]``; 0 where there is no pair yet."""
        import torch

        if len(pictures) == 1:
            return torch.zeros(len(pictures[0]))
        own = torch.stack(list(pictures), dim=1).numpy()
        return torch.tensor([np.mean(self._pairs(one)) for one in own])

    def _pairs(self, pictures: Pictures) -> Sequence[float]:
        """The similarity of every pair of a prompt's pictures."""
        match self.similarity:
            case "ssim":
                return structural(pictures)
            case "l2":
                return coloured(pictures)
            case "sscd":
                weights = WeightsFile(self.weights, self.sha256)
                return described(pictures, descriptor(weights, self.convention))


def structural(pictures: Pictures) -> Sequence[float]:
    """SSIM of every pair."""
    each = [Structure(one[None]) for one in pictures]
    return [a.similarity(b).item() for a, b in combinations(each, 2)]


def coloured(pictures: Pictures) -> Sequence[float]:
    """One minus the root-mean-square difference of colours of every pair."""
    return [1 - rms(a, b).item() for a, b in combinations(pictures, 2)]


def described(pictures: Pictures, describe: Descriptor) -> Sequence[float]:
    """The cosine of every pair's descriptors."""
    return [float(a @ b) for a, b in combinations(describe(pictures).double(), 2)]


@cache
def descriptor(weights: WeightsFile, convention: str) -> Descriptor:
    """SSCD, loaded once in a process."""
    return Descriptor(weights, convention, "auto")
