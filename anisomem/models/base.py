r"""What every diffusion model offers to detectors.

A noised latent is :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon` with
:math:`\varepsilon \sim \mathcal{N}(0, I)`. Variance-preserving models have
:math:`\alpha_t^2 = \bar\alpha_t` and :math:`\sigma_t^2 = 1 - \bar\alpha_t`, flow-matching models
:math:`\alpha_t = 1 - \sigma_t`. A network predicts one of four quantities (its
*parameterisation*); each determines the others given :math:`x_t`.

Latents have the shape ``[n, C, H, W]``. One NFE is one latent through the network under one
conditioning.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anisomem.errors import UserError
from anisomem.models.schedule import Schedule

if TYPE_CHECKING:
    from anisomem.models.attention import Edit


class Parameterisation(StrEnum):
    """What a network's output stands for, in terms of data, noise and their scales."""

    EPSILON = "epsilon"  # eps
    VELOCITY = "v_prediction"  # alpha eps - sigma x_0
    SAMPLE = "sample"  # x_0
    FLOW = "flow_prediction"  # eps - x_0


@dataclass(frozen=True)
class Conditioning:
    """Encoded prompts: named tensors with one row per prompt."""

    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: Tensor | slice | Sequence[int]) -> "Conditioning":
        return Conditioning({name: tensor[rows] for name, tensor in self.tensors.items()})

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """All rows of all parts, in order."""
        return Conditioning(
            {name: torch.cat([p.tensors[name] for p in parts]) for name in parts[0].tensors}
        )


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

    def guided(self, conditional: "Prediction", guidance: float) -> "Prediction":
        """Classifier-free guidance ``u + w (c - u)``, this being ``u``."""
        direction = conditional.output - self.output
        return replace(self, raw=self.output + guidance * direction)


@dataclass(frozen=True)
class Attention:
    """What a pass attends to in its cross-attention.

    Attributes:
        tokens: By layer in the order they compute, mean over heads and then over positions,
            ``[n, layers, tokens]``; sums to 1 over tokens.
        end: To the end-of-text token of each prompt by position, mean over heads and over the
            down-sampling layers of the highest resolution, ``[n, h, w]``.
    """

    tokens: Tensor
    end: Tensor


#: Predictions with and, where guidance needs it, without the prompts, at latents and a timestep.
Evaluate = Callable[[Tensor, float], tuple[Prediction, Prediction | None]]


@dataclass(frozen=True)
class Step:
    """A step of a trajectory.

    Attributes:
        t: Its timestep.
        conditional: The prediction with the prompts at the latents before the step.
        unconditional: Without them; None where guidance does not need it.
        after: The latents after the step, ``[n, C, H, W]``.
    """

    t: float
    conditional: Prediction
    unconditional: Prediction | None
    after: Tensor


