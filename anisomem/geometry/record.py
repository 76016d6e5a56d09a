"""What ``anisomem geometry`` evaluates of a model, kept in files that are whole or not there.

Every prompt is evaluated with and without its text at all steps of the schedule on four kinds of
latents that share one noise: the noise itself, its *true* latents noised by it, and those of a
guided and of an unguided trajectory from it. True latents are the encoded training picture (the
first of several) where the prompt set has it or it was fetched, else the picture that the model
generates for the prompt as a stand-in.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anisomem.config.schema import Config
from anisomem.datasets.prompts import LABELS, PromptSet
from anisomem.errors import UserError
from anisomem.evaluation import folds
from anisomem.geometry.alignment import InputAlignment
from anisomem.measures import training_pictures
from anisomem.measures.base import Picture
from anisomem.run import identity, labelled
from anisomem.run.base import Run, sources_of_model
from anisomem.storage import atomic

Array = npt.NDArray[np.float64]
Task = tuple[str, list[int]]  # a name, and the rows of some prompts

LATENTS = ("noise", "noised", "guided", "unguided")
VECTORS = ("output", "score")
#: Inner products of predictions and input as :class:`InputAlignment` has them, then the mean over
#: positions of the cosine over channels.
QUANTITIES = ("uu", "cc", "uc", "xx", "xu", "xc", "position")
HIGH, LOW = 0, -3  # the published steps of norm and cosine
SCALES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4)  # of pure noise at that step
FACTORS = (0.5, 2, 4)  # of the sides of latents, where the network takes other sizes
LONGEST = 64  # side of latents beyond which they are at most doubled
BATCH = 32  # prompts of a file
LEAST = 5  # prompts of each class, which weights are chosen on in as many folds
MAPPED = 3  # prompts of each class whose maps are kept


@dataclass(frozen=True)
class Part:
    """All that a process needs to know of a task.

    Attributes:
        name: Of its file, which begins with ``levels``, ``inputs``, ``maps`` or ``spectrum``.
        texts: Its prompts.
        pictures: Their training pictures, None where none is at hand; of levels alone.
        latents: Their true latents ``[n, C, h, w]``; of maps and spectra.
        whole: Whether a Jacobian is computed whole.
    """

    name: str
    texts: Sequence[str]
    pictures: Sequence[Picture | None] = ()
    latents: npt.NDArray[np.float32] | None = None
    whole: bool = False


@dataclass(frozen=True)
class Extent:
    """How much is evaluated of a model.

    Attributes:
        per_class: Prompts of each class at most, drawn by the seed.
        spectra: Prompts of each class whose spectra are estimated, by ``probes`` random signs.
        whole: The first of them whose Jacobian is computed whole, or its ends by Lanczos.
        levels: Steps of the schedule that have spectra.
    """

    per_class: int = 100
    spectra: int = 8
    whole: int = 2
    probes: int = 8
    levels: tuple[int, ...] = (0, 25, 37, 47)
    whole_levels: tuple[int, ...] = (0, 25, 47)


EXTENT = Extent()


def other_sizes(latent_shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """The shapes of other sizes at which a network with such latents is evaluated."""
    channels, height, width = latent_shape
    shapes = [(channels, round(height * f), round(width * f)) for f in FACTORS]
    return [shape for shape in shapes if max(shape) <= max(LONGEST, 2 * height, 2 * width)]


class Recording(Run[PromptSet]):
    """One model on its prompts; evaluates what is missing and reads what is there.

    Arguments:
        config: The composed configuration of the case.
        parent: Folder below ``runs``.
        plan: How much.
    """

    def __init__(self, config: Config, parent: str, extent: Extent = EXTENT) -> None:
        self.extent = extent
        whole = labelled.prompts(config)
        left = labelled.limited(whole, config.limit, config.limit_seed)
        rng = np.random.default_rng(config.seeds[0])
        rows = []
        for label in (1, 0):
            drawn = rng.permutation(np.flatnonzero(whole.labels == label))
            rows.append(drawn[np.isin(drawn, left)][: extent.per_class])
            if len(rows[-1]) < LEAST:
                raise UserError(
                    f"{whole.name!r} has {len(rows[-1])} {LABELS[label]} prompts, and geometry"
                    f" needs {LEAST} of each class" + " within limit" * (len(left) < len(whole))
                )
        prompts = whole.subset(np.concatenate(rows))
        try:  # as the weights will be chosen
            folds(prompts.labels, prompts.clusters)
        except ValueError as error:
            raise UserError(f"{whole.name!r}: {error}") from None
        found = training_pictures.find_training_pictures(prompts, config.paths.data)
        self.pictures = found.pictures
        sources = sources_of_model(config)
        content = identity.describe(config, {"geometry": 2}, prompts, sources=sources)
        content |= {"plan": asdict(extent), "pictures": found.digest}
        super().__init__(config, parent, prompts, content)

    def tasks(self) -> list[Task]:
        """Name and rows of everything that is evaluated, in an order that serves what needs it."""
        n = len(self.prompts)
        levels = [list(range(n))[i : i + BATCH] for i in range(0, n, BATCH)]
        chosen = [self.of_class(label, self.extent.spectra) for label in (1, 0)]
        return [
            *((f"levels-{rows[0]:04}", rows) for rows in levels),
            *((f"inputs-{rows[0]:04}", rows) for rows in levels),
            ("maps", [*self.of_class(1, MAPPED), *self.of_class(0, MAPPED)]),
            ("spectrum-none", []),
            *((f"spectrum-{i:04}", [i]) for rows in chosen for i in rows),
        ]

    def part(self, task: Task) -> Part:
        """A task with what it asks of the recording; levels come first, which others read."""
        name, rows = task
        texts, ids = ([of[i] for i in rows] for of in (self.prompts.texts, self.prompts.ids))
        if name.startswith("levels"):
            shown = [self.pictures[key][0] if key in self.pictures else None for key in ids]
            return Part(name, texts, shown)
        if name.startswith("inputs"):
            return Part(name, texts)
        whole = not rows or any(
            rows[0] in self.of_class(label, self.extent.whole) for label in (1, 0)
        )
        latents = np.stack([self.latents_of(i) for i in rows]) if rows else None
        return Part(name, texts, latents=latents, whole=whole)

    def of_class(self, label: int, count: int) -> list[int]:
        """The first prompts of a class; training pictures first, so that latents are true."""
        rows = np.flatnonzero(self.prompts.labels == label).tolist()
        return sorted(rows, key=lambda i: self.prompts.ids[i] not in self.pictures)[:count]

    def file(self, name: str) -> Path:
        """Where a task's arrays lie."""
        return self.folder / f"{name}.npz"

    def missing(self) -> list[Task]:
        """Tasks without their file, or whose file is damaged."""
        return [task for task in self.tasks() if not self._whole(task[0])]

    def _whole(self, name: str) -> bool:
        try:
            self.read(name)
        except FileNotFoundError:
            return False
        except UserError as error:
            warnings.warn(f"{error}; it is evaluated again", stacklevel=2)
            return False
        return True

    def read(self, name: str) -> Mapping[str, Array]:
        """The arrays of a task."""
        return atomic.read_arrays(self.file(name))

    @cached_property
    def levels(self) -> Array:
        """``[latents, vectors, quantities, N, steps]``."""
        names = [name for name, _ in self.tasks() if name.startswith("levels")]
        return np.concatenate([self.read(name)["products"] for name in names], axis=3)

    @cached_property
    def timesteps(self) -> Array:
        """The timesteps of the steps, from noise to data."""
        return self.read(self.tasks()[0][0])["timesteps"]

    @cached_property
    def with_picture(self) -> Array:
        """Whether the true latents are a training picture's, ``[N]``."""
        names = [name for name, _ in self.tasks() if name.startswith("levels")]
        return np.concatenate([self.read(name)["with_picture"] for name in names])

    def alignment(self, latents: str, vectors: str = "output") -> InputAlignment:
        """The inner products ``[N, steps]`` on some latents."""
        values = self.levels[LATENTS.index(latents), VECTORS.index(vectors)]
        return InputAlignment(*values[:-1])

    def position_mean(self, latents: str, vectors: str = "output") -> Array:
        """Mean over positions of the cosine over channels, ``[N, steps]``."""
        values: Array = self.levels[LATENTS.index(latents), VECTORS.index(vectors), -1]
        return values

    @cached_property
    def inputs(self) -> dict[str, dict[float, InputAlignment]]:
        """Inner products of scores ``[N]`` at the step :data:`LOW` on other pure noise.

        By what is varied, ``scale`` or ``side``, and its value: noise times a factor, and latents
        whose longer side has so many positions.
        """
        parts = [self.read(name) for name, _ in self.tasks() if name.startswith("inputs")]
        products = np.concatenate([part["products"] for part in parts], axis=2)
        inputs: dict[str, dict[float, InputAlignment]] = {"scale": {}, "side": {}}
        for scale, side, values in zip(
            parts[0]["scales"], parts[0]["sides"], products, strict=True
        ):
            found = InputAlignment(*values[:-1])
            if side == parts[0]["side"]:
                inputs["scale"][float(scale)] = found
            if scale == 1:
                inputs["side"][int(side)] = found
        return inputs

    def latents_of(self, row: int) -> npt.NDArray[np.float32]:
        """The true latents of a prompt, ``[C, h, w]``."""
        part = self.read(f"levels-{row // BATCH * BATCH:04}")["latents"]
        return part[row % BATCH].astype(np.float32)

    @property
    def size(self) -> int:
        """Dimensions of a latent."""
        return int(self.latents_of(0).size)

    @property
    def latent_side(self) -> int:
        """Positions along the longer side of a latent."""
        return max(self.latents_of(0).shape[1:])

    def spectra(self) -> Iterator[tuple[int | None, Mapping[str, Array]]]:
        """The row of a prompt, None for no prompt on noise, and its arrays."""
        for name, rows in self.tasks():
            if name.startswith("spectrum"):
                yield (rows[0] if rows else None), self.read(name)
