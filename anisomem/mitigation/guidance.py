"""Predictions with and without prompts on fixed noise, differentiable in the prompts.

Losses over them are in ``anisotropy`` and ``wen``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anisomem.detection.needs import Conditional, Evaluations, Need, Unconditional
from anisomem.detection.places import At
from anisomem.errors import one_of
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Prediction

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

#: Which embeddings may move: every one, all behind the start token, those of the prompt's words,
#: or the end-of-text token and what pads the prompt.
TOKENS = ("all", "after_start", "prompt", "tail")


class OnNoise:
    """Evaluates some prompts on n noise samples each.

    The predictions without prompt are evaluated once and serve every step.

    Arguments:
        model: The model that predicts.
        x: The noise, ``[B, C, H, W]``.
        seeds: The seeds of every row; its further noise samples are those that a detector would
            use.
        n: Noise samples, the first of which is ``x``.
        places: Where in the schedule.
    """

    def __init__(
        self,
        model: DiffusionModel,
        x: Tensor,
        seeds: Sequence[int],
        n: int,
        places: Sequence[At],
    ) -> None:
        self.model, self.n = model, n
        self.places = {at: at.timestep_in(model) for at in places}
        self.steps = list(dict.fromkeys(self.places.values()))
        further = [model.initial_noise(seed, n)[1:] for seed in seeds]
        self.x = torch.cat([x[:, None], torch.stack(further).to(x)], dim=1)  # [B, n, C, H, W]
        self.x = self.x.to(model.dtype)
        with torch.no_grad():
            self.empty = model.encode([""])
            rows = torch.arange(len(x))
            self.unconditional = self._predicted(self.empty[[0] * len(x)], rows)

    @property
    def width(self) -> int:
        """Latents that are evaluated for a row."""
        return self.n * len(self.steps)

    def evaluations(self, conditioning: Conditioning, rows: Tensor) -> Evaluations:
        """Evaluates every noise sample of some rows, ``b * n`` rows with samples innermost."""
        values: dict[Need, Prediction] = {}
        predictions = self._predicted(conditioning, rows)
        index = (rows.cpu()[:, None] * self.n + torch.arange(self.n)).flatten()
        for at, t in self.places.items():
            values[Conditional(at)] = predictions[t]
            values[Unconditional(at)] = self.unconditional[t][index]
        return Evaluations(self.x[rows].flatten(0, 1), values)

    def _predicted(self, conditioning: Conditioning, rows: Tensor) -> dict[float, Prediction]:
        """Predicts at every timestep, all together."""
        x, count = self.x[rows].flatten(0, 1), len(self.steps)
        repeated = torch.arange(len(rows)).repeat_interleave(self.n).repeat(count)
        t = torch.tensor(self.steps).repeat_interleave(len(x))
        prediction = self.model.predict(x.repeat(count, 1, 1, 1), t, conditioning[repeated])
        return {
            step: prediction[i * len(x) : (i + 1) * len(x)] for i, step in enumerate(self.steps)
        }


def embedded(
    model: DiffusionModel, conditioning: Conditioning, embeddings: Tensor
) -> Conditioning:
    """The conditioning with other embeddings."""
    return replace(conditioning, embeddings=embeddings.to(model.dtype))


def precise(conditioning: Conditioning) -> Tensor:
    """Its embeddings, in float32 or better."""
    embeddings = conditioning.required_embeddings()
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))


def movable(conditioning: Conditioning, tokens: str) -> Tensor:
    """1 for the tokens that may move, 0 for others, like the embeddings.

    Raises:
        UserError: No such choice.
    """
    one_of("tokens", tokens, TOKENS)
    embeddings = precise(conditioning)
    position = torch.arange(embeddings.shape[1], device=embeddings.device)[None]
    chosen = position >= (tokens != "all")
    if tokens in ("prompt", "tail"):
        tail = position >= conditioning.required_end()[:, None]
        chosen = chosen & (tail if tokens == "tail" else ~tail)
    return chosen.to(embeddings)[:, :, None].expand_as(embeddings)
