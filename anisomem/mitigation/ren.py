"""Attends less to what sums the prompt up, and more to the start token.

In every cross-attention layer, at every step: the end token and the padding are masked, and the
start token's logit is multiplied by a factor, 1.1 to 1.5 in the paper. Ren et al., ECCV 2024.

The released code (renjie3/MemAttn) is written for one picture of one prompt on Stable Diffusion
v1.4: it masks every row as the first, has 8 heads and 77 tokens in its mask, and multiplies the
logits of every second row, which are those with the prompt only where there is one. Here all rows
with prompts are treated, each by its own length, for any number of rows, heads and tokens. As
there the factor applies to the logit as it is, so that a negative one falls.

Its unconditional half is masked too, by the prompt's length (``unconditional: masked``, default);
``plain`` leaves it alone. ``end: kept`` leaves the end token in, as MemBench's authors ran it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anisomem import papers
from anisomem.errors import one_of
from anisomem.mitigation.base import (
    Effort,
    Mitigated,
    Mitigation,
    require_number,
)
from anisomem.models.attention import Edit
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class RenAttention(Mitigation):
    """Masks the summary of the prompt and rescales the start token.

    Arguments:
        factor: The factor of the start token's logit, c_1 in the paper.
        end: ``masked`` or ``kept``, the end-of-text token.
        unconditional: ``masked`` or ``plain``.

    Raises:
        UserError: Another word, a factor that is not above 0, or a model without cross-attention.
    """

    paper = papers.REN
    factor: float = 1.25
    end: str = "masked"
    unconditional: str = "masked"

    def __post_init__(self) -> None:
        require_number("factor", self.factor)
        one_of("end", self.end, ("masked", "kept"))
        one_of("unconditional", self.unconditional, ("masked", "plain"))

    def require(self, model: DiffusionModel) -> None:
        model.require(Capability.END, f"{self.name} must know it")
        model.require(Capability.EDITING, f"{self.name} changes it")

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        given = model.encode(texts)
        end = given.required_end()[:, None]
        position = torch.arange(given.required_embeddings().shape[1], device=end.device)[None]
        keep = position <= end if self.end == "kept" else position < end
        start = torch.full((len(texts),), self.factor, device=end.device)
        without = keep if self.unconditional == "masked" else torch.ones_like(keep)
        edit = Edit(keep, start, without)
        return Mitigated(texts, given, x, [Effort() for _ in texts], edit)
