"""Places in a model's schedule, as settings write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from anisomem.errors import UserError

if TYPE_CHECKING:  # scoring what is stored needs no torch
    from anisomem.models.base import DiffusionModel


class At(str):
    """A place in the model's 50-step schedule, written ``step:i`` or ``t:value``.

    Step 0 is the noisiest; negative steps count from the end. A timestep is an integer but for
    flow-matching models.

    Raises:
        UserError: Anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not re.fullmatch(r"step:-?\d{1,4}|t:-?\d{1,6}(\.\d+)?(e-?\d+)?", str(text)):
            raise UserError(f"a timestep reads step:INDEX or t:VALUE, got {text!r}")
        return super().__new__(cls, text)

    @classmethod
    def timestep(cls, t: float) -> Self:
        """The place of a timestep of the schedule."""
        return cls(f"t:{t!r}")

    @property
    def t(self) -> float:
        """The timestep, of a place written with one."""
        value = self.removeprefix("t:")
        return float(value) if "." in value or "e" in value else int(value)

    def timestep_in(self, model: DiffusionModel) -> float:
        """The timestep in ``model``'s schedule.

        Raises:
            UserError: Outside the schedule.
        """
        steps = model.timesteps()
        if self.startswith("t:"):
            model.schedule.require(self.t)
            return next((t for t in steps if t == self.t), type(steps[0])(self.t))
        step = int(self.removeprefix("step:"))
        if not -len(steps) <= step < len(steps):
            raise UserError(
                f"step {step} is outside the schedule, which has 0 to {len(steps) - 1}"
            )
        return steps[step]

    def require_noise(self, model: DiffusionModel) -> None:
        r"""Refuses a place where the predicted noise follows from the latent alone.

        Where nothing is left of a picture, :math:`\alpha = 0`, the latent is the noise: a network
        that predicts a velocity says nothing of it there, with whatever prompt, and differences
        and derivatives of the noise are 0. So it is at the first step of flow matching, and of
        schedules that end in pure noise.

        Raises:
            UserError: It is such a place.
        """
        import torch

        alpha = model.scales(torch.tensor([self.timestep_in(model)]))[0].item()
        if alpha == 0 and model.parameterisation != "epsilon":
            raise UserError(
                f"at {self} the latent is the noise, whatever the prompt, so nothing can be read"
                " of it; choose a later step, or leave out the detectors that need it"
            )


FIRST, LAST = At("step:0"), At("step:-1")
