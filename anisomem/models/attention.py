"""What a pass attends to in its cross-attention, and how that may be changed: the values alone.

The hooks that record and change it are in ``unet_attention``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-6  # keeps a division by a spread or an entropy of 0 finite


@dataclass(frozen=True)
class Attention:
    """What a pass attends to in its cross-attention.

    Attributes:
        tokens: The attention to each token by layer in the order they compute, mean over heads and
            then over positions, ``[n, layers, tokens]``; sums to 1 over tokens.
        end: The attention to the end-of-text token of each prompt by position, mean over heads and
            over the down-sampling layers of the highest resolution, ``[n, h, w]``.
    """

    tokens: Tensor
    end: Tensor


@dataclass(frozen=True)
class Spikes:
    r"""Tokens that stand out in a head are attended to less, where a U-Net samples down.

    With the logits :math:`\ell_{q i}` of a head at positions q and tokens i, the start token 0,

    .. math:: m_i = \max_q \ell_{q i}, \qquad
        \ell_{q i} \leftarrow f\, \ell_{q i} \;\text{ where }\;
        i > 0,\; \frac{m_i - \operatorname{mean}_{j > 0} m_j}{\operatorname{std}_{j > 0} m_j} > z

    in the heads of a layer that look at the end of the text: the share with the largest product
    of the attention to the end token, mean over positions, and one over the mean entropy.

    Attributes:
        threshold: z of each row, ``[n]``; infinite where nothing is changed.
        factor: f of each row, ``[n]``.
        heads: The share of a layer's heads, at least one, ``[n]``.
        end: Index of the end-of-text token, ``[n]``.
    """

    threshold: Tensor
    factor: Tensor
    heads: Tensor
    end: Tensor

    def __len__(self) -> int:
        return len(self.threshold)

    def __getitem__(self, rows: Sequence[int] | slice) -> Spikes:
        return Spikes(self.threshold[rows], self.factor[rows], self.heads[rows], self.end[rows])

    @staticmethod
    def cat(parts: Sequence[Spikes]) -> Spikes:
        """All rows of all parts, in order."""
        return Spikes(
            torch.cat([part.threshold for part in parts]),
            torch.cat([part.factor for part in parts]),
            torch.cat([part.heads for part in parts]),
            torch.cat([part.end for part in parts]),
        )

    def neutral(self, n: int) -> Spikes:
        """As many rows that are left as they are."""
        one = torch.ones_like(self.factor[:1]).expand(n)
        return Spikes(one * torch.inf, one, one, torch.zeros_like(self.end[:1]).expand(n))

    def attenuated(self, logits: Tensor) -> Tensor:
        """The logits of some rows, ``[n, heads, positions, tokens]``."""
        largest = logits.amax(dim=2)  # [n, heads, tokens]
        words = largest[..., 1:]
        away = (largest - words.mean(-1, keepdim=True)) / (words.std(-1, keepdim=True) + TINY)
        spike = away > self.threshold.to(away)[:, None, None]
        spike[..., 0] = False
        if bool((self.heads < 1).any()):
            spike &= self._chosen(logits)[..., None]
        factor = self.factor.to(logits)[:, None, None, None]
        return torch.where(spike[:, :, None, :], factor * logits, logits)

    def _chosen(self, logits: Tensor) -> Tensor:
        """Whether a head is among those that look at the end, bool ``[n, heads]``."""
        maps = logits.detach().softmax(-1)
        heads, positions = maps.shape[1:3]
        column = self.end[:, None, None, None].expand(-1, heads, positions, 1)
        mass = maps.gather(3, column)[..., 0].mean(-1)
        entropy = -torch.special.xlogy(maps, maps).sum(-1).mean(-1)
        rank = (mass / (entropy + TINY)).argsort(dim=1, descending=True).argsort(dim=1)
        count = (heads * self.heads.to(mass)).long().clamp(min=1)
        return rank < count[:, None]


@dataclass(frozen=True)
class Edit:
    """A change of what some prompts attend to.

    Attributes:
        keep: Tokens that are attended to at all, bool ``[n, tokens]``.
        start: Factor of the first token's logit, ``[n]``.
        keep_without: The same as ``keep``, for the rows without prompt that guidance sets beside
            them.
        spikes: Which tokens are attended to less; None where none is in any row.
    """

    keep: Tensor
    start: Tensor
    keep_without: Tensor
    spikes: Spikes | None = None

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: Sequence[int]) -> Edit:
        spikes = self.spikes and self.spikes[rows]
        return Edit(self.keep[rows], self.start[rows], self.keep_without[rows], spikes)

    @staticmethod
    def cat(parts: Sequence[tuple[Edit | None, int]]) -> Edit | None:
        """All rows of parts of so many rows each; those without edit attend as always."""
        given = next((edit for edit, _ in parts if edit), None)
        if given is None:
            return None
        edits = [edit or given._neutral(n) for edit, n in parts]
        spikes = next((edit.spikes for edit in edits if edit.spikes), None)
        return Edit(
            torch.cat([edit.keep for edit in edits]),
            torch.cat([edit.start for edit in edits]),
            torch.cat([edit.keep_without for edit in edits]),
            spikes and Spikes.cat([e.spikes or spikes.neutral(len(e)) for e in edits]),
        )

    def of_pass(self, n: int) -> Edit:
        """The edit of the n rows of a pass.

        They are the prompts, or as many rows without and then the prompts, or both and then as
        many that attend as always.
        """
        if n == len(self):
            return self
        if n not in (2 * len(self), 3 * len(self)):
            raise ValueError(f"a pass of {n} rows is not of {len(self)} prompts")
        neutral = self._neutral(len(self))
        without = Edit(self.keep_without, neutral.start, self.keep_without)
        parts = [without, self, neutral][: n // len(self)]
        whole = Edit.cat([(part, len(self)) for part in parts])
        assert whole is not None
        return whole

    def _neutral(self, n: int) -> Edit:
        """An edit of n rows that attend as always."""
        keep = torch.ones_like(self.keep[:1]).expand(n, -1)
        return Edit(keep, torch.ones_like(self.start[:1]).expand(n), keep)
