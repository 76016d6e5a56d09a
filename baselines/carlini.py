r"""Tiled distance between the pictures that a prompt gives.

Carlini et al., *Extracting Training Data from Diffusion Models*, USENIX Security 2023: where
pictures of different seeds are near-copies of each other, the prompt is memorized. The distance of
two pictures is the largest over the tiles of a 4 x 4 grid (128 x 128 pixels each at 512 x 512), so
that a common background alone does not make them alike:

.. math:: d(a, b) = \max_\text{tiles} \sqrt{\frac1V \sum_{i \in \text{tile}} (a_i - b_i)^2}

over the V numbers of a tile, RGB in [0, 1]: the paper's L2 distance divided by the root of the
dimension, from 0 to 1. Pictures are the decoded ends of 50-step trajectories with guidance 7.5.

The paper looks for cliques of close pictures among 500 per prompt. As a detector with n = 4 or 16
(Jeon et al., ICML 2025, table 1) the distance is negated, and how the pairs are aggregated is not
specified: ``pairs="mean"`` (default) is the mean over all pairs, ``"min"`` the closest pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anisomem.detection.base import (
    AcrossSamples,
    Array,
    Detector,
    Info,
    Recorded,
    component_name,
)
from anisomem.detection.needs import Picture
from anisomem.errors import UserError, one_of

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel

PAIRS = ("mean", "min")


def tiled_distances(pictures: Tensor, grid: int) -> Tensor:
    """Between all pairs of pictures, uint8 ``[n, H, W, 3]`` to ``[n (n - 1) / 2]``.

    Raises:
        UserError: Pictures with fewer pixels than tiles along a side.
    """
    import torch

    height, width = pictures.shape[1:3]
    if min(height, width) < grid:
        raise UserError(f"a picture of {width} x {height} pixels has no grid of {grid} x {grid}")
    tiles = [
        tile.flatten(1)
        for rows in (pictures.float() / 255).tensor_split(grid, dim=1)
        for tile in rows.tensor_split(grid, dim=2)
    ]
    distances = [torch.pdist(tile) / tile.shape[1] ** 0.5 for tile in tiles]
    return torch.stack(distances).amax(dim=0)


@dataclass
class TiledL2(Detector):
    """Carlini's tiled distance, negated.

    Arguments:
        n: Pictures of a prompt, at least 2.
        grid: Tiles along each side; where it does not divide a side, tiles differ by one pixel.
        pairs: ``mean`` or ``min``, see the module.

    Raises:
        UserError: n below 2, a grid that is not a positive integer, or an unknown aggregation.
    """

    info = Info(
        title="Extracting Training Data from Diffusion Models",
        authors="Carlini, Hayes, Nasr, Jagielski, Sehwag, Tramèr, Balle, Ippolito and Wallace",
        venue="USENIX Security",
        year=2023,
        needs="pictures at the end of guided trajectories",
        orientation="distance, smaller where memorized; the score is its negative",
        nfe="100n",
        arxiv="2301.13188",
    )
    n: int = 4
    grid: int = 4
    pairs: str = "mean"

    def __post_init__(self) -> None:
        one_of("pairs", self.pairs, PAIRS)
        if self.n < 2:
            raise UserError(f"{self.name} compares pictures; n must be at least 2, got {self.n}")
        if type(self.grid) is not int or self.grid < 1:
            raise UserError(f"grid must be a positive integer, got {self.grid!r}")

    @property
    def component_names(self) -> Sequence[str]:
        return [component_name(f"carlini/tiled_l2_{self.pairs}", f"{self.grid}x{self.grid}")]

    def components(self, model: DiffusionModel) -> Sequence[AcrossSamples]:
        compute = partial(_aggregated, grid=self.grid, pairs=self.pairs)
        return [
            AcrossSamples(self.component_names[0], {Picture()}, lambda e: e.picture(), compute)
        ]

    def combine(self, recorded: Recorded) -> Array:
        return -recorded.across(self.component_names[0], self.n)


def _aggregated(pictures: Sequence[Tensor], grid: int, pairs: str) -> Tensor:
    """``[B]`` from n times ``[B, H, W, 3]``; 0 where there is no pair yet."""
    import torch

    if len(pictures) == 1:
        return torch.zeros(len(pictures[0]))
    # One prompt at a time: in float32, all pictures of a batch together take gigabytes.
    distances = [tiled_distances(torch.stack(own), grid) for own in zip(*pictures, strict=True)]
    together = torch.stack(distances)
    return together.mean(dim=1) if pairs == "mean" else together.amin(dim=1)