class DiffusionModel(ABC):
    """A text-conditional diffusion model, one subclass per family.

    Attributes:
        latent_shape: ``(C, H, W)``.
        parameterisation: What the network predicts.
        schedule: Its timesteps and their scales.
        device, dtype: Of the network; latents are handed to it in both.
        stands_for: Key of the published model whose detector weights apply, or None.
        repository, revision: Where it was loaded from on the hub and the commit, or None.
        variant: Of the weights' files that were loaded, such as ``fp16``, or None.
        decodes: Whether it makes pictures of latents.
        cautions: What a reader of its scores must know about how it was loaded.
        nfe: Latents evaluated so far; a directional derivative counts in ``jvps`` instead.
    """

    latent_shape: tuple[int, int, int]
    parameterisation: Parameterisation
    schedule: Schedule
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    stands_for: str | None = None
    repository: str | None = None
    revision: str | None = None
    variant: str | None = None
    decodes: bool = True
    cautions: Sequence[str] = ()
    nfe: int = 0
    jvps: int = 0

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """The conditioning of each prompt; "" is the unconditional one."""

    @abstractmethod
    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The network's raw output, ``[n, C, H, W]``."""

    @abstractmethod
    def decode(self, latents: Tensor) -> np.ndarray:
        """Pictures, uint8 ``[n, H, W, 3]``."""

    @property
    def has_decoder(self) -> bool:
        """Whether :meth:`decode` makes pictures."""
        return True

    def require_decoder(self, what: str) -> None:
        """Raises unless it makes pictures, which is known before anything is evaluated.

        Arguments:
            what: Needs them, with how to do without.

        Raises:
            UserError: It makes none.
        """
        if not self.has_decoder:
            raise UserError(f"the model has no VAE and makes no pictures; {what}")

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`\alpha_t` and :math:`\sigma_t` in float64, for timesteps ``[n]``."""
        return self.schedule.scales(t)

    def timesteps(self, num_steps: int = 50) -> list[float]:
        """The timesteps of a trajectory, from noise to data."""
        return self.schedule.timesteps(num_steps)

    def truncated(self, prompts: Sequence[str]) -> int:
        """How many prompts exceed a text encoder's limit and are cut."""
        return 0

    def initial_noise(self, seed: int, n: int) -> Tensor:
        """What ``torch.manual_seed(seed); torch.randn(n, C, H, W)`` gives on the CPU.

        Samples of a smaller n are the first of a larger one, for latents of a multiple of 16
        numbers (PyTorch draws in blocks of that size).
        """
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(n, *self.latent_shape, generator=generator)

    def predict(self, x: Tensor, t: Tensor | float, conditioning: Conditioning) -> Prediction:
        """One evaluation of the network per row; ``t`` is one timestep or one per row."""
        steps = torch.as_tensor(t).expand(len(x))
        raw = self._network(x, steps, conditioning)
        self.nfe += len(x)  # not those that ran out of memory
        return self._prediction(raw, x, steps)

    def attend(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, first: int = 0
    ) -> tuple[Prediction, Attention]:
        """The prediction, and what the rows from ``first`` on attend to.

        Raises:
            UserError: The model has no cross-attention.
        """
        raise UserError(
            f"a {type(self).__name__} has no cross-attention; leave out the detectors that read it"
        )

    def edited(self, edit: "Edit") -> AbstractContextManager[None]:
        """Meanwhile predictions attend to the prompts' tokens as ``edit`` says.

        Raises:
            UserError: The model has no cross-attention.
        """
        raise UserError(
            f"a {type(self).__name__} has no cross-attention; choose a mitigation that changes "
            "none"
        )

    def jvp(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, tangent: Tensor
    ) -> tuple[Prediction, Tensor]:
        """The prediction and the derivative of its *raw output* along ``tangent``.

        Forward-mode differentiation, which needs attention in plain matrix products.
        """
        steps = torch.as_tensor(t).expand(len(x))
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            result = torch.func.jvp(
                lambda latents: self._network(latents, steps, conditioning), (x,), (tangent,)
            )
        self.jvps += len(x)
        raw, derivative = result[0], result[1]
        return self._prediction(raw, x, steps), derivative

    def vjp(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, cotangent: Tensor
    ) -> Tensor:
        """The transposed derivative of the *raw output* applied to ``cotangent``.

        Reverse-mode differentiation; counts as a directional derivative.
        """
        steps = torch.as_tensor(t).expand(len(x))
        with torch.enable_grad():  # type: ignore[no-untyped-call]
            latents = x.detach().requires_grad_()
            raw = self._network(latents, steps, conditioning)
            (pulled,) = torch.autograd.grad(raw, latents, cotangent.to(raw))
        self.jvps += len(x)
        return pulled

    def sample(
        self,
        x: Tensor,
        conditioning: Conditioning,
        num_steps: int = 50,
        guidance: float = 7.5,
    ) -> Tensor:
        """Latents at the end of a :meth:`trajectory`, ``[n, C, H, W]``."""
        for step in self.trajectory(x, conditioning, num_steps, guidance):
            x = step.after
        return x

    def trajectory(
        self,
        x: Tensor,
        conditioning: Conditioning,
        num_steps: int = 50,
        guidance: float = 7.5,
        evaluate: Evaluate | None = None,
    ) -> Iterator[Step]:
        r"""Deterministic sampling with classifier-free guidance from the noise ``x``.

        :math:`x_s = \alpha_s \hat x_0 + \sigma_s \hat\varepsilon` with the guided prediction
        :math:`u + w (c - u)`: DDIM (Song et al., ICLR 2021, eq. 12 with eta = 0) and, for flow
        matching, Euler's method, :math:`x_t + (\sigma_s - \sigma_t)(\hat\varepsilon - \hat x_0)`.
        Where the schedule clips, :math:`\hat x_0` is clipped; the noise stays as predicted.
        2 NFE per prompt and step, 1 with w = 1, which needs no u.

        Arguments:
            x: The noise.
            conditioning: The prompts.
            num_steps: Of the schedule.
            guidance: w.
            evaluate: What evaluates the model in each step; its own batched pass if not given.
        """
        empty = self.encode([""])[[0] * len(x)]

        def both(x: Tensor, t: float) -> tuple[Prediction, Prediction | None]:
            if guidance == 1:
                return self.predict(x, t, conditioning), None
            pair = self.predict(torch.cat([x, x]), t, Conditioning.cat([empty, conditioning]))
            return pair[len(x) :], pair[: len(x)]

        evaluate = evaluate or both
        steps = self.timesteps(num_steps)
        targets = self.schedule.targets(num_steps)
        for t, target in zip(steps, targets, strict=True):
            conditional, unconditional = evaluate(x, t)
            guided = conditional
            if unconditional is not None:
                guided = unconditional.guided(conditional, guidance)
            alpha, sigma = guided.coefficient(target[0]), guided.coefficient(target[1])
            x = alpha * self.schedule.bounded(guided.x0) + sigma * guided.epsilon
            yield Step(t, conditional, unconditional, x)

    def _prediction(self, raw: Tensor, x: Tensor, steps: Tensor) -> Prediction:
        return Prediction(raw, x, *self.scales(steps), self.parameterisation)
