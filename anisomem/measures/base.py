"""What a measure is: numbers for every picture of a prompt, and how a prompt's number is made.

A measure looks at pictures alone, so what is sampled once can be measured by any number of them.
Copying is measured on prompts with known training pictures, everything else on all prompts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]  # [H, W, 3]
SUBJECTS = ("copying", "fidelity", "diversity", "change")


@dataclass(frozen=True)
class TrainingPictures:
    """The training pictures of some prompts.

    Attributes:
        pictures: Prompt id to its training pictures, ``[h, w, 3]`` each, at least one.
        lacking: Prompt id to why none of its training pictures is at hand.
    """

    pictures: Mapping[str, Sequence[Picture]]
    lacking: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Of whose they are and every pixel."""
        total = sha256()
        for key, pictures in sorted(self.pictures.items()):
            total.update(key.encode())
            for picture in pictures:
                total.update(str(picture.shape).encode() + picture.tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class Generated:
    """The pictures of one prompt.

    Attributes:
        id: The id of the prompt.
        text: The prompt as the user gave it, whatever a mitigation made of it.
        pictures: One a seed, uint8 ``[S, H, W, 3]``.
        plain: The same without a mitigation, from the same noise.
        again: The same after a search for what brings the training picture back, or None.
    """

    id: str
    text: str
    pictures: npt.NDArray[np.uint8]
    plain: npt.NDArray[np.uint8]
    again: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Statistic:
    """A prompt's number, made of its pictures' numbers.

    Attributes:
        name: The statistic's name as a heading.
        subject: What it says something about, of :data:`SUBJECTS`.
        column: The column of a measure.
        reduce: ``[N, S]`` for N prompts of S pictures to ``[N]``.
        percent: Whether it is a share, printed as a percentage.
        smaller: Whether smaller values are more of it: more copying, more fidelity.
        among: A column of pictures that count, 1, or do not, 0: then the mean is over those that
            count, ``column`` being 0 for the others.
    """

    name: str
    subject: str
    column: str
    reduce: Callable[[Array], Array]
    percent: bool = False
    smaller: bool = False
    among: str | None = None


@dataclass
class Measure(ABC):
    """Judges pictures.

    Arguments:
        name: The name in a table's notes, and of the store.

    Attributes:
        of_copies: Whether it compares with training pictures; then it is asked only about prompts
            that have one.
        searches: Whether it samples once more, after a search for what brings the training
            picture back.
        least: Pictures that a prompt must have.
    """

    of_copies: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    least: ClassVar[int] = 1
    name: str

    @property
    @abstractmethod
    def statistics(self) -> Sequence[Statistic]:
        """What a table may show of it, the most telling first."""

    def reads(self) -> dict[str, str]:
        """What its numbers depend on besides its settings, by name; settings may be replaced."""
        return {}

    def require(self, model: DiffusionModel) -> None:  # noqa: B027
        """Checks before anything is sampled that the model has what it needs.

        Raises:
            UserError: It has not.
        """

    def start(self, references: TrainingPictures, device: str) -> None:  # noqa: B027
        """Loads what is needed, once in a process and before the first picture.

        Raises:
            UserError: Weights that are not there, or are others than they should be.
        """

    @abstractmethod
    def __call__(self, generated: Generated) -> dict[str, Array]:
        """Column to a finite number for every picture, ``[S]``."""


class Vectors(ABC):
    """What a measure also is that compares pictures by the distance of vectors, one a picture.

    So the nearest of many pictures can be found (:mod:`anisomem.measures.nearest`).

    Attributes:
        quantity: What a distance is said as.
        meaning: What that means, for a reader of a page.
        larger: Whether it is larger where pictures are more alike.
    """

    quantity: ClassVar[str]
    meaning: ClassVar[str]
    larger: ClassVar[bool] = False

    def load(self, device: str) -> None:  # noqa: B027
        """Loads what is needed, before the first vector.

        Raises:
            UserError: Weights that are not there, or are others than they should be.
        """

    @abstractmethod
    def vectors(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """Vectors ``[n, d]`` of pictures of any sizes."""

    def said(self, distances: Array) -> Array:
        """What Euclidean distances are said as."""
        return distances


def mean(values: Array) -> Array:
    """The mean over a prompt's pictures, ``[N, S]`` to ``[N]``."""
    return values.mean(axis=1)


def largest(values: Array) -> Array:
    """The largest of a prompt's pictures, MemBench's top-1, ``[N, S]`` to ``[N]``."""
    return values.max(axis=1)


def largest_three(values: Array) -> Array:
    """Mean of the three largest, or of all where there are fewer: MemBench's top-3."""
    return np.sort(values, axis=1)[:, -3:].mean(axis=1)


@dataclass(frozen=True)
class ShareAbove:
    """Share of a prompt's pictures whose number exceeds a bound."""

    bound: float

    def __call__(self, values: Array) -> Array:
        return (values > self.bound).mean(axis=1)
