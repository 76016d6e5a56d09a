"""What detectors may ask of generated latents that are noised again.

Needs as those of ``needs``; their evaluation is in ``engine/renoised.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from anisomem.detection.needs import After, Need, Placed
from anisomem.detection.places import LAST
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass(frozen=True)
class Representation(Placed):
    r"""What the first up-sampling block makes of the generated latents, without prompt.

    The end of the guided trajectory is noised, :math:`\alpha_t x + \sigma_t \varepsilon`, with
    noise that is the same for all prompts at a noise sample and another than the trajectory began
    with. 1 NFE. Evaluated to the largest activation over positions of every residual layer of the
    block, ``[B, layers, channels]``.
    """

    capability = Capability.REPRESENTATION

    def made_from(self) -> Sequence[Need]:
        return (After(LAST),)


@dataclass(frozen=True)
class Cycled(Need):
    r"""The generated latents after cycles of noising and denoising, ``[B, C, H, W]``.

    A cycle noises them to a share gamma of the schedule and takes guided steps back to data,
    2 NFE each. Its noise is drawn anew for each cycle, and is the same for all prompts at a noise
    sample. Without any cycle they are the end of the guided trajectory.
    """

    cycles: int = 60
    gamma: float = 0.9
    steps: int = 10

    def resolved(self, model: DiffusionModel) -> Need:
        model.schedule.partial(self.gamma, self.steps)  # raises where there are not so many
        return super().resolved(model)

    def made_from(self) -> Sequence[Need]:
        return (After(LAST),)


@dataclass(frozen=True)
class FluxDifference(Placed):
    r"""How much more the score flows out of a small sphere with the prompt than without.

    At the latents of :class:`Cycled`, scaled by :math:`\alpha_t`, in ``pairs`` of opposite
    directions, :math:`x_\pm = x \pm r e`, 4 NFE a pair. Evaluated to each pair's estimate of the
    difference of divergences :math:`\nabla \cdot (s_c - s_u)`, ``[B, pairs]``:

    .. math:: D\, \frac{\langle (s_c - s_u)(x_+) - (s_c - s_u)(x_-),\ x_+ - x_- \rangle}
        {\|x_+ - x_-\|^2}

    Arguments:
        radius: r in :math:`\sigma_t \sqrt D` for latents of D numbers.
    """

    pairs: int = 8
    radius: float = 0.01
    cycles: int = 60
    gamma: float = 0.9
    steps: int = 10

    @property
    def cycled(self) -> Cycled:
        """The latents that it is about."""
        return Cycled(self.cycles, self.gamma, self.steps)

    def resolved(self, model: DiffusionModel) -> Self:
        self.cycled.resolved(model)
        return super().resolved(model)

    def made_from(self) -> Sequence[Need]:
        return (self.cycled,)
