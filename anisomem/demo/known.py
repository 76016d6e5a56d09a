"""The training pictures that are known of a model, and which of them is nearest to what it makes.

Their vectors are computed once, so that an answer costs a product of two matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.console import progress
from anisomem.datasets.prompts import PromptSet
from anisomem.datasets.training_folder import TrainingFolder
from anisomem.errors import UserError
from anisomem.measures.base import Picture, Vectors
from anisomem.measures.training_pictures import Decoded, decoded

BLOCK = 64  # pictures that are held at once
MOST = 1 << 30  # bytes of all vectors


@dataclass(frozen=True)
class Source:
    """Where a training picture comes from.

    Attributes:
        caption: What is said of it, "" for nothing.
        read: Gives the picture, ``[h, w, 3]``; a UserError where it cannot be read.
    """

    caption: str
    read: Callable[[], Picture]


@dataclass(frozen=True)
class Near:
    """The training picture that is nearest to a generated one.

    Attributes:
        picture: The training picture, ``[h, w, 3]``.
        caption: What is said of it, "" for nothing.
        distance: How near it is, as the measure says it.
    """

    picture: Picture
    caption: str
    distance: float


class KnownPictures:
    """Training pictures, ready to be compared with.

    Arguments:
        sources: The pictures.
        measure: What compares them, started.

    Attributes:
        unread: Why some of the pictures cannot be read.

    Raises:
        UserError: None can be read, or they are too many to be held.
    """

    def __init__(self, sources: Sequence[Source], measure: Vectors) -> None:
        self.measure, self.unread = measure, list[str]()
        self._sources: list[Source] = []
        blocks: list[npt.NDArray[np.float32]] = []
        for some in self._read(sources):
            blocks.append(measure.vectors(some))
            held = len(sources) * blocks[0].shape[1] * blocks[0].itemsize
            if held > MOST:
                fit = MOST * len(sources) // held
                raise UserError(
                    f"{len(sources):,} training pictures are more than the demo can hold; give a "
                    f"part of them, at most {fit:,}"
                )
        if not blocks:
            raise UserError(f"no training picture can be read, first {self.unread[0]}")
        self._vectors = np.concatenate(blocks)

    def __len__(self) -> int:
        return len(self._sources)

    def _read(self, sources: Sequence[Source]) -> Iterator[list[Picture]]:
        with progress.bar("training pictures", len(sources), "picture", leave=True) as bar:
            for begin in range(0, len(sources), BLOCK):
                block: list[Picture] = []
                for one in sources[begin : begin + BLOCK]:
                    try:
                        block.append(one.read())
                    except UserError as error:
                        self.unread.append(str(error))
                        continue
                    self._sources.append(one)
                if block:
                    yield block
                bar.update(min(BLOCK, len(sources) - begin))

    def nearest(self, pictures: npt.NDArray[np.uint8]) -> list[Near]:
        """The nearest training picture of each generated one.

        Arguments:
            pictures: uint8 ``[S, H, W, 3]``.
        """
        from sklearn.metrics.pairwise import euclidean_distances

        away = euclidean_distances(self.measure.vectors(list(pictures)), self._vectors)
        said = self.measure.said(away.min(axis=1).astype(np.float64))
        found = zip(away.argmin(axis=1), said, strict=True)
        return [self._near(int(place), float(distance)) for place, distance in found]

    def _near(self, place: int, distance: float) -> Near:
        return Near(self._sources[place].read(), self._sources[place].caption, distance)


def of_folder(folder: TrainingFolder) -> list[Source]:
    """The pictures of a user's folder, with what stands beside them."""
    captions = folder.captions(folder.names)
    return [Source(captions.get(name, name), _file(folder, name)) for name in folder.names]


def of_prompts(prompts: PromptSet, pictures: Decoded) -> list[Source]:
    """The pictures of a prompt set, with their prompts."""
    texts = dict(zip(prompts.ids, prompts.texts, strict=True))
    return [
        Source(texts[key], _encoded(read, key))
        for key, encoded in pictures.contents.items()
        for read in encoded
    ]


def _file(folder: TrainingFolder, name: str) -> Callable[[], Picture]:
    return lambda: folder.read(name)


def _encoded(read: Callable[[], bytes], key: str) -> Callable[[], Picture]:
    return lambda: decoded(read(), key)
