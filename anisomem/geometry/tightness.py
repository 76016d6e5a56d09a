"""How much of the alignment the theorem explains, over a grid of Gaussian pairs.

Without a prompt the data is a Gaussian of mean 0 and mean variance 1 whose covariance has a given
condition number. With the prompt its standard deviations are multiplied by the *shrinkage*, and
its mean is the *displacement* times a picture drawn from the data: a displacement of 1 with a
small shrinkage is a memorized, typical picture. Scores are read on pure noise at low noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch

from anisomem.geometry.closed import Mixture
from anisomem.geometry.dials import DIMENSIONS, LOW
from anisomem.geometry.theorem import terms
from anisomem.models.schedule import DDIMSchedule, stable_diffusion_ddim

DISPLACEMENTS = (0.0, 0.03, 0.1, 0.3, 0.5, 0.7, 1.0, 1.5)
SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 0.5, 0.8)
CHIS = (1.0, 10.0, 1000.0)
PICTURES, POINTS = 8, 200
ROUNDING = 1e-9


@dataclass(frozen=True)
class Cell:
    """Means over pictures and points.

    Attributes:
        displacement, shrinkage, chi: Where.
        cosine: Between guidance and score.
        r: The r of the theorem.
        speaks: Share of points with r < 1.
        sharp, paper: The bounds, no less than -1, where r is 1 or more -1.
        violations: Points at which the cosine is below a bound or the bounds are out of order.
    """

    displacement: float
    shrinkage: float
    chi: float
    cosine: float
    r: float
    speaks: float
    sharp: float
    paper: float
    violations: int


def grid(seed: int = 0) -> list[Cell]:
    """All cells; the seed's draws are behind all alike."""
    return [_cell(*place, seed) for place in product(DISPLACEMENTS, SHRINKAGES, CHIS)]


def _cell(displacement: float, shrinkage: float, chi: float, seed: int) -> Cell:
    generator = torch.Generator().manual_seed(seed)
    schedule = DDIMSchedule(stable_diffusion_ddim())
    alpha, sigma = (float(scale) for scale in schedule.scales(torch.tensor([LOW])))
    spread = torch.logspace(0, 1, DIMENSIONS, base=chi, dtype=torch.float64)
    covariance = torch.diag(spread / spread.mean())
    data = Mixture.uniform(torch.zeros(1, DIMENSIONS), covariance[None])
    pictures = data.sample(PICTURES, generator)
    shape = (POINTS, DIMENSIONS)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    computed = []
    for picture in pictures:
        prompted = Mixture.uniform(displacement * picture[None], shrinkage**2 * covariance[None])
        computed.append(terms(data, prompted, alpha, sigma, x))
    cosine, r = (torch.cat([getattr(t, name) for t in computed]) for name in ("cosine", "r"))
    sharp, paper = (
        torch.where(r < 1, torch.cat([getattr(t, name) for t in computed]), -1.0)
        for name in ("sharp", "paper")
    )
    wrong = (cosine < sharp - ROUNDING) | (sharp < paper - ROUNDING)
    means = {"cosine": cosine, "r": r, "speaks": (r < 1).double(), "sharp": sharp, "paper": paper}
    return Cell(
        displacement,
        shrinkage,
        chi,
        **{name: float(values.mean()) for name, values in means.items()},
        violations=int(wrong.sum()),
    )
