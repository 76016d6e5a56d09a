"""Encoded prompts.

The prompts are encoded by a family's own ``encode``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self, TypeVar

import torch
from torch import Tensor

C = TypeVar("C", bound="Conditioning")


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """Encoded prompts: every field is a tensor with one row per prompt, or None.

    The fields here are those that detectors and mitigations read; a model whose network reads
    more has a subclass with fields of its own.

    Attributes:
        embeddings: States of every token that the network attends to, ``[n, tokens, width]``.
        end: Index of every prompt's end-of-text token among them, ``[n]``.
    """

    embeddings: Tensor | None = None
    end: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The fields that are given, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: Tensor | slice | Sequence[int]) -> Self:
        return type(self)(**{name: tensor[rows] for name, tensor in self.tensors.items()})

    @staticmethod
    def cat(parts: Sequence[C]) -> C:
        """All rows of all parts, in order; the parts are of one model."""
        return type(parts[0])(
            **{name: torch.cat([p.tensors[name] for p in parts]) for name in parts[0].tensors}
        )

    @classmethod
    def checked(cls, given: "Conditioning") -> Self:
        """Returns the conditioning itself, as one of this class.

        Raises:
            TypeError: It is none; a model of another kind encoded it.
        """
        if not isinstance(given, cls):
            raise TypeError(f"expected a {cls.__name__}, got a {type(given).__name__}")
        return given

    def required_embeddings(self) -> Tensor:
        """:attr:`embeddings`, of a model that has the capability.

        Raises:
            TypeError: There are none.
        """
        return _given(self.embeddings, "embeddings")

    def required_end(self) -> Tensor:
        """:attr:`end`, of a model that has the capability.

        Raises:
            TypeError: The embeddings' end is not known.
        """
        return _given(self.end, "end")


def _given(tensor: Tensor | None, name: str) -> Tensor:
    if tensor is None:
        raise TypeError(f"the conditioning has no {name}")
    return tensor
