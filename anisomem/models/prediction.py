r"""A network's output, and what it says of noise, data and score.

A noised latent is :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon` with
:math:`\varepsilon \sim \mathcal{N}(0, I)`. Variance-preserving models have
:math:`\alpha_t^2 = \bar\alpha_t` and :math:`\sigma_t^2 = 1 - \bar\alpha_t`, flow-matching models
:math:`\alpha_t = 1 - \sigma_t`. A network predicts one of four quantities (its
*parameterisation*); each determines the others given :math:`x_t`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import torch
from torch import Tensor


class Parameterisation(StrEnum):
    """What a network's output stands for, in terms of data, noise and their scales."""

    EPSILON = "epsilon"  # eps
    VELOCITY = "v_prediction"  # alpha eps - sigma x_0
    SAMPLE = "sample"  # x_0
    FLOW = "flow_prediction"  # eps - x_0


@dataclass(frozen=True)
class Prediction:
    r"""A network's output at :math:`x_t`, converted exactly to what a detector asks for.

    Conversions run in float32, or in the output's own precision where that is higher.

    Arguments:
        raw: The network's output as it came, ``[n, C, H, W]``.
        x: The latents it was evaluated at, ``[n, C, H, W]``.
        alpha, sigma: Scales of signal and noise at each row's noise level, float64 ``[n]``.
        parameterisation: What ``raw`` stands for.
    """

    raw: Tensor
    x: Tensor
    alpha: Tensor
    sigma: Tensor
    parameterisation: Parameterisation

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, rows: slice | Tensor) -> "Prediction":
        return replace(
            self,
            raw=self.raw[rows],
            x=self.x[rows],
            alpha=self.alpha[rows],
            sigma=self.sigma[rows],
        )

    def expand(self, n: int) -> "Prediction":
        """The single row repeated n times, without a copy."""
        return Prediction(
            self.raw.expand(n, -1, -1, -1),
            self.x.expand(n, -1, -1, -1),
            self.alpha.expand(n),
            self.sigma.expand(n),
            self.parameterisation,
        )

    @staticmethod
    def cat(parts: Sequence["Prediction"]) -> "Prediction":
        """All rows of all parts, in order."""
        return Prediction(
            torch.cat([p.raw for p in parts]),
            torch.cat([p.x for p in parts]),
            torch.cat([p.alpha for p in parts]),
            torch.cat([p.sigma for p in parts]),
            parts[0].parameterisation,
        )

    @cached_property
    def output(self) -> Tensor:
        """``raw`` in float32 or better, ``[n, C, H, W]``."""
        return self.raw.to(torch.promote_types(self.raw.dtype, torch.float32))

    def coefficient(self, value: Tensor) -> Tensor:
        """A per-row number as a factor of ``output``, ``[n]`` to ``[n, 1, 1, 1]``."""
        return value.to(self.output.device, self.output.dtype)[:, None, None, None]

    @cached_property
    def epsilon(self) -> Tensor:
        r"""The predicted noise :math:`\varepsilon`, ``[n, C, H, W]``."""
        alpha, sigma = self.coefficient(self.alpha), self.coefficient(self.sigma)
        match self.parameterisation:
            case Parameterisation.EPSILON:
                return self.output
            case Parameterisation.VELOCITY:
                return alpha * self.output + sigma * self.x
            case Parameterisation.SAMPLE:
                return (self.x - alpha * self.output) / sigma
            case Parameterisation.FLOW:
                return (self.x + alpha * self.output) / (alpha + sigma)

    @cached_property
    def x0(self) -> Tensor:
        r"""The predicted data :math:`x_0`, ``[n, C, H, W]``."""
        alpha, sigma = self.coefficient(self.alpha), self.coefficient(self.sigma)
        match self.parameterisation:
            case Parameterisation.EPSILON:
                return (self.x - sigma * self.output) / alpha
            case Parameterisation.VELOCITY:
                return alpha * self.x - sigma * self.output
            case Parameterisation.SAMPLE:
                return self.output
            case Parameterisation.FLOW:
                return (self.x - sigma * self.output) / (alpha + sigma)

    @cached_property
    def score(self) -> Tensor:
        r""":math:`\nabla_x \log p_t(x_t) = -\varepsilon / \sigma_t`, ``[n, C, H, W]``."""
        return -self.epsilon / self.coefficient(self.sigma)

    @cached_property
    def score_per_output(self) -> Tensor:
        r""":math:`\partial s / \partial \text{output}` at fixed :math:`x_t`, ``[n]``.

        The score is affine in the output, so differences of scores (and of their derivatives) of
        two conditionings at the same :math:`x_t` are this factor times differences of outputs.
        """
        match self.parameterisation:
            case Parameterisation.EPSILON:
                return -1 / self.sigma
            case Parameterisation.VELOCITY:
                return -self.alpha / self.sigma
            case Parameterisation.SAMPLE:
                return self.alpha / self.sigma**2
            case Parameterisation.FLOW:
                return -self.alpha / (self.sigma * (self.alpha + self.sigma))

    @cached_property
    def score_per_latent(self) -> Tensor:
        r""":math:`\partial s / \partial x_t` at fixed output, ``[n]``."""
        match self.parameterisation:
            case Parameterisation.EPSILON:
                return torch.zeros_like(self.sigma)
            case Parameterisation.VELOCITY:
                return -torch.ones_like(self.sigma)
            case Parameterisation.SAMPLE:
                return -1 / self.sigma**2
            case Parameterisation.FLOW:
                return -1 / (self.sigma * (self.alpha + self.sigma))

    @property
    def noise_per_output(self) -> Tensor:
        r""":math:`\partial\varepsilon / \partial\text{output}` at fixed :math:`x_t`, a factor."""
        return -self.coefficient(self.sigma * self.score_per_output)

    @property
    def noise_per_latent(self) -> Tensor:
        r""":math:`\partial\varepsilon / \partial x_t` at fixed output, a factor."""
        return -self.coefficient(self.sigma * self.score_per_latent)

    def guided(self, conditional: "Prediction", guidance: float | Tensor) -> "Prediction":
        """Classifier-free guidance ``u + w (c - u)``, this being ``u``; w may be one a row."""
        direction = conditional.output - self.output
        scale = self.coefficient(guidance) if isinstance(guidance, Tensor) else guidance
        return replace(self, raw=self.output + scale * direction)
