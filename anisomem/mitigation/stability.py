r"""Keeps a trajectory where those of ordinary prompts are: the stability clamp of Broken Memories.

Huang et al., KDD 2026 (arXiv 2605.22050). Over ordinary prompts, sampled as always, the norms of
the latents :math:`z_i` after step i and of the update :math:`\delta_i = z_i - z_{i-1}` have means
and standard deviations. Each step is then corrected, first its update, then its latents,

.. math:: z_i \leftarrow z_{i-1} + \kappa(\delta_i), \qquad z_i \leftarrow \kappa(z_i), \qquad
    \kappa(v) = v\, \frac{\min(\max(\|v\|, \mu - g s), \mu + g s)}{\|v\|}

with each norm's own :math:`\mu` and s in that step. The next step starts from what is corrected.

No code is released that we know of, and the paper was at hand second hand alone. Uncertain are:
the order of the two; g, which is ``deviations`` here; and a milder first stage that is said to
rescale the predicted data to the mean norm of ordinary prompts, which is left out here. The paper
samples with PNDM, we with DDIM. The ordinary prompts are those of the detector
``broken_memories``, 50 in the paper (``count``); sampling them is a cost of the run, not of a
prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from anisomem import papers
from anisomem.detection.base import flat_norm
from anisomem.engine.batches import Batches
from anisomem.errors import UserError
from anisomem.mitigation.base import (
    Effort,
    Mitigated,
    Mitigation,
    Ordinary,
    Steer,
    require_count,
    require_number,
)
from anisomem.models.conditioning import Conditioning
from anisomem.models.trajectory import Step

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

LEAST = 2  # prompts that have a standard deviation


@dataclass(frozen=True, eq=False)
class Region:
    """The norms of ordinary prompts' latents and updates, step by step.

    Attributes:
        mean, deviation: Of the updates and of the latents, ``[2, steps]``.
        steps, guidance: How the prompts were sampled.
    """

    mean: Tensor
    deviation: Tensor
    steps: int
    guidance: float

    @classmethod
    @torch.no_grad()
    def of(cls, model: DiffusionModel, ordinary: Ordinary) -> Region:
        """The region of some prompts, each on the noise of its seed."""

        def part(rows: slice) -> Tensor:
            texts, seeds = ordinary.texts[rows], ordinary.seeds[rows]
            x = torch.cat([model.initial_noise(seed, 1) for seed in seeds]).to(model.device)
            given = model.encode(texts), ordinary.steps, ordinary.guidance
            norms = [
                torch.stack([flat_norm(step.after - step.conditional.x), flat_norm(step.after)])
                for step in model.trajectory(x, *given)
            ]
            return torch.stack(norms, dim=2).cpu().double()  # [2, b, steps]

        norms = torch.cat(Batches(model).in_batches(len(ordinary.texts), part, 2), dim=1)
        if not norms.isfinite().all():
            raise UserError("the model returns NaN or infinity for ordinary prompts")
        return cls(norms.mean(1), norms.std(1), ordinary.steps, ordinary.guidance)

    def bounds(self, deviations: float) -> tuple[Tensor, Tensor]:
        """The smallest and the largest norms that are allowed, ``[2, steps]``."""
        away = deviations * self.deviation
        return (self.mean - away).clamp(min=0), self.mean + away


@dataclass(frozen=True)
class Clamped(Steer):
    """A row whose updates and latents are kept in a region.

    Attributes:
        region: The region.
        deviations: Its half width in standard deviations.
    """

    region: Region
    deviations: float

    @classmethod
    def sample(
        cls,
        steers: Sequence[Self],
        model: DiffusionModel,
        x: Tensor,
        conditioning: Conditioning,
        num_steps: int,
        guidance: float,
    ) -> Tensor:
        for one in {steer.region for steer in steers}:
            if (one.steps, one.guidance) != (num_steps, guidance):
                raise ValueError(
                    f"the ordinary prompts were sampled in {one.steps} steps with guidance "
                    f"{one.guidance:g}, these rows in {num_steps} with {guidance:g}"
                )
        bounds = [steer.region.bounds(steer.deviations) for steer in steers]
        low, high = (torch.stack(side) for side in zip(*bounds, strict=True))
        done = 0

        def correct(step: Step) -> Tensor:
            nonlocal done
            before, at = step.conditional.x, (..., done)
            (low_u, low_z), (high_u, high_z) = low[at].T, high[at].T
            done += 1
            update = _within(step.after - before, low_u, high_u)
            return _within(before + update, low_z, high_z)

        return model.sample(x, conditioning, num_steps, guidance, correct=correct)


def _within(vectors: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Vectors whose norms are brought to the nearest allowed one, ``[n, C, H, W]``.

    Arguments:
        vectors: ``[n, C, H, W]``; one of length 0 has no direction and stays.
        low, high: The norms that are allowed, ``[n]``.
    """
    norms = flat_norm(vectors)
    allowed = torch.minimum(torch.maximum(norms, low.to(norms)), high.to(norms))
    factor = torch.where(norms > 0, allowed / norms, 1)
    return vectors * factor[:, None, None, None]


@dataclass
class StabilityClamp(Mitigation):
    """Clamps latents and updates to the norms of ordinary prompts.

    Arguments:
        deviations: The region's half width in standard deviations; 0 leaves the mean alone.
        count: Ordinary prompts that the region comes from.

    Raises:
        UserError: A value out of range, or too few ordinary prompts.
    """

    paper = papers.HUANG
    deviations: float = 2.0
    count: int = 50
    _region: Region | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_number("deviations", self.deviations, allowed=True)
        require_count("count", self.count, LEAST)

    @property
    def uses_ordinary(self) -> bool:
        return True

    def ready(self, model: DiffusionModel, ordinary: Ordinary) -> StabilityClamp:
        """The mitigation with the region of the first of the ordinary prompts.

        Raises:
            UserError: There are fewer, or the model fails on one.
        """
        if len(ordinary.texts) < self.count:
            raise UserError(
                f"{self.name} asks for {self.count} ordinary prompts, and there are "
                f"{len(ordinary.texts)}; give references.count={self.count}, or "
                f"mitigation.{self.name}.count={max(LEAST, len(ordinary.texts))}"
            )
        few = Ordinary(
            ordinary.texts[: self.count],
            ordinary.seeds[: self.count],
            ordinary.steps,
            ordinary.guidance,
        )
        ready = copy(self)
        ready._region = Region.of(model, few)
        return ready

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        if self._region is None:
            raise UserError(f"{self.name} has no region yet; give ready() ordinary prompts")
        guides = [Clamped(self._region, self.deviations)] * len(texts)
        efforts = [Effort() for _ in texts]
        return Mitigated(texts, model.encode(texts), x, efforts, guides=guides)
