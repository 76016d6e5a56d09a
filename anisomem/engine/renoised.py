"""Evaluates what is asked of generated latents that are noised again.

The needs are :mod:`anisomem.detection.renoised`.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from anisomem.detection.needs import Need
from anisomem.detection.renoised import Cycled, FluxDifference, Representation
from anisomem.engine.batches import Batches
from anisomem.engine.draws import Draw
from anisomem.models.conditioning import Conditioning


class Renoised:
    """The latents of some prompts after their guided trajectories, and what follows.

    Arguments:
        batches: The model, and the conditioning of no prompt.
        draw: The noise sample, which random numbers depend on.
        guidance: The guidance scale of a cycle's steps.
    """

    def __init__(self, batches: Batches, draw: Draw, guidance: float) -> None:
        self.batches, self.model = batches, batches.model
        self.draw, self.guidance = draw, guidance

    def value(self, need: Need, x: Tensor, prompts: Conditioning) -> Tensor:
        """What a need is evaluated to, from the latents that it is made from."""
        match need:
            case Representation():
                return self.representation(need, x)
            case Cycled():
                return self.cycled(need, x, prompts)
            case FluxDifference():
                return self.flux(need, x, prompts)
        raise TypeError(f"{type(need).__name__} is none of the needs of renoised latents")

    def representation(self, need: Representation, x: Tensor) -> Tensor:
        """Pooled activations at noised latents without prompt, ``[B, layers, channels]``."""
        noised = self._noised(x, need.t, self.draw.normal(0, b"noise"))
        empty = self.batches.empty[[0] * len(x)]
        _, activations = self.model.represent(noised.to(self.model.dtype), need.t, empty)
        return activations

    def cycled(self, need: Cycled, x: Tensor, prompts: Conditioning) -> Tensor:
        """The latents after cycles of noising and guided steps back, ``[B, C, H, W]``."""
        t = self.model.schedule.noised(need.gamma)
        for cycle in range(need.cycles):
            x = self._noised(x, t, self.draw.normal(cycle, b"cycle"))
            x = self.model.sample(x, prompts, need.steps, self.guidance, gamma=need.gamma)
        return x

    def flux(self, need: FluxDifference, cycled: Tensor, prompts: Conditioning) -> Tensor:
        """Every pair's estimate of the difference of divergences, ``[B, pairs]``."""
        alpha, _ = self._scales(need.t)
        x = (alpha.to(cycled) * cycled).to(self.model.dtype)
        return torch.stack([self._pair(need, x, prompts, i) for i in range(need.pairs)], dim=1)

    def _pair(self, need: FluxDifference, x: Tensor, prompts: Conditioning, number: int) -> Tensor:
        v = self.draw.normal(number, b"direction").to(x)
        _, sigma = self._scales(need.t)
        away = need.radius * sigma.item() * prod(x.shape[1:]) ** 0.5 * v / v.norm()
        both = torch.cat([x + away, x - away])
        n = len(both)
        given = Conditioning.cat([prompts, prompts, self.batches.empty[[0] * n]])
        predictions = self.model.predict(torch.cat([both, both]), need.t, given)
        c, u = predictions[:n], predictions[n:]
        difference = c.coefficient(c.score_per_output) * (c.output - u.output)
        # The step that was taken, which in half precision is not quite the one that was meant.
        step, change = (
            (plus - minus).flatten(1)
            for plus, minus in (both.to(difference).chunk(2), difference.chunk(2))
        )
        return step.shape[1] * (change * step).sum(dim=1) / step.square().sum(dim=1)

    def _noised(self, x: Tensor, t: float, noise: Tensor) -> Tensor:
        """Data with noise as at a timestep."""
        alpha, sigma = (scale.to(x) for scale in self._scales(t))
        return alpha * x + sigma * noise.to(x)

    def _scales(self, t: float) -> tuple[Tensor, Tensor]:
        return self.model.scales(torch.tensor([t]))
