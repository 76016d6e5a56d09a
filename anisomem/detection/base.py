r"""What a detector is: components it records, and how they become a score.

A :class:`Component` is one number per prompt and noise sample, computed from evaluations of the
model that it names beforehand as its *needs*. The engine merges the needs of all detectors in a
run, evaluates each once, and stores the components; scores are pure functions of what is stored.

Notation: ``u`` and ``c`` are the network's outputs at pure noise :math:`x_T` without and with the
prompt, ``B`` is the number of prompts in a batch, ``N`` in the whole set.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from anisomem.errors import UserError

if TYPE_CHECKING:  # scoring what is stored needs no torch
    from torch import Tensor

    from anisomem.datasets.prompts import PromptSet
    from anisomem.models.base import DiffusionModel, Prediction

Array = npt.NDArray[np.float64]


#: What a prediction is evaluated at: pure noise, or the latents that a 50-step DDIM trajectory
#: from that noise has at the timestep, with guidance 7.5 or without (w = 1).
NOISE, GUIDED, UNGUIDED = LATENTS = ("noise", "guided", "unguided")


@dataclass(frozen=True, order=True)
class Conditional:
    """The prediction with the prompt at timestep ``t``: 1 NFE per prompt on pure noise."""

    t: float
    latents: str = NOISE


@dataclass(frozen=True, order=True)
class Unconditional:
    """The prediction without prompt; on shared noise one NFE serves every prompt."""

    t: float
    latents: str = NOISE


@dataclass(frozen=True, order=True)
class GuidanceDerivative:
    """Derivative of ``c - u`` along ``c - u`` itself: one directional derivative of each."""

    t: float


Need = Conditional | Unconditional | GuidanceDerivative


@dataclass(frozen=True)
class Evaluations:
    """The evaluated needs of one batch of prompts, all from the same noise sample."""

    predictions: Mapping[Conditional | Unconditional, Prediction]
    derivatives: Mapping[GuidanceDerivative, Tensor] = field(default_factory=dict)

    def conditional(self, t: float, latents: str = NOISE) -> Prediction:
        """With the prompt, ``B`` rows."""
        return self.predictions[Conditional(t, latents)]

    def unconditional(self, t: float, latents: str = NOISE) -> Prediction:
        """Without the prompt, ``B`` rows."""
        return self.predictions[Unconditional(t, latents)]

    def guidance_derivative(self, t: float) -> Tensor:
        r""":math:`(J_c - J_u)(c - u)` of the raw outputs, ``[B, C, H, W]``."""
        return self.derivatives[GuidanceDerivative(t)]


@dataclass(frozen=True)
class Component:
    """A recorded number; equal names mean equal numbers, whichever detector asks for them.

    Arguments:
        name: What is computed, with everything that changes it.
        needs: The evaluations it is computed from.
        compute: From the evaluations of a batch to ``[B]``.
    """

    name: str
    needs: frozenset[Need]
    compute: Callable[[Evaluations], Tensor]


@dataclass(frozen=True)
class Info:
    """Where a detector comes from."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class Recorded:
    """Components of one noise seed for every prompt, and what a score may depend on besides.

    Arguments:
        components: Name to ``[N, n]``, one column per noise sample.
        prompts: The prompt set, in the same order.
        stands_for: The published model whose weights apply to this one, or None.
    """

    components: Mapping[str, Array]
    prompts: PromptSet
    stands_for: str | None = None

    def mean(self, name: str, n: int) -> Array:
        """A component averaged over the first n noise samples, ``[N]``.

        Raises:
            ValueError: Fewer samples are recorded.
        """
        values = self.components[name]
        if values.shape[1] < n:
            raise ValueError(f"{name} has {values.shape[1]} noise samples recorded, not {n}")
        return values[:, :n].mean(axis=1)


@dataclass
class Detector(ABC):
    """One score per prompt; larger means more memorized, without exception.

    Attributes:
        name: The row it fills in a table.
        n: Noise samples averaged; 0 for a score of the prompt alone.
    """

    info: ClassVar[Info | None] = None
    name: str
    n: int = 1

    @property
    def key(self) -> str:
        """The row it fills: its name and, where it draws noise, its n."""
        return f"{self.name}, n={self.n}" if self.n else self.name

    @property
    def cost_key(self) -> str:
        """What it evaluates, to look up its cost: weightings of the same components share it."""
        return f"{' + '.join(self.component_names)}, n={self.n}" if self.component_names else ""

    def require(self, stands_for: str | None) -> None:  # noqa: B027
        """Checks before anything is evaluated that scoring will find what it needs.

        Raises:
            UserError: Weights are asked for that are not published for the model.
        """

    @property
    @abstractmethod
    def component_names(self) -> Sequence[str]:
        """The names of what it records; they alone decide which runs share a store."""

    @abstractmethod
    def components(self, model: DiffusionModel) -> Sequence[Component]:
        """What has to be recorded, per noise sample, under :attr:`component_names`."""

    @abstractmethod
    def combine(self, recorded: Recorded) -> Array:
        """The score of every prompt, ``[N]``."""


@dataclass(frozen=True)
class At:
    """A place in the model's 50-step schedule, written ``step:i`` or ``t:value``.

    Arguments:
        step: Index into the schedule, 0 is the noisiest; negative ones count from the end.
        t: The timestep itself; an integer but for flow-matching models.
    """

    step: int | None = None
    t: float | None = None

    @classmethod
    def parse(cls, text: str) -> At:
        """Reads the written form.

        Raises:
            UserError: Anything else.
        """
        match = re.fullmatch(r"step:(-?\d+)|t:(-?\d+(?:\.\d+)?)", str(text))
        if not match:
            raise UserError(f"a timestep reads step:INDEX or t:VALUE, got {text!r}")
        if match[1]:
            return cls(step=int(match[1]))
        return cls(t=float(match[2]) if "." in match[2] else int(match[2]))

    def timestep(self, model: DiffusionModel) -> float:
        """The timestep in ``model``'s schedule.

        Raises:
            UserError: Outside the schedule.
        """
        if self.t is not None:
            model.schedule.require(self.t)
            return self.t
        steps = model.timesteps()
        assert self.step is not None
        if not -len(steps) <= self.step < len(steps):
            raise UserError(
                f"step {self.step} is outside the schedule, which has 0 to {len(steps) - 1}"
            )
        return steps[self.step]


def flat_norm(difference: Tensor) -> Tensor:
    """2-norm over channels and positions, ``[B, C, H, W]`` to ``[B]``."""
    return difference.flatten(1).norm(dim=1)
