r"""A family of closed-form models with a dial for anisotropy and one for memorization.

Each prompt selects a component of a Gaussian mixture in d dimensions. All within-component
covariances share their eigenvectors and have eigenvalues in equal ratios with a *condition
number* :math:`\chi` and a mean of 1/2; the means have the same covariance, so that the data has
unit variance. Of a memorized component, every second one, nothing is left but one of its pictures
:math:`m + z` and what is near it: its covariance is multiplied by the squared *shrinkage* s and
its mean is :math:`m + \sqrt{1 - s^2}\,z`, which leaves the data's variance alone. 1 is no
memorization, 0 a point.

Nothing here is learned: what fails fails by geometry and not by a network's error.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anisomem.evaluation import Evaluation, Summary
from anisomem.geometry.closed import Mixture
from anisomem.models.schedule import DDIMSchedule, stable_diffusion_ddim

Array = npt.NDArray[np.float64]

CONDITION_NUMBERS = (1.0, 10.0, 100.0, 1e3, 1e4)
SHRINKAGES = (1.0, 0.7, 0.5, 0.3, 0.1, 0.03)
INPUTS = ("noise", "noised")
MEASURES = ("norm", "HVP", "cosine", "cosine at equal length")
HIGH, LOW = 981, 41  # timesteps
DIMENSIONS, COMPONENTS, SAMPLES = 32, 120, 4
DRAWS = 1_000


@dataclass(frozen=True)
class Dials:
    """The positions of the two dials."""

    condition_number: float
    shrinkage: float


def family(setting: Dials, generator: torch.Generator) -> tuple[Mixture, Array]:
    """The mixture, and which components are memorized ``[K]``."""
    spread = torch.logspace(0, 1, DIMENSIONS, base=setting.condition_number, dtype=torch.float64)
    spread = spread / spread.mean() / 2
    square = torch.randn(DIMENSIONS, DIMENSIONS, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(square).Q
    within = basis * spread @ basis.T
    memorized = torch.arange(COMPONENTS) % 2 == 0
    shrinkage = torch.ones(COMPONENTS, dtype=torch.float64)
    shrinkage[memorized] = setting.shrinkage
    white = torch.randn(2, COMPONENTS, DIMENSIONS, generator=generator, dtype=torch.float64)
    means, pictures = white * spread.sqrt() @ basis.T
    means = means + (1 - shrinkage.square()).sqrt()[:, None] * pictures
    mixture = Mixture.uniform(means, shrinkage.square()[:, None, None] * within)
    return mixture, memorized.numpy().astype(np.int64)


def scores(mixture: Mixture, t: int, on: str, generator: torch.Generator) -> dict[str, Array]:
    """Every measure of every component at a timestep, ``[K]`` each; means over noise samples.

    Arguments:
        mixture: The mixture, not noised.
        t: The timestep of the noise.
        on: ``noise``, which all components share, or ``noised`` for noised samples of each.
        generator: The generator of the points.
    """
    schedule = DDIMSchedule(stable_diffusion_ddim())
    alpha, sigma = (float(scale) for scale in schedule.scales(torch.tensor([t])))
    whole, k, d = mixture.noised(alpha, sigma), *mixture.means.shape
    noise = torch.randn(1, SAMPLES, d, generator=generator, dtype=torch.float64).expand(k, -1, -1)
    if on == "noised":
        own = [mixture.component(i).sample(SAMPLES, generator) for i in range(k)]
        noise = alpha * torch.stack(own) + sigma * noise
    x, chosen = noise.reshape(-1, d), torch.arange(k).repeat_interleave(SAMPLES)
    u, guidance = whole.score(x), whole.guidance(x, chosen)
    c = u + guidance
    cosine = _unit(u) * _unit(guidance)
    turned = _unit(c) - _unit(u)
    scores_by_name = {
        "norm": guidance.norm(dim=1),
        "HVP": whole.curvature_of_guidance(x, chosen, guidance).norm(dim=1),
        "cosine": cosine.sum(1),
        "cosine at equal length": -turned.norm(dim=1) / 2,
    }
    return {name: v.reshape(k, SAMPLES).mean(1).numpy() for name, v in scores_by_name.items()}


def _unit(vectors: Tensor) -> Tensor:
    """Vectors scaled to length 1, however short; 0 stays 0."""
    largest = vectors.abs().amax(1, keepdim=True).clamp(min=1e-300)
    return torch.nn.functional.normalize(vectors / largest, dim=1)


@dataclass(frozen=True)
class Record:
    """The AUC of a measure at a setting, with its 95% interval over components."""

    condition_number: float
    shrinkage: float
    measure: str
    t: int
    on: str
    auc: float
    low: float
    high: float


def grid(seed: int = 0) -> list[Record]:
    """Every measure over the dials; the seed's draws are behind all settings alike."""
    records = []
    for condition_number, shrinkage in product(CONDITION_NUMBERS, SHRINKAGES):
        setting = Dials(condition_number, shrinkage)
        for place, summary in summaries(setting, seed).items():
            area = summary.auc
            ends = area.interval.low, area.interval.high
            records.append(Record(condition_number, shrinkage, *place, area.value, *ends))
    return records


def summaries(setting: Dials, seed: int = 0) -> dict[tuple[str, int, str], Summary]:
    """Summaries of the two labels by measure, timestep and input."""
    generator = torch.Generator().manual_seed(seed)
    mixture, labels = family(setting, generator)
    named = {
        (name, t, on): values
        for t in (HIGH, LOW)
        for on in INPUTS
        for name, values in scores(mixture, t, on, generator).items()
    }
    stacked = np.array(list(named.values()))[:, None]
    evaluation = Evaluation(stacked, labels, np.arange(COMPONENTS), [0.1], DRAWS)
    return dict(zip(named, evaluation.summaries(), strict=True))
