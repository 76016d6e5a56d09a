"""What a pass attends to in its cross-attention, and how that may be changed: the values alone.

The hooks that record and change it are in ``unet_attention``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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
class Edit:
    """A change of what some prompts attend to.

    Attributes:
        keep: Tokens that are attended to at all, bool ``[n, tokens]``.
        start: Factor of the first token's logit, ``[n]``.
        keep_without: The same as ``keep``, for the rows without prompt that guidance sets beside
            them.
    """

    keep: Tensor
    start: Tensor
    keep_without: Tensor

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: Sequence[int]) -> Edit:
        return Edit(self.keep[rows], self.start[rows], self.keep_without[rows])

    @staticmethod
    def cat(parts: Sequence[tuple[Edit | None, int]]) -> Edit | None:
        """All rows of parts of so many rows each; those without edit attend as always."""
        given = next((edit for edit, _ in parts if edit), None)
        if given is None:
            return None
        edits = [edit or given._neutral(n) for edit, n in parts]
        return Edit(
            torch.cat([edit.keep for edit in edits]),
            torch.cat([edit.start for edit in edits]),
            torch.cat([edit.keep_without for edit in edits]),
        )

    def of_pass(self, n: int) -> tuple[Tensor, Tensor]:
        """Tokens kept and factors for the n rows of a pass.

        They are the prompts, or as many rows without and then the prompts.
        """
        if n == len(self):
            return self.keep, self.start
        if n != 2 * len(self):
            raise ValueError(f"a pass of {n} rows is not of {len(self)} prompts")
        ones = torch.ones_like(self.start)
        return torch.cat([self.keep_without, self.keep]), torch.cat([ones, self.start])

    def _neutral(self, n: int) -> Edit:
        """An edit of n rows that attend as always."""
        keep = torch.ones_like(self.keep[:1]).expand(n, -1)
        return Edit(keep, torch.ones_like(self.start[:1]).expand(n), keep)
