r"""Whether a copy comes back: an embedding close to the prompt's is searched that brings it.

A mitigation that hides a picture from the prompt need not have taken it out of reach. As DoRI does
to pruned models (Kowalczuk et al., ICML 2026, arXiv 2507.16880), an offset of the prompt's
embeddings, one for all its noise, descends the denoising loss of the training picture
:math:`x_0`,

.. math:: \min_\delta\; \mathbb{E}_{t, \varepsilon} \bigl\|
    \varepsilon - \hat\varepsilon(\alpha_t x_0 + \sigma_t \varepsilon, t, e + \delta) \bigr\|_2^2
    \quad\text{ with }\quad \|\delta\|_2 \le \rho\, \|e\|_2

by Adam, with other noise and timesteps in every step, and after each step the offset is cut to its
length. Then the prompt is sampled with the mitigation on: whatever the mitigation does, it does to
a prompt whose embeddings are :math:`e + \delta`, from the noise of the pictures before. What is
sampled is judged as the pictures before were.

As in DoRI: 50 steps, learning rate 0.1, 8 noised pictures a step. Theirs has no bound
:math:`\rho`, and non-memorized pictures came after 500 steps alone; *close* is ours. Timesteps are
those of the trajectory here, and all of them there. DoRI's formulas are known to us second hand.

The search is made in :mod:`anisomem.tradeoff.retriggering`; here is what it is asked for and how
its pictures are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anisomem.errors import UserError
from anisomem.measures.base import (
    Array,
    Generated,
    Measure,
    Statistic,
    TrainingPictures,
    mean,
)
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class Retrigger(Measure):
    """The share of pictures that are copies after the search, and of those stopped that return.

    Arguments:
        judge: A measure of copying with a share among its statistics, whose criterion is taken.
        steps, lr: Of Adam.
        batch: Noised training pictures in a step.
        radius: The largest length of the offset, relative to that of the embeddings.
        seed: Of the search's noise and timesteps.

    Raises:
        UserError: A value out of range, or a judge that knows no copy from another picture.
    """

    of_copies: ClassVar[bool] = True
    searches: ClassVar[bool] = True
    judge: Measure
    steps: int = 50
    lr: float = 0.1
    batch: int = 8
    radius: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        for what, least in (("steps", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, what)
            if type(value) is not int or value < least:
                raise UserError(
                    f"{self.name}.{what} must be an integer from {least}, got {value!r}"
                )
        for what in ("lr", "radius"):
            value = getattr(self, what)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not isfinite(value) or value <= 0:
                raise UserError(f"{self.name}.{what} must be a number above 0, got {value!r}")
        shares = [one for one in self.judge.statistics if one.percent and not one.among]
        shares = [one for one in shares if one.subject == "copying"]
        if not shares or self.judge.searches:
            raise UserError(
                f"{self.name}.judge must say of a picture whether it is a copy, as reproduction, "
                f"pixel_l2 and sscd do; got {type(self.judge).__name__}"
            )
        self._share = shares[0]

    @property
    def statistics(self) -> Sequence[Statistic]:
        def one(word: str, column: str, among: str | None = None) -> Statistic:
            name = f"{word} ({self._share.name})"
            return Statistic(name, "copying", column, mean, percent=True, among=among)

        return one("re-triggered", "retriggered"), one("returned", "returned", "stopped")

    def reads(self) -> dict[str, str]:
        return self.judge.reads()

    def require(self, model: DiffusionModel) -> None:
        for capability in (Capability.EMBEDDINGS, Capability.DERIVATIVES, Capability.ENCODER):
            model.require(capability, f"{self.name} searches embeddings; leave it out")

    def start(self, references: TrainingPictures, device: str) -> None:
        self.judge.start(references, device)

    def __call__(self, generated: Generated) -> dict[str, Array]:
        if generated.again is None:
            raise ValueError(f"{self.name} judges pictures that were sampled after a search")
        before = self._copies(generated)
        after = self._copies(replace(generated, pictures=generated.again))
        stopped = 1 - before
        return {"retriggered": after, "stopped": stopped, "returned": stopped * after}

    def _copies(self, generated: Generated) -> Array:
        """1 for pictures that are copies, 0 for others, ``[S]``."""
        of_pictures = self.judge(generated)[self._share.column]
        return np.asarray(self._share.reduce(of_pictures[:, None]), np.float64)
