"""Rows steered by a third prediction: that of the prompt as it was given.

In every step the network is evaluated without prompt, with what is sampled, and with the prompt as
it was given, attended to as always: one pass of three latents a row. ``guard`` and ``reanchor``
say what is made of the three.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from anisomem.mitigation.base import Steer
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Prediction

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass(frozen=True)
class Anchored(Steer):
    """A row that is steered by three predictions.

    Attributes:
        anchor: The prompt as it was given, one row.
    """

    nfe: ClassVar[int] = 1
    anchor: Conditioning

    @abstractmethod
    def output(
        self, progress: float, guidance: float, u: Tensor, c: Tensor, given: Tensor
    ) -> Tensor:
        """The output that the step is taken with, ``[1, C, H, W]``.

        Arguments:
            progress: The share of the steps that is done.
            guidance: The guidance scale that is asked for.
            u, c, given: The outputs without prompt, with what is sampled, and with the prompt as
                it was given, ``[1, C, H, W]``.
        """

    @classmethod
    def sample(
        cls,
        steers: Sequence[Self],
        model: DiffusionModel,
        x: Tensor,
        conditioning: Conditioning,
        num_steps: int,
        guidance: float,
    ) -> Tensor:
        n, total = len(x), len(model.timesteps(num_steps))
        empty = model.encode([""])[[0] * n]
        anchors: Conditioning = Conditioning.cat([steer.anchor for steer in steers])
        prompts = Conditioning.cat([empty, conditioning, anchors])
        done = 0

        def evaluate(x: Tensor, t: float) -> tuple[Prediction, None]:
            nonlocal done
            prediction = model.predict(torch.cat([x, x, x]), t, prompts)
            outputs = [
                steer.output(done / total, guidance, *prediction.output[i::n].chunk(3))
                for i, steer in enumerate(steers)
            ]
            done += 1
            return replace(prediction[:n], raw=torch.cat(outputs)), None

        return model.sample(x, conditioning, num_steps, guidance, evaluate)
