r"""What a mitigation is: a map from prompts and noise to what is sampled instead.

A mitigation maps (model, prompts, :math:`x_T`, seeds) to another conditioning, another
:math:`x_T`, and a change of the attention or of the guidance that is active while sampling, and
says what it cost and why it stopped. Rows are independent: a prompt's result is the same alone and
beside others, and what is drawn depends on its seed and, for changes of the text, on the prompt.

Gradients are taken by prompts; a directional derivative counts as in detection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import torch
from torch import Tensor

from anisomem.engine.batches import Batches
from anisomem.errors import UserError
from anisomem.models.attention import Edit
from anisomem.models.conditioning import Conditioning
from anisomem.papers import Paper

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel
    from anisomem.models.trajectory import Guidance

DIVERGED = "diverged"
STEPS, GUIDANCE = 50, 7.5  # of a trajectory, where nothing else is asked for


@dataclass(frozen=True)
class Ordinary:
    """Prompts that are taken as not memorized.

    Attributes:
        texts: The prompts' texts.
        seeds: The seeds of every prompt's noise.
        steps, guidance: Of the trajectories that are mitigated.
    """

    texts: Sequence[str]
    seeds: Sequence[int]
    steps: int = STEPS
    guidance: float = GUIDANCE


@dataclass(frozen=True)
class Effort:
    """What mitigating one prompt took, without sampling.

    Attributes:
        nfe: Latents evaluated.
        backward: Latents through which a gradient was taken.
        jvps: Directional derivatives.
        iterations: Steps of an optimiser.
        before, after: Its objective at the start and at what is kept; None without an objective.
        note: Why it stopped, or what else must be known; "" if nothing.
    """

    nfe: int = 0
    backward: int = 0
    jvps: int = 0
    iterations: int = 0
    before: float | None = None
    after: float | None = None
    note: str = ""

    @property
    def diverged(self) -> bool:
        """Whether a descent met NaN or infinity."""
        return self.note.startswith(DIVERGED)

    def __add__(self, other: Effort) -> Effort:
        """One after the other: the costs of both, the objective and the note of the latter."""
        return replace(
            other,
            nfe=self.nfe + other.nfe,
            backward=self.backward + other.backward,
            jvps=self.jvps + other.jvps,
            iterations=self.iterations + other.iterations,
        )


class Guide(Protocol):
    """How one row is guided while it is sampled, where that is not the same in every step."""

    def start(self, guidance: float) -> Callable[[float, float], float]:
        """What gives the scale of each step in turn, from the timestep and the norm of c - u.

        Arguments:
            guidance: The scale that is asked for.
        """


class Steer(ABC):
    """How one row is sampled where another scale in every step is not enough.

    Attributes:
        nfe: Latents evaluated in every step besides the two of guidance.
    """

    nfe: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def sample(
        cls,
        steers: Sequence[Self],
        model: DiffusionModel,
        x: Tensor,
        conditioning: Conditioning,
        num_steps: int,
        guidance: float,
    ) -> Tensor:
        """Latents at the end of the trajectories of rows of one class, ``[B, C, H, W]``.

        Arguments:
            steers: One a row.
            model: The model; its attention is already changed where it is to be.
            x: The noise, ``[B, C, H, W]``.
            conditioning: The conditioning of B rows.
            num_steps: How many steps the schedule has.
            guidance: The guidance scale that is asked for.
        """


@dataclass(frozen=True)
class Mitigated:
    """What is sampled instead of B prompts and their noise.

    Attributes:
        texts: The prompts, as they are encoded now.
        conditioning: The conditioning of B rows.
        x: The noise, ``[B, C, H, W]``.
        efforts: The efforts of every row.
        edit: The edit of the cross-attention while sampling, or None.
        guides: How every row is guided; None, or no guides at all, is as asked for.
    """

    texts: Sequence[str]
    conditioning: Conditioning
    x: Tensor
    efforts: Sequence[Effort]
    edit: Edit | None = None
    guides: Sequence[Guide | Steer | None] = ()

    def __getitem__(self, rows: Sequence[int]) -> Mitigated:
        rows = list(rows)
        return Mitigated(
            [self.texts[i] for i in rows],
            self.conditioning[rows],
            self.x[rows],
            [self.efforts[i] for i in rows],
            self.edit and self.edit[rows],
            [self.guides[i] for i in rows] if self.guides else (),
        )

    @staticmethod
    def cat(parts: Sequence[Mitigated]) -> Mitigated:
        """All rows of all parts, in order."""
        return Mitigated(
            [text for part in parts for text in part.texts],
            Conditioning.cat([part.conditioning for part in parts]),
            torch.cat([part.x for part in parts]),
            [effort for part in parts for effort in part.efforts],
            Edit.cat([(part.edit, len(part.texts)) for part in parts]),
            [guide for part in parts for guide in part.guides or [None] * len(part.texts)],
        )

    def hooks(self, model: DiffusionModel) -> AbstractContextManager[None]:
        """What is active while these rows are sampled, or predicted, all together."""
        return model.edited(self.edit) if self.edit else nullcontext()

    @torch.no_grad()
    def sample(
        self, model: DiffusionModel, num_steps: int = STEPS, guidance: float = GUIDANCE
    ) -> Tensor:
        """Latents at the end of the trajectory, ``[B, C, H, W]``."""
        kinds: dict[type[Steer] | None, list[int]] = {}
        for i, guide in enumerate(self.guides or [None] * len(self.texts)):
            kinds.setdefault(type(guide) if isinstance(guide, Steer) else None, []).append(i)
        if len(kinds) < 2:
            return self._sampled(model, num_steps, guidance)
        parts = [self[rows]._sampled(model, num_steps, guidance) for rows in kinds.values()]
        order = torch.tensor([i for rows in kinds.values() for i in rows]).argsort()
        return torch.cat(parts)[order.to(parts[0].device)]

    def spent(self, num_steps: int = STEPS) -> list[Effort]:
        """The efforts, with what is evaluated while sampling besides the two of each step."""
        steers = self.guides or [None] * len(self.texts)
        beside = [one.nfe if isinstance(one, Steer) else 0 for one in steers]
        return [
            replace(effort, nfe=effort.nfe + num_steps * nfe)
            for effort, nfe in zip(self.efforts, beside, strict=True)
        ]

    def _sampled(self, model: DiffusionModel, num_steps: int, guidance: float) -> Tensor:
        """The same of rows that are all sampled in one way."""
        steers = [guide for guide in self.guides if isinstance(guide, Steer)]
        with self.hooks(model):
            if steers:
                given = self.x, self.conditioning, num_steps, guidance
                return type(steers[0]).sample(steers, model, *given)
            return model.sample(self.x, self.conditioning, num_steps, self._guided(guidance))

    def _guided(self, guidance: float) -> float | Guidance:
        """The scale of every row, where some have a guide of their own."""
        if not any(self.guides):
            return guidance
        guides = [None if isinstance(guide, Steer) else guide for guide in self.guides]
        scales = [guide.start(guidance) if guide else None for guide in guides]

        def of_rows(t: float, norms: Tensor) -> Tensor:
            pairs = zip(scales, norms.tolist(), strict=True)
            given = [scale(t, norm) if scale else guidance for scale, norm in pairs]
            return torch.tensor(given, device=norms.device)

        return of_rows


@dataclass
class Mitigation(ABC):
    """A way to keep a model from copying.

    Attributes:
        name: The row it fills in a table.
    """

    paper: ClassVar[Paper | None] = None
    name: str

    def require(self, model: DiffusionModel) -> None:  # noqa: B027
        """Checks before anything is evaluated that the model has what it changes.

        Raises:
            UserError: It has not.
        """

    @abstractmethod
    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        """What is sampled instead, of few enough rows for one pass."""

    def ready(self, model: DiffusionModel, ordinary: Ordinary) -> Mitigation:
        """What acts on prompts: itself, or with what must be learnt of ordinary prompts first.

        Raises:
            UserError: The model lacks what is changed, or the prompts are too few.
        """
        self.require(model)
        return self

    @property
    def uses_ordinary(self) -> bool:
        """Whether :meth:`ready` looks at ordinary prompts."""
        return False

    @property
    def width(self) -> int:
        """Latents that it evaluates at once for each row."""
        return 1

    @property
    def most(self) -> Effort:
        """What one prompt takes at most."""
        return Effort()

    @property
    def beside(self) -> int:
        """Latents that a row evaluates in every step, at most, besides the two of guidance."""
        return 0

    def __call__(
        self,
        model: DiffusionModel,
        texts: Sequence[str],
        x: Tensor,
        seeds: Sequence[int],
        batches: Batches | None = None,
    ) -> Mitigated:
        """What is sampled instead.

        Arguments:
            model: The model that is sampled.
            texts: B prompts.
            x: Their noise, ``[B, C, H, W]``.
            seeds: What every row's noise was drawn from (:meth:`DiffusionModel.initial_noise`);
                further noise and random words are drawn from it too.
            batches: Which know how many latents fit into a pass; new ones if not given.

        Raises:
            UserError: The model lacks what is changed, or memory ends at batch size 1.
        """
        self.require(model)
        batches = batches or Batches(model)
        x = x.to(model.device)

        def part(rows: slice) -> Mitigated:
            return self.apply(model, texts[rows], x[rows], seeds[rows])

        return Mitigated.cat(batches.in_batches(len(texts), part, self.width))


def require_number(what: str, value: object, least: float = 0, allowed: bool = False) -> None:
    """Raises unless ``value`` is a finite number above ``least``.

    Arguments:
        what: The setting's name.
        value: The value as given.
        least: The smallest value allowed.
        allowed: Whether the bound itself is allowed.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not number or value < least or (value == least and not allowed):  # type: ignore[operator]
        bound = f"from {least:g}" if allowed else f"above {least:g}"
        raise UserError(f"{what} must be a number {bound}, got {value!r}")


def require_count(what: str, value: object, least: int = 1) -> None:
    """Raises unless ``value`` is an integer from ``least``."""
    if type(value) is not int or value < least:
        raise UserError(f"{what} must be an integer from {least}, got {value!r}")


def moved(before: Tensor, after: Tensor) -> list[float]:
    r"""Relative distance :math:`\|a - b\|_2 / \|b\|_2` of every row."""
    b, a = before.flatten(1).double(), after.flatten(1).double()
    distance: list[float] = ((a - b).norm(dim=1) / b.norm(dim=1)).tolist()
    return distance
