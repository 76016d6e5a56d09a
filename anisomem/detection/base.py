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
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from anisomem.detection.needs import GUIDED, NOISE, STEPS, Evaluations, Need
from anisomem.errors import UserError

if TYPE_CHECKING:  # scoring what is stored needs no torch
    from torch import Tensor

    from anisomem.datasets.prompts import PromptSet
    from anisomem.models.base import DiffusionModel

Array = npt.NDArray[np.float64]


#: What a prediction is evaluated at: pure noise; the latents that a 50-step trajectory from that
#: noise has at the timestep, with guidance 7.5 or without (w = 1); or the end of the guided
#: trajectory, scaled by alpha_t.
@dataclass(frozen=True)
class Component:
    """A recorded number; equal names mean equal numbers, whichever detector asks for them.

    Arguments:
        name: What is computed, with everything that changes it.
        needs: The evaluations it is computed from.
        compute: From the evaluations of a batch to ``[B]``.
    """

    name: str
    needs: Set[Need]
    compute: Callable[[Evaluations], Tensor]


@dataclass(frozen=True)
class AcrossSamples:
    """A recorded number that compares noise samples; the n-th is that of the n first samples.

    Arguments:
        name, needs: As of a :class:`Component`.
        keep: What is compared, from the evaluations of one noise sample, ``[B, ...]``.
        compute: From what was kept of the n first samples to ``[B]``; finite also for n = 1.
    """

    name: str
    needs: Set[Need]
    keep: Callable[[Evaluations], Tensor]
    compute: Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Info:
    """Where a detector comes from, what it reads and what that costs.

    Attributes:
        needs: What it reads of the model, in words.
        orientation: How the quantity it reads and its score go with memorization, in words.
        nfe, jvps: Evaluations and directional derivatives for one prompt on its own at default
            settings, a product such as ``2nk`` for n noise samples and k steps. What several
            prompts or detectors share is evaluated once.
        licence: Of the released code.
    """

    title: str
    authors: str
    venue: str
    year: int
    needs: str
    orientation: str
    nfe: str
    jvps: str = "0"
    arxiv: str | None = None
    code: str | None = None
    licence: str | None = None

    def counted(self, n: int, k: int) -> tuple[int, int]:
        """``nfe`` and ``jvps`` for n noise samples and k steps."""
        values = {"n": n, "k": k}

        def product(formula: str) -> int:
            factors = re.findall(r"\d+|[nk]", formula)
            return prod(values.get(factor) or int(factor) for factor in factors)

        return product(self.nfe), product(self.jvps)


@dataclass(frozen=True)
class Recorded:
    """Components of one noise seed for every prompt, and what a score may depend on besides.

    Arguments:
        components: Name to ``[N, n]``, one column per noise sample.
        prompts: The prompt set, in the same order.
        stands_for: The published model whose weights apply to this one, or None.
        references: The components of R prompts that are not in the set, name to ``[R, n]``;
            empty unless a detector of the run asks for them.
        seed: Of the noise.
    """

    components: Mapping[str, Array]
    prompts: PromptSet
    stands_for: str | None = None
    references: Mapping[str, Array] = field(default_factory=dict)
    seed: int = 0

    def samples(self, name: str, n: int) -> Array:
        """A component at the first n noise samples, ``[N, n]``.

        Raises:
            ValueError: Fewer samples are recorded.
        """
        values = self.components[name]
        if values.shape[1] < n:
            raise ValueError(f"{name} has {values.shape[1]} noise samples recorded, not {n}")
        return values[:, :n]

    def mean(self, name: str, n: int) -> Array:
        """A component averaged over the first n noise samples, ``[N]``."""
        return self.samples(name, n).mean(axis=1)

    def across(self, name: str, n: int) -> Array:
        """What compares the first n noise samples (:class:`AcrossSamples`), ``[N]``."""
        return self.samples(name, n)[:, -1]


