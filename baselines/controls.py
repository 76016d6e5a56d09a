"""Controls every table carries: what separates the classes without looking at the model.

The text-only score itself is fitted in :mod:`anisomem.evaluation.text`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated

import numpy as np

from anisomem.detection.base import Array, Components, Detector, Recorded
from anisomem.detection.options import Whole
from anisomem.evaluation import text_only_scores

if TYPE_CHECKING:
    from anisomem.datasets.prompts import PromptSet


@dataclass
class _PromptDetector(Detector):
    """A score of the prompt alone: nothing is recorded."""

    n: int = 0

    def components(self) -> Components:
        return []


@dataclass
class TextOnly(_PromptDetector):
    """Out-of-fold TF-IDF and logistic regression on the prompts; clusters stay in one fold.

    What it separates is no evidence about the model.
    """

    uses_labels = True
    uses_texts = True

    def combine(self, recorded: Recorded) -> Array:
        prompts = recorded.prompts
        return text_only_scores(prompts.texts, prompts.labels, prompts.clusters)


@dataclass
class PromptLength(_PromptDetector):
    """The number of characters."""

    uses_texts = True

    def combine(self, recorded: Recorded) -> Array:
        return np.array([len(text) for text in recorded.prompts.texts], dtype=np.float64)


@dataclass
class Random(_PromptDetector):
    """A uniform number per prompt, drawn anew for every noise seed.

    It shows what chance alone gives: its AUC on ``S`` seeds has mean 1/2 and variance
    ``(n+ + n- + 1) / (12 n+ n- S)``, which its remark turns into a range.

    Arguments:
        seed: The seed of the generator, besides the noise seed.
    """

    seed: Annotated[int, Whole(0)] = 0

    def combine(self, recorded: Recorded) -> Array:
        generator = np.random.default_rng([self.seed, recorded.seed])
        return generator.uniform(size=len(recorded.prompts))

    def remark(self, prompts: PromptSet, seeds: int) -> str:
        n, m = int((prompts.labels == 1).sum()), int((prompts.labels == 0).sum())
        reach = NormalDist().inv_cdf(0.975) * sqrt((n + m + 1) / (12 * n * m * seeds))
        return (
            f"{self.name} shows chance: of scores that know nothing, 95 in 100 have an AUC in "
            f"[{0.5 - reach:.3f}, {0.5 + reach:.3f}] on so many prompts"
        )
