"""The norm of the guidance plus a cosine, under weights that are published, equal or fitted.

Which norm and which cosine say the detectors: the metric in ``anisotropy``, and its variants.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from anisomem.config import members
from anisomem.detection.base import Array, Component, Components, Cost, Detector, Recorded
from anisomem.errors import UserError, one_of
from anisomem.evaluation import equal_weights, fit_in_folds


@dataclass(frozen=True)
class Gamma:
    """The weights (gamma_norm, gamma_cos) of the metric's terms.

    Attributes:
        norm, cos: The weights; where they are several, over noise seeds or folds, their means.
        source: Where they come from, in words.
        norm_std, cos_std: Standard deviations over the several.
    """

    norm: float
    cos: float
    source: str
    norm_std: float | None = None
    cos_std: float | None = None

    @classmethod
    def mean_of(cls, weights: Array, source: str) -> Gamma:
        """The mean of several pairs ``[k, 2]``, with their spread."""
        norm, cos = weights.mean(axis=0).tolist()
        if len(weights) == 1:
            return cls(norm, cos, source)
        return cls(norm, cos, source, *weights.std(axis=0, ddof=1).tolist())


#: Of the released evaluation script, by published model; the numbers stand in conf/gamma.yaml.
PUBLISHED = {
    name: Gamma(numbers["gamma_norm"], numbers["gamma_cos"], f"published for {name}")
    for name, numbers in members.constants("gamma").items()
}

WEIGHTS = ("published", "equal", "fitted")  # where weights come from, if they are not given


@dataclass
class NormPlusCosine(Detector):
    r"""Two components, weighted: :math:`\gamma_\text{norm} N + \gamma_\text{cos} C`.

    Arguments:
        weights: ``published`` for the model, ``equal`` (each component in standard deviations of
            the negatives), ``fitted`` (logistic regression in cross-validation folds that keep
            clusters together) or the pair (gamma_norm, gamma_cos). A component of weight zero is
            not evaluated.

    Raises:
        UserError: Unknown weights, or published ones for a model that has none.
    """

    weights: str | Sequence[float] = field(default="published", kw_only=True)

    @abstractmethod
    def norm_component(self) -> Component:
        """The norm."""

    @abstractmethod
    def cos_component(self) -> Component:
        """The cosine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.weights, str):
            one_of("weights", self.weights, WEIGHTS)
        elif not _is_pair(self.weights):
            raise UserError(
                "weights must be published, equal, fitted or two numbers (gamma_norm, gamma_cos) "
                f"that are finite and not both 0, got {self.weights}"
            )

    @property
    def uses_labels(self) -> bool:  # type: ignore[override]
        return self.weights in ("equal", "fitted")

    @property
    def norm_name(self) -> str:
        """The norm term's component."""
        return self.norm_component().name

    @property
    def cos_name(self) -> str:
        """The cosine term's component."""
        return self.cos_component().name

    def require(self, stands_for: str | None) -> None:
        if self.weights == "published":
            self.fixed_gamma(stands_for)

    def components(self) -> Components:
        terms = [self.norm_component(), self.cos_component()]
        if isinstance(self.weights, str):
            return terms
        return [part for part, weight in zip(terms, self.weights, strict=True) if weight]

    def cost(self) -> Cost:
        predictions = {need for component in self.components() for need in component.needs}
        return Cost(nfe=self.n * len(predictions))

    def combine(self, recorded: Recorded) -> Array:
        names, prompts = (self.norm_name, self.cos_name), recorded.prompts
        if self.uses_labels:
            columns = self.features(recorded)
            if self.weights == "equal":
                return equal_weights(columns, prompts.labels)
            return fit_in_folds(columns, prompts.labels, prompts.clusters).scores
        score = np.zeros(len(prompts))
        gamma = self.fixed_gamma(recorded.stands_for)
        for weight, name in zip((gamma.norm, gamma.cos), names, strict=True):
            if weight:
                score += weight * recorded.mean(name, self.n)
        return score

    def features(self, recorded: Recorded) -> Array:
        return np.stack([recorded.mean(name, self.n) for name in self.component_names], axis=1)

    def fixed_gamma(self, stands_for: str | None) -> Gamma:
        """The weights where they do not depend on the scored prompts.

        Raises:
            UserError: They do, or none are published for the model.
        """
        if not isinstance(self.weights, str):
            norm, cos = self.weights
            return Gamma(norm, cos, "given")
        if self.uses_labels:
            raise UserError(f"{self.weights} weights of {self.name} come from the scored prompts")
        own = f"detector.{self.name}.weights"
        return published(stands_for, f"{own}=equal, {own}=fitted or '{own}=[1.0,0.5]'")

    def gamma(self, recorded: Sequence[Recorded]) -> Gamma:
        """The weights that score some prompts.

        Arguments:
            recorded: The prompts' components, at each noise seed.
        """
        if not self.uses_labels:
            return self.fixed_gamma(recorded[0].stands_for)
        labels, clusters = recorded[0].prompts.labels, recorded[0].prompts.clusters
        columns = [self.features(one) for one in recorded]
        if self.weights == "equal":
            spreads = np.array([column[labels == 0].std(axis=0) for column in columns])
            return Gamma.mean_of(1 / spreads, "equal: 1 / standard deviation over the negatives")
        fits = [fit_in_folds(column, labels, clusters).weights for column in columns]
        return Gamma.mean_of(np.concatenate(fits), "fitted in folds by logistic regression")


def published(stands_for: str | None, instead: str) -> Gamma:
    """The weights that are published for a model.

    Arguments:
        stands_for: The model.
        instead: Settings of other weights.

    Raises:
        UserError: There are none.
    """
    if stands_for not in PUBLISHED:
        raise UserError(
            f"no weights are published for {stands_for or 'this model'}; give {instead} of norm "
            f"and cosine, or {' or '.join(f'model.stands_for={one}' for one in PUBLISHED)}"
        )
    return PUBLISHED[stands_for]


def _is_pair(weights: object) -> bool:
    """Whether weights are two finite numbers that are not both zero."""
    return (
        isinstance(weights, Sequence)
        and len(weights) == 2
        and all(isinstance(weight, int | float) and isfinite(weight) for weight in weights)
        and any(weights)
    )
