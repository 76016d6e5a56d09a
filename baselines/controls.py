"""Controls every table carries: what separates the classes without looking at the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from anisomem.detection.base import Array, Components, Detector, Recorded
from anisomem.detection.options import Whole
from anisomem.evaluation import text_only_scores


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

    def combine(self, recorded: Recorded) -> Array:
        prompts = recorded.prompts
        return text_only_scores(prompts.texts, prompts.labels, prompts.clusters)


@dataclass
class PromptLength(_PromptDetector):
    """The number of characters."""

    def combine(self, recorded: Recorded) -> Array:
        return np.array([len(text) for text in recorded.prompts.texts], dtype=np.float64)


@dataclass
class Random(_PromptDetector):
    """A uniform number per prompt.

    Arguments:
        seed: Of the generator.
    """

    seed: Annotated[int, Whole(0)] = 0

    def combine(self, recorded: Recorded) -> Array:
        return np.random.default_rng(self.seed).uniform(size=len(recorded.prompts))
