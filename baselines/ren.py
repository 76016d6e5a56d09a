r"""Entropy of cross-attention: to what extent a prompt's tokens share the attention.

With :math:`a` the cross-attention with the prompt, averaged over positions, and
:math:`E(a) = -\sum_i a_i \log a_i` over its 77 tokens:

* ``LayerEntropy`` (LE): :math:`E(\bar a^{(l)}_T)` at the first step in one layer, averaged over
  heads before the entropy. The layer is the fourth that computes (index 3), in Stable Diffusion
  ``down_blocks[1].attentions[1]``.
* ``AttentionEntropy`` (AE): with :math:`\bar a_t` the mean over layers and heads, over the last
  ten of 50 guided steps

  .. math:: \tfrac1{10}\sum_t E(\bar a_t)
      + \Bigl(\tfrac1{10}\sum_t E_{\text{end}}(\bar a_t) - E_{\text{end}}(\bar a_T)\Bigr),

  :math:`E_\text{end}` summing over the tokens from the end-of-text token on. The paper takes the
  absolute value of the bracket; the released code (renjie3/MemAttn) is signed.

Ren et al., ECCV 2024. The released code averages over heads of all layers together, which assumes
that all have as many (8 in SD v1); here every layer is averaged over its own heads first, which is
the same there and defined elsewhere (5, 10, 20 and 20 in SD v2). It evaluates the
unconditional half as well; the conditional one alone has the same maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from anisomem import papers
from anisomem.detection.base import (
    Array,
    Component,
    Components,
    Cost,
    Detector,
    Info,
    Recorded,
    component_name,
    first_steps,
)
from anisomem.detection.needs import STEPS, EndToken, TokenAttention
from anisomem.detection.options import Whole
from anisomem.detection.places import FIRST
from anisomem.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LAST = 10  # steps that AE averages


def entropy(attention: Tensor) -> Tensor:
    r""":math:`-\sum a \log a` over the last axis, in nats; 0 log 0 is 0."""
    from torch.special import entr

    return entr(attention).sum(-1)


@dataclass
class LayerEntropy(Detector):
    """LE, mode E of the released code.

    Arguments:
        layer: Index of the cross-attention layer in the order they compute.

    Raises:
        UserError: A negative layer; at evaluation, one that the model does not have.
    """

    info = Info(
        papers.REN,
        "cross-attention with the prompt on pure noise at the first step",
        "entropy",
    )
    layer: Annotated[int, Whole(0)] = 3

    def components(self) -> Components:
        name = component_name("ren/layer_entropy", f"layer:{self.layer}", FIRST)
        return [Component(name, [TokenAttention(FIRST)], self._entropy)]

    def cost(self) -> Cost:
        return Cost(nfe=self.n)

    def _entropy(self, layers: Tensor) -> Tensor:
        """The entropy of one layer's attention, ``[B]``."""
        if self.layer >= layers.shape[1]:
            raise UserError(
                f"layer {self.layer} of {self.name}: the model has cross-attention layers 0 to "
                f"{layers.shape[1] - 1}"
            )
        return entropy(layers[:, self.layer])


@dataclass
class AttentionEntropy(Detector):
    """AE, mode D of the released code.

    Arguments:
        change: ``signed`` as released or ``absolute`` as in the paper: how the change of the
            entropy from the end-of-text token on counts.
    """

    info = Info(papers.REN, "cross-attention with the prompt along a guided trajectory", "entropy")
    change: Literal["signed", "absolute"] = "signed"

    def components(self) -> Components:
        first, *others = first_steps(STEPS)
        last = others[-LAST:]
        every = [
            Component(
                component_name("ren/entropy", "all", *place),
                [TokenAttention(*place)],
                lambda attention: entropy(attention.mean(dim=1)),
            )
            for place in last
        ]
        ends = [
            Component(
                component_name("ren/entropy", "end", *place),
                [TokenAttention(*place), EndToken()],
                entropy_from_end,
            )
            for place in (*last, first)
        ]
        return [*every, *ends]

    def cost(self) -> Cost:
        return Cost(nfe=2 * STEPS * self.n)

    def combine(self, recorded: Recorded) -> Array:
        names = self.component_names

        def over_last(names: Sequence[str]) -> Array:
            return np.mean([recorded.samples(name, self.n) for name in names], axis=0)

        change = over_last(names[LAST : 2 * LAST]) - recorded.samples(names[-1], self.n)
        if self.change == "absolute":
            change = np.abs(change)
        score: Array = (over_last(names[:LAST]) + change).mean(axis=1)
        return score


def entropy_from_end(layers: Tensor, end: Tensor) -> Tensor:
    """The entropy of the mean over layers, from the end-of-text token on, ``[B]``."""
    import torch

    attention = layers.mean(dim=1)
    positions = torch.arange(attention.shape[1], device=attention.device)
    return entropy(attention * (positions >= end[:, None]))
