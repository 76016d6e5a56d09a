r"""Moves the initial noise to where the prompt pulls less, so that guidance may begin early.

Han, Kim, Joo, Hong & Lee, NeurIPS 2025 (arXiv 2510.08625), with :math:`d(x) = c - u` of the raw
outputs at the first timestep. ``InitialNoise`` is the batch-wise method, a few steps against
sharpness without a gradient of the network,

.. math:: x \leftarrow x - \gamma \Bigl[ d\Bigl(x + \rho \frac{d(x)}{\|d(x)\|}\Bigr) - d(x) \Bigr],

and then the first ``unguided`` steps of the trajectory are not guided. ``NoiseDescent`` is the
per-sample one: AdamW on :math:`\|d(x)\|_2` until it is not above a target, guided from the start.

Published (hygnhan/init_noise_diffusion_memorization) for Stable Diffusion v1.4: rho 50, gamma 0.7,
2 iterations, 5 unguided steps; learning rate 0.01, target 0.9, at most 1,000 steps. rho is a
length in the latents and belongs to their size (noise of 4 x 64 x 64 is 128 long), the target to a
model. In that code a step whose number is not above 4 is unguided, from 0 on. Rows do not see each
other in either method, whatever their names say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anisomem import papers
from anisomem.detection.base import flat_norm
from anisomem.mitigation.base import (
    Effort,
    Mitigated,
    Mitigation,
    require_count,
    require_number,
)
from anisomem.mitigation.descent import Descent
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass(frozen=True)
class AfterSteps:
    """No guidance in the first steps.

    Attributes:
        count: How many.
    """

    count: int

    def start(self, guidance: float) -> Callable[[float, float], float]:
        """The scale of each step in turn."""
        done = 0

        def scale(t: float, norm: float) -> float:
            nonlocal done
            done += 1
            return guidance if done > self.count else 0.0

        return scale


class Pull:
    """The guidance at the first timestep, as a function of the noise.

    Arguments:
        model: The model that is sampled.
        prompts: The encoded prompts, B of them.
    """

    def __init__(self, model: DiffusionModel, prompts: Conditioning) -> None:
        self.model, self.prompts, self.empty = model, prompts, model.encode([""])
        self.t = model.timesteps()[0]

    def __call__(self, x: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """``c - u`` of the raw outputs at the noise of some rows, ``[b, C, H, W]``."""
        both = Conditioning.cat([self.empty[[0] * len(x)], self.prompts[rows]])
        output = self.model.predict(torch.cat([x, x]), self.t, both).output
        return output[len(x) :] - output[: len(x)]


@dataclass
class InitialNoise(Mitigation):
    """Steps against the sharpness of the guidance, the batch-wise method.

    Arguments:
        rho: How far the perturbed noise is, in the latents' unit.
        gamma: The length of a step.
        iterations: How many.
        unguided: The first steps of the trajectory that are not guided.

    Raises:
        UserError: A value out of range.
    """

    paper = papers.HAN
    rho: float = 50
    gamma: float = 0.7
    iterations: int = 2
    unguided: int = 5

    def __post_init__(self) -> None:
        require_number("rho", self.rho)
        require_number("gamma", self.gamma, allowed=True)
        require_count("iterations", self.iterations)
        require_count("unguided", self.unguided, 0)

    @property
    def width(self) -> int:
        return 2

    @property
    def most(self) -> Effort:
        return Effort(nfe=4 * self.iterations, iterations=self.iterations)

    @torch.no_grad()
    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        prompts = model.encode(texts)
        pull, moved = Pull(model, prompts), x
        lengths = []
        for _ in range(self.iterations):
            here = pull(moved)
            lengths.append(flat_norm(here))
            # Where the prompt says nothing there is no direction, and the noise stays.
            step = (self.rho / flat_norm(here)).nan_to_num(posinf=0)[:, None, None, None]
            there = pull(moved + step * here)
            moved = moved - self.gamma * (there - here)
        efforts = [
            Effort(4 * self.iterations, iterations=self.iterations, before=before)
            for before in lengths[0].tolist()
        ]
        guides = [AfterSteps(self.unguided)] * len(texts)
        return Mitigated(texts, prompts, moved.to(x.dtype), efforts, guides=guides)


@dataclass
class NoiseDescent(Mitigation):
    """Descends the norm of the guidance over the noise, the per-sample method.

    Arguments:
        lr, steps: Of AdamW.
        target: A row whose norm is not above it stops; None takes all steps.

    Raises:
        UserError: A value out of range, or a model without gradients.
    """

    paper = papers.HAN
    lr: float = 0.01
    steps: int = 1000
    target: float | None = 0.9

    def __post_init__(self) -> None:
        self.descent = Descent("adamw", self.lr, self.steps, self.target)

    @property
    def width(self) -> int:
        return 2

    @property
    def most(self) -> Effort:
        return self.descent.most(2)

    def require(self, model: DiffusionModel) -> None:
        model.require(Capability.DERIVATIVES, f"{self.name} needs them")

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        prompts = model.encode(texts)
        pull = Pull(model, prompts)
        precise = x.to(torch.promote_types(x.dtype, torch.float32))

        def norm(noise: Tensor, rows: Tensor) -> Tensor:
            return flat_norm(pull(noise, rows))

        kept, efforts = self.descent(precise, norm, 2)
        return Mitigated(texts, prompts, kept.to(x.dtype), efforts)
