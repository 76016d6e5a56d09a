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
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anisomem.detection.base import (
    Array,
    At,
    Component,
    Detector,
    Info,
    Recorded,
    along,
    component_name,
)
from anisomem.detection.needs import STEPS, Evaluations, TokenAttention
from anisomem.errors import UserError, one_of

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.base import DiffusionModel

TITLE = (
    "Unveiling and Mitigating Memorization in Text-to-image Diffusion Models through Cross "
    "Attention"
)
LAST = 10  # steps that AE averages


def _info(needs: str, nfe: str) -> Info:
    return Info(
        title=TITLE,
        authors="Ren, Li, Zeng, Xu, Lyu, Xing and Tang",
        venue="ECCV",
        year=2024,
        needs=needs,
        orientation="entropy, larger where memorized",
        nfe=nfe,
        arxiv="2403.11052",
        code="https://github.com/renjie3/MemAttn",
        licence="MIT",
    )


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

    info = _info("cross-attention with the prompt on pure noise at the first step", "n")
    layer: int = 3

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise UserError(f"layer must be an index from 0, got {self.layer}")

    @property
    def component_names(self) -> Sequence[str]:
        return [component_name("ren/layer_entropy", f"layer:{self.layer}", "step:0")]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        t = At(step=0).timestep(model)
        compute = partial(self._entropy, t=t)
        return [Component(self.component_names[0], {TokenAttention(t)}, compute)]

    def combine(self, recorded: Recorded) -> Array:
        return recorded.mean(self.component_names[0], self.n)

    def _entropy(self, evaluations: Evaluations, t: float) -> Tensor:
        """``[B]``."""
        layers = evaluations.token_attention(t)
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

    Raises:
        UserError: Another word.
    """

    info = _info("cross-attention with the prompt along a guided trajectory", "100n")
    change: str = "signed"

    def __post_init__(self) -> None:
        one_of("change", self.change, ("signed", "absolute"))

    @property
    def component_names(self) -> Sequence[str]:
        first, *last = [along(STEPS)[0], *along(STEPS)[-LAST:]]
        every = [component_name("ren/entropy", "all", *place) for place in last]
        return [*every, *(component_name("ren/entropy", "end", *at) for at in (*last, first))]

    def components(self, model: DiffusionModel) -> Sequence[Component]:
        places = along(STEPS)[-LAST:]
        found = []
        for name, (at, latents), tokens in zip(
            self.component_names,
            [*places, *places, along(STEPS)[0]],
            ["all"] * LAST + ["end"] * (LAST + 1),
            strict=True,
        ):
            need = TokenAttention(At.parse(at).timestep(model), latents)
            found.append(Component(name, {need}, partial(_mean_entropy, need=need, tokens=tokens)))
        return found

    def combine(self, recorded: Recorded) -> Array:
        names = self.component_names

        def over_last(names: Sequence[str]) -> Array:
            return np.mean([recorded.samples(name, self.n) for name in names], axis=0)

        change = over_last(names[LAST : 2 * LAST]) - recorded.samples(names[-1], self.n)
        if self.change == "absolute":
            change = np.abs(change)
        score: Array = (over_last(names[:LAST]) + change).mean(axis=1)
        return score


def _mean_entropy(evaluations: Evaluations, need: TokenAttention, tokens: str) -> Tensor:
    """Of the mean over layers, over all tokens or those from the end of the text on, ``[B]``."""
    import torch

    attention = evaluations.token_attention(need.t, need.latents).mean(dim=1)
    if tokens == "end":
        assert evaluations.end is not None  # whatever has cross-attention to text knows its end
        positions = torch.arange(attention.shape[1], device=attention.device)
        attention = attention * (positions >= evaluations.end[:, None])
    return entropy(attention)
