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
from typing import TYPE_CHECKING, Annotated, Literal

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
from anisomem.detection.options import Count, Whole
from anisomem.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def tiled_distances(pictures: Tensor, grid: int) -> Tensor:
    """Distances of all pairs of pictures, uint8 ``[n, H, W, 3]`` to ``[n (n - 1) / 2]``.

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
    """

    info = Info(
        papers.CARLINI,
        "pictures at the end of guided trajectories",
        "distance",
        memorized="smaller",
    )
    n: Annotated[int, Whole(2)] = 4
    grid: Count = 4
    pairs: Literal["mean", "min"] = "mean"

    def components(self) -> Components:
        name = component_name(f"carlini/tiled_l2_{self.pairs}", f"{self.grid}x{self.grid}")
        compute = partial(_aggregated, grid=self.grid, pairs=self.pairs)
        return [AcrossSamples(name, [Picture()], lambda picture: picture, compute)]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n)


def _aggregated(pictures: Sequence[Tensor], grid: int, pairs: str) -> Tensor:
    """``[B]`` from n times ``[B, H, W, 3]``; 0 where there is no pair yet."""
    import torch

    if len(pictures) == 1:
        return torch.zeros(len(pictures[0]))
    # One prompt at a time: in float32, all pictures of a batch together take gigabytes.
    distances = [tiled_distances(torch.stack(own), grid) for own in zip(*pictures, strict=True)]
    together = torch.stack(distances)
    return together.mean(dim=1) if pairs == "mean" else together.amin(dim=1)
