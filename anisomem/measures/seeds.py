"""How pictures of one prompt differ: among seeds, and from what no mitigation would have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from anisomem.errors import UserError
from anisomem.measures.base import Array, Generated, Measure, References, Statistic, mean
from anisomem.measures.pixels import distances


@dataclass
class Diversity(Measure):
    r"""Mean distance of a picture to the others of its prompt.

    .. math:: \frac{1}{S - 1} \sum_{t \ne s} d(x_s, x_t)

    with the root-mean-square difference of colours in [0, 1] without shifts,
    :func:`anisomem.measures.pixels.distances`. A prompt whose every seed gives one picture has 0.

    Raises:
        UserError: One picture of a prompt.
    """

    _device: str = field(init=False, repr=False, compare=False)

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic("distance between seeds", "diversity", "spread", mean),)

    def start(self, references: References, device: str) -> None:
        self._device = device

    def __call__(self, generated: Generated) -> dict[str, Array]:
        count = len(generated.pictures)
        if count < 2:
            raise UserError(
                f"{self.name} compares pictures of several seeds and got one; give two or more "
                "with seeds=[...]"
            )
        found = distances(generated.pictures, generated.pictures, 0, self._device)
        return {"spread": found.sum(axis=1) / (count - 1)}


@dataclass
class Moved(Measure):
    """Root-mean-square difference to the picture without mitigation, colours in [0, 1].

    Both are from the same noise: 0 where the mitigation changed nothing. It says nothing about
    whether the prompt is still followed; where a picture was a copy, moving it is the purpose.
    """

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic("moved", "fidelity", "distance", mean, smaller=True),)

    def __call__(self, generated: Generated) -> dict[str, Array]:
        change = generated.pictures.astype(np.float64) - generated.plain
        return {"distance": np.sqrt(np.square(change).mean(axis=(1, 2, 3))) / 255}
