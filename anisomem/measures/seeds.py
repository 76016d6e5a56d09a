"""How pictures of a prompt differ from each other, and from those without a mitigation.

Needs no training pictures; copying is in ``pixels`` and ``sscd``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from anisomem.measures.base import Array, Generated, Measure, Statistic, mean
from anisomem.measures.pixels import rms


@dataclass
class Diversity(Measure):
    r"""Mean distance of a picture to the prompt's other pictures, one a seed.

    .. math:: \frac{1}{S - 1} \sum_{j \ne i} \text{rms}(x_i, x_j)

    with :func:`~anisomem.measures.pixels.rms`, colours in [0, 1].
    """

    least: ClassVar[int] = 2

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic("diversity", "diversity", "diversity", mean),)

    def __call__(self, generated: Generated) -> dict[str, Array]:
        pictures = generated.pictures
        away = np.stack([rms(pictures, one) for one in pictures])
        return {"diversity": away.sum(axis=1) / (len(pictures) - 1)}


@dataclass
class Moved(Measure):
    """Distance to the picture without a mitigation, from the same noise.

    Root-mean-square difference of colours in [0, 1]. On prompts that are not memorized nothing
    need change, and less is more fidelity; on memorized ones the copy has to go.
    """

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic("moved", "change", "moved", mean),)

    def __call__(self, generated: Generated) -> dict[str, Array]:
        return {"moved": rms(generated.pictures, generated.plain)}
