"""Adds to the prompt: random tokens, random numbers, or its own words again.

Somepalli et al., NeurIPS 2023, at inference: each of ``count`` additions is inserted as a word of
its own at a random place, beginning and end included.

As in the released code (somepago/DCR): numbers are below 100,000; repeated words are drawn from
the original prompt, not from what has been added; a random token is whatever it decodes to, often
a part of a word. Tokens are drawn from the whole vocabulary but its special ones; the released
code draws from the first 49,400 of CLIP's 49,408. Additions can push the end of a long prompt over
the text encoder's limit, which is said.

The prompt and the seed decide what is drawn, so all pictures of a seed agree.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from anisomem import papers
from anisomem.mitigation.base import Effort, Mitigated, Mitigation, require_count
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

NUMBERS = 100_000  # random ones are below


@dataclass
class Augmentation(Mitigation):
    """Inserts words at random places of the prompt.

    Arguments:
        count: How many; 1 to 6 are usual.

    Raises:
        UserError: The number is not a positive integer.
    """

    paper = papers.SOMEPALLI
    count: int = 4

    def __post_init__(self) -> None:
        require_count("count", self.count)

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        changed = [
            self.augmented(text, np.random.default_rng([seed, *text.encode()]), model)
            for text, seed in zip(texts, seeds, strict=True)
        ]
        efforts = []
        for text, longer in zip(texts, changed, strict=True):
            cut = model.truncated([longer]) > model.truncated([text])
            efforts.append(Effort(note="the longer prompt is cut" if cut else ""))
        return Mitigated(changed, model.encode(changed), x, efforts)

    def augmented(self, text: str, rng: np.random.Generator, model: DiffusionModel) -> str:
        """The prompt with additions."""
        words, original = text.split(" "), text.split(" ")
        for _ in range(self.count):
            word = self.drawn(original, rng, model)
            words.insert(int(rng.integers(len(words) + 1)), word)
        return " ".join(words)

    @abstractmethod
    def drawn(self, words: Sequence[str], rng: np.random.Generator, model: DiffusionModel) -> str:
        """What is to be inserted."""


@dataclass
class RandomTokens(Augmentation):
    """Random tokens of the vocabulary."""

    def require(self, model: DiffusionModel) -> None:
        model.require(Capability.VOCABULARY, f"{self.name} draws from its vocabulary")

    def drawn(self, words: Sequence[str], rng: np.random.Generator, model: DiffusionModel) -> str:
        return model.random_token(rng)


@dataclass
class RandomNumbers(Augmentation):
    """Inserts random numbers."""

    def drawn(self, words: Sequence[str], rng: np.random.Generator, model: DiffusionModel) -> str:
        return str(rng.integers(NUMBERS))


@dataclass
class RepeatWords(Augmentation):
    """Words of the prompt."""

    def drawn(self, words: Sequence[str], rng: np.random.Generator, model: DiffusionModel) -> str:
        return str(rng.choice(list(words)))
