r"""What a detector is: components it records, and how they become a score.

A :class:`Component` is one number per prompt and noise sample, computed from evaluations of the
model that it names beforehand as its *needs*. The engine merges the needs of all detectors in a
run, evaluates each once, and stores the components; scores are pure functions of what is stored.

Notation: ``u`` and ``c`` are the network's outputs at pure noise :math:`x_T` without and with the
prompt, ``B`` is the number of prompts in a batch, ``N`` in the whole set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from anisomem.detection.needs import GUIDED, NOISE, Evaluations, Need
from anisomem.detection.of_baseline import OfBaseline
from anisomem.detection.options import require_options
from anisomem.detection.places import At
from anisomem.papers import Paper

if TYPE_CHECKING:  # scoring what is stored needs no torch
    from torch import Tensor

    from anisomem.datasets.prompts import PromptSet
    from anisomem.models.base import DiffusionModel
    from anisomem.models.prediction import Prediction

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """A recorded number; equal names mean equal numbers, whichever detector asks for them.

    Arguments:
        name: What is computed, with everything that changes it.
        needs: The evaluations it is computed from.
        compute: Maps what was evaluated for each need, in their order, to ``[B]``.
    """

    name: str
    needs: Sequence[Need]
    compute: Callable[..., Tensor]

    def read(self, evaluations: Evaluations) -> Tensor:
        """The number of every prompt of a batch, ``[B]``."""
        return self.compute(*(evaluations[need] for need in self.needs))


@dataclass(frozen=True)
class Map(Component):
    """The same with several numbers for every prompt, ``[B, ...]``; shown, and in no score."""


@dataclass(frozen=True)
class AcrossSamples:
    """A recorded number that compares noise samples; the n-th is that of the n first samples.

    Arguments:
        name, needs: As of a :class:`Component`.
        keep: What is compared, from what was evaluated for each need, ``[B, ...]``.
        compute: From what was kept of the n first samples to ``[B]``; finite also for n = 1.
    """

    name: str
    needs: Sequence[Need]
    keep: Callable[..., Tensor]
    compute: Callable[[Sequence[Tensor]], Tensor]

    def read(self, evaluations: Evaluations) -> Tensor:
        """What is compared with other samples, ``[B, ...]``."""
        return self.keep(*(evaluations[need] for need in self.needs))


Components = Sequence[Component | AcrossSamples]


@dataclass(frozen=True)
class Cost:
    """What is evaluated for one prompt on its own.

    Attributes:
        nfe: Latents through the network.
        jvps: Directional derivatives.
    """

    nfe: int = 0
    jvps: int = 0


@dataclass(frozen=True)
class Info:
    """Where a detector comes from, and what it reads.

    Attributes:
        paper: Where it was published.
        reads: What it reads of the model, in words.
        quantity: What is read, in words such as "norm".
        memorized: Whether that is larger or smaller where a prompt is memorized.
    """

    paper: Paper
    reads: str
    quantity: str
    memorized: Literal["larger", "smaller"] = "larger"

    @property
    def orientation(self) -> str:
        """How the quantity and the score go with memorization, in words."""
        negated = "; the score is its negative" * (self.memorized == "smaller")
        return f"{self.quantity}, {self.memorized} where memorized{negated}"


@dataclass(frozen=True)
class Recorded:
    """Components of one noise seed for every prompt, and what a score may depend on besides.

    Arguments:
        components: Name to ``[N, n]``, one column per noise sample.
        prompts: The prompt set, in the same order.
        stands_for: The published model whose weights apply to this one, or None.
        references: The components of R prompts that are not in the set, name to ``[R, n]``;
            empty unless a detector of the run asks for them.
        seed: The seed of the noise.
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

    A subclass is a dataclass whose fields are its options; their types say which values they may
    have, see :mod:`anisomem.detection.options`.

    Attributes:
        name: The row it fills in a table.
        n: Noise samples averaged; 0 for a score of the prompt alone.
        uses_labels: Whether a score depends on labels, if only inside folds.
        uses_references: Whether it is relative to reference prompts outside the set.
        uses_texts: Whether it reads the prompts themselves, and not only what is recorded.

    Raises:
        UserError: An option that is none of its values.
    """

    info: ClassVar[Info | None] = None
    uses_labels: ClassVar[bool] = False
    uses_references: ClassVar[bool] = False
    uses_texts: ClassVar[bool] = False
    name: str
    n: int = 1

    def __post_init__(self) -> None:
        require_options(self)

    @abstractmethod
    def components(self) -> Components:
        """What has to be recorded, per noise sample.

        Their names alone decide which runs share a store.
        """

    def cost(self) -> Cost:
        """What one prompt on its own costs at its n; the conformance checks count it."""
        return Cost()

    def combine(self, recorded: Recorded) -> Array:
        """The score of every prompt, ``[N]``; by default the mean over what is recorded.

        It is negated where ``info`` says that the quantity is smaller where memorized.
        """
        mean: Array = np.mean(
            [
                recorded.across(one.name, self.n)
                if isinstance(one, AcrossSamples)
                else recorded.mean(one.name, self.n)
                for one in self.components()
            ],
            axis=0,
        )
        return -mean if self.info and self.info.memorized == "smaller" else mean

    def remark(self, prompts: PromptSet, seeds: int) -> str | None:
        """What a reader of its row must know, on these prompts and so many noise seeds."""
        return None

    def features(self, recorded: Recorded) -> Array:
        """The numbers that it offers to a combination with others, ``[N, F]``; label-free."""
        return self.combine(recorded)[:, None]

    def require(self, stands_for: str | None) -> None:  # noqa: B027
        """Checks before anything is evaluated that scoring will find what it needs.

        Raises:
            UserError: Weights are asked for that are not published for the model.
        """

    def require_of(self, model: DiffusionModel) -> None:  # noqa: B027
        """Checks before anything is evaluated that a model has what it reads.

        Raises:
            UserError: What the model lacks.
        """

    @property
    def key(self) -> str:
        """The row it fills: its name and, where it draws noise, its n."""
        return f"{self.name}, n={self.n}" if self.n else self.name

    @property
    def component_names(self) -> Sequence[str]:
        """The names of what it records, each once."""
        return list(dict.fromkeys(component.name for component in self.components()))

    @property
    def sees_model(self) -> bool:
        """Whether its score is of the model, and not of the prompt alone."""
        return self.n > 0

    @property
    def draws_noise(self) -> bool:
        """Whether its score depends on the noise seeds of a run."""
        return self.n > 0

    @property
    def compares_models(self) -> bool:
        """Whether it compares the model with a baseline, which the settings must name."""
        needs = (need for component in self.components() for need in component.needs)
        return any(isinstance(need, OfBaseline) for need in needs)

    @property
    def cost_key(self) -> str:
        """What it evaluates, to look up its cost: weightings of the same components share it."""
        names = self.component_names
        return f"{' + '.join(names)}, n={self.n}" if names else ""


def first_steps(count: int) -> list[tuple[At, str]]:
    """The first steps of the guided trajectory: place and latents of each.

    The first one's latents are pure noise, so what is recorded there needs no trajectory.
    """
    return [(At(f"step:{i}"), GUIDED if i else NOISE) for i in range(count)]


def component_name(quantity: str, *choices: str) -> str:
    """``quantity[choice,...]``; pure noise is not named."""
    return f"{quantity}[{','.join(choice for choice in choices if choice != NOISE)}]"


def flat_norm(difference: Tensor) -> Tensor:
    """2-norm over channels and positions, ``[B, C, H, W]`` to ``[B]``."""
    return difference.flatten(1).norm(dim=1)


def guidance_norm(c: Prediction, u: Prediction) -> Tensor:
    r""":math:`\|c - u\|_2` of the raw outputs, ``[B]``."""
    return flat_norm(c.output - u.output)


def squared_score_difference(a: Prediction, b: Prediction) -> Tensor:
    r""":math:`\|s_a - s_b\|_2^2` per position, of two predictions at the same latents, ``[B]``."""
    difference = a.coefficient(a.score_per_output) * (a.output - b.output)
    return difference.square().sum(dim=1).mean(dim=(1, 2))


def groups(detectors: Sequence[Detector]) -> dict[str, list[Detector]]:
    """The detectors that evaluate the model, by :attr:`Detector.cost_key`."""
    by_cost: dict[str, list[Detector]] = {}
    for detector in detectors:
        if detector.cost_key:
            by_cost.setdefault(detector.cost_key, []).append(detector)
    return by_cost