@dataclass
class Detector(ABC):
    """One score per prompt; larger means more memorized, without exception.

    Attributes:
        name: The row it fills in a table.
        n: Noise samples averaged; 0 for a score of the prompt alone.
        uses_labels: Whether a score depends on labels, if only inside folds.
        uses_references: Whether it is relative to reference prompts outside the set.
    """

    info: ClassVar[Info | None] = None
    uses_labels: ClassVar[bool] = False
    uses_references: ClassVar[bool] = False
    name: str
    n: int = 1

    @property
    def key(self) -> str:
        """The row it fills: its name and, where it draws noise, its n."""
        return f"{self.name}, n={self.n}" if self.n else self.name

    @property
    def k(self) -> int:
        """Steps of a trajectory that its declared costs are a function of."""
        return 1

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
    def components(self, model: DiffusionModel) -> Sequence[Component | AcrossSamples]:
        """What has to be recorded, per noise sample, under :attr:`component_names`."""

    @abstractmethod
    def combine(self, recorded: Recorded) -> Array:
        """The score of every prompt, ``[N]``."""

    def remark(self, prompts: PromptSet, seeds: int) -> str | None:
        """What a reader of its row must know, on these prompts and so many noise seeds."""
        return None

    def features(self, recorded: Recorded) -> Array:
        """The numbers that it offers to a combination with others, ``[N, F]``; label-free."""
        return self.combine(recorded)[:, None]


@dataclass
class Stepwise(Detector):
    """The mean of a quantity over the first steps of the guided trajectory.

    Arguments:
        steps: k, how many. The first one's latents are pure noise, so that it alone needs no
            trajectory.

    Raises:
        UserError: Steps that a trajectory does not have.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        along(self.steps)

    @property
    def k(self) -> int:
        return self.steps

    @property
    @abstractmethod
    def quantity(self) -> Sequence[str]:
        """Its name, and choices that change it."""

    @abstractmethod
    def at_step(
        self, model: DiffusionModel, t: float, latents: str
    ) -> tuple[Set[Need], Callable[[Evaluations], Tensor]]:
        """What the quantity needs at a step, and from the evaluations to ``[B]``."""

    @property
    def component_names(self) -> Sequence[str]:
        name, *choices = self.quantity
        return [component_name(name, *choices, *place) for place in along(self.steps)]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        found = []
        for name, (at, latents) in zip(self.component_names, along(self.steps), strict=True):
            needs, compute = self.at_step(model, At.parse(at).timestep(model), latents)
            found.append(Component(name, needs, compute))
        return found

    def combine(self, recorded: Recorded) -> Array:
        mean: Array = np.mean([recorded.mean(n, self.n) for n in self.component_names], axis=0)
        return mean


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


def along(steps: int) -> list[tuple[str, str]]:
    """The first steps of the guided trajectory: place and latents of each.

    The first one's latents are pure noise, so what is recorded there needs no trajectory.

    Raises:
        UserError: Not an integer from 1 to 50.
    """
    if type(steps) is not int or not 1 <= steps <= STEPS:
        raise UserError(f"steps must be an integer from 1 to {STEPS}, got {steps!r}")
    return [(f"step:{i}", GUIDED if i else NOISE) for i in range(steps)]


def component_name(quantity: str, *choices: str) -> str:
    """``quantity[choice,...]``; pure noise is not named."""
    return f"{quantity}[{','.join(choice for choice in choices if choice != NOISE)}]"


def flat_norm(difference: Tensor) -> Tensor:
    """2-norm over channels and positions, ``[B, C, H, W]`` to ``[B]``."""
    return difference.flatten(1).norm(dim=1)


def groups(detectors: Sequence[Detector]) -> dict[str, list[Detector]]:
    """The detectors that evaluate the model, by :attr:`Detector.cost_key`."""
    found: dict[str, list[Detector]] = {}
    for detector in detectors:
        if detector.cost_key:
            found.setdefault(detector.cost_key, []).append(detector)
    return found
