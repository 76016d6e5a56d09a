"""Controls every table carries: what separates the classes without looking at the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anisomem.detection.base import Array, Component, Detector, Recorded
from anisomem.errors import UserError
from anisomem.evaluation import text_only_scores

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class _PromptDetector(Detector):
    """A score of the prompt alone: nothing is recorded."""

    n: int = 0
    component_names = ()

    def components(self, model: DiffusionModel) -> Sequence[Component]:
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

    Raises:
        UserError: A seed that is not an integer from 0.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.seed) is not int or self.seed < 0:
            raise UserError(f"seed of a random score must be an integer from 0, got {self.seed!r}")

    def combine(self, recorded: Recorded) -> Array:
        return np.random.default_rng(self.seed).uniform(size=len(recorded.prompts))
