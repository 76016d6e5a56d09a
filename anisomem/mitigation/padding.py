"""Takes from the prompt what pads it.

Stable Diffusion v1 pads prompts with the end-of-text token, whose embedding the padding repeats.
Kim & No, CVPR Findings 2026 (arXiv 2605.02908), propose two changes, the unconditional embedding
being left alone:

* ``replace``: the prompt is padded with ``!`` before it is encoded, and the embedding of the
  end-of-text token is set to zero;
* ``mask``: the embeddings of the first share of the padding are set to zero.

As in their released code the masked share is rounded down and counted from the end of the text.
Stable Diffusion v2 pads with ``!`` from the start, so ``replace`` only sets the end token to zero
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anisomem import papers
from anisomem.errors import UserError, one_of
from anisomem.mitigation.base import (
    Effort,
    Mitigated,
    Mitigation,
)
from anisomem.mitigation.guidance import embedded, precise
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

PADDING = "!"


@dataclass
class PaddingMask(Mitigation):
    """Replaces or masks the padding.

    Arguments:
        padding: ``replace`` or ``mask``.
        share: The share of the padding that ``mask`` sets to zero.

    Raises:
        UserError: Another word, a share outside 0 to 1, or a model that does not say where a text
            ends.
    """

    paper = papers.KIM_NO
    padding: str = "mask"
    share: float = 0.5

    def __post_init__(self) -> None:
        one_of("padding", self.padding, ("replace", "mask"))
        if not isinstance(self.share, int | float) or not 0 <= self.share <= 1:
            raise UserError(f"share must be a number from 0 to 1, got {self.share!r}")

    def require(self, model: DiffusionModel) -> None:
        model.require(Capability.END, f"{self.name} must know it")
        if self.padding == "replace":
            model.require(Capability.VOCABULARY, f"{self.name} pads with another token")

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        if self.padding == "replace":
            with model.padded_with(PADDING):
                given = model.encode(texts)
        else:
            given = model.encode(texts)
        embeddings, end = precise(given), given.required_end()[:, None]
        position = torch.arange(embeddings.shape[1], device=end.device)[None]
        if self.padding == "replace":
            zero = position == end
        else:
            pads = embeddings.shape[1] - (end + 1)
            zero = (position > end) & (position <= end + (pads * self.share).long())
        kept = embedded(model, given, embeddings.masked_fill(zero[:, :, None], 0))
        return Mitigated(texts, kept, x, [Effort() for _ in texts])
