r"""Anisotropy of the log-probability: guidance norm at high noise plus alignment at low noise.

Both terms are read on the same pure noise :math:`x_T`, without any denoising:

.. math:: M = \gamma_\text{norm}\,\|s_\Delta(x_T, t_\text{norm})\|_2
              + \gamma_\text{cos}\,\cos(s_\Delta(x_T, t_\text{cos}), s_u(x_T, t_\text{cos}))

with :math:`s_\Delta = s_c - s_u` (eq. 14 of Asthana & Belagiannis, ICLR 2026, arXiv 2601.20642).

Where the paper and its released code (commit 97e991b) disagree, ``convention`` chooses:

===============  =======================================  ====================================
                 ``released`` (default)                   ``paper``
===============  =======================================  ====================================
norm             epsilon: :math:`\|c-u\|_2`, not divided  :math:`\|s_c - s_u\|_2` of the true
                 by sigma; velocity:                      scores
                 :math:`\sqrt{\bar\alpha}\,\|c-u\|_2
                 / (1-\bar\alpha)`
cosine           over channels at every position, mean    over the flattened latent
                 over positions
taken between    raw network outputs, also for velocity   true scores
===============  =======================================  ====================================

The cosine's timestep is ``cos_at`` under both: the released code reads the third-last of the
schedule (t = 41, the default), the paper's text says t ~ 0.

The released code's normalisation flag never reaches its computation, and its velocity branch
overwrites what it would have normalised. Here normalisation acts on ``u`` and ``c`` at both
timesteps, before any difference, for every parameterisation; under ``paper`` on the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal

import numpy as np

from anisomem import papers
from anisomem.config import members
from anisomem.detection.base import (
    Array,
    Component,
    Components,
    Cost,
    Detector,
    Info,
    Recorded,
    component_name,
    flat_norm,
)
from anisomem.detection.needs import FIRST, At, pair
from anisomem.errors import UserError, one_of
from anisomem.evaluation import equal_weights, fit_in_folds

if TYPE_CHECKING:
    from torch import Tensor

    from anisomem.models.prediction import Prediction


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
class Anisotropy(Detector):
    r"""The metric with chosen convention, timesteps and weights.

    Arguments:
        convention: ``released`` or ``paper``, see the module.
        mode: Between which vectors the cosine is taken: ``x,c|x`` is cos(u, c - u), ``x,x|c`` is
            cos(u, c), ``x|c,c|x`` is cos(c, c - u).
        normalisation: ``none``; ``L2`` divides by the spatial 2-norm of every channel (plus 1e-6),
            ``L1`` by the 1-norm of the whole latent.
        norm_at, cos_at: Where each term is read.
        cos_latents: Where the cosine is taken: ``noise``, or on the latents of a 50-step DDIM
            trajectory at that timestep, ``guided`` (7.5) or ``unguided``.
        weights: ``published`` for the model, ``equal`` (each component in standard deviations of
            the negatives), ``fitted`` (logistic regression in cross-validation folds that keep
            clusters together) or the pair (gamma_norm, gamma_cos). A component of weight zero is
            not evaluated.

    Raises:
        UserError: An unknown choice, a timestep outside the schedule, or published weights for a
            model that has none.
    """

    info = Info(
        papers.ASTHANA,
        "predictions with and without prompt on pure noise at two timesteps",
        "norm plus cosine",
    )

    convention: Literal["released", "paper"] = "released"
    mode: Literal["x,c|x", "x,x|c", "x|c,c|x"] = "x,c|x"
    normalisation: Literal["none", "L1", "L2"] = "none"
    norm_at: At = FIRST
    cos_at: At = At("step:-3")
    cos_latents: Literal["noise", "guided", "unguided"] = "noise"
    weights: str | Sequence[float] = "published"

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
        choices = self.convention, self.normalisation, self.norm_at
        return component_name("anisotropy/norm", *choices)

    @property
    def cos_name(self) -> str:
        """The cosine term's component."""
        choices = (self.convention, self.mode, self.normalisation, self.cos_at, self.cos_latents)
        return component_name("anisotropy/cos", *choices)

    def require(self, stands_for: str | None) -> None:
        if self.weights == "published":
            self.fixed_gamma(stands_for)

    def components(self) -> Components:
        norm = Component(self.norm_name, pair(self.norm_at), self._norm)
        cosine = Component(self.cos_name, pair(self.cos_at, self.cos_latents), self._cosine)
        if isinstance(self.weights, str):
            return [norm, cosine]
        return [part for part, weight in zip((norm, cosine), self.weights, strict=True) if weight]

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

    def _norm(self, c: Prediction, u: Prediction) -> Tensor:
        """The norm of the guidance under the convention, ``[B]``."""
        norm = flat_norm(self._vectors(c) - self._vectors(u))
        if self.convention == "released" and c.parameterisation == "v_prediction":
            return norm * (c.alpha / c.sigma**2).to(norm)
        return norm

    def _cosine(self, c: Prediction, u: Prediction) -> Tensor:
        """The cosine of the vectors under the convention, ``[B]``."""
        from torch.nn.functional import cosine_similarity

        if self.convention == "released":
            return self.cosine_map(c, u).mean(dim=(1, 2))
        first, second = self._compared(c, u)
        return cosine_similarity(first.flatten(1), second.flatten(1), dim=1)

    def cosine_map(self, c: Prediction, u: Prediction) -> Tensor:
        """The cosine over channels at every position, ``[B, H, W]``."""
        from torch.nn.functional import cosine_similarity

        return cosine_similarity(*self._compared(c, u), dim=1)

    def _compared(self, c: Prediction, u: Prediction) -> tuple[Tensor, Tensor]:
        """The two vectors that the cosine is taken between, ``[B, C, H, W]`` each."""
        v_c, v_u = self._vectors(c), self._vectors(u)
        vectors = {"x,c|x": (v_u, v_c - v_u), "x,x|c": (v_u, v_c), "x|c,c|x": (v_c, v_c - v_u)}
        return vectors[self.mode]

    def _vectors(self, prediction: Prediction) -> Tensor:
        """Raw outputs or true scores, normalised, ``[B, C, H, W]``."""
        vectors = prediction.output if self.convention == "released" else prediction.score
        match self.normalisation:
            case "L1":
                return vectors / vectors.abs().sum(dim=(1, 2, 3), keepdim=True)
            case "L2":
                return vectors / (vectors.norm(dim=(2, 3), keepdim=True) + 1e-6)
        return vectors

    def fixed_gamma(self, stands_for: str | None) -> Gamma:
        """The weights where they do not depend on the scored prompts.

        Raises:
            UserError: None are published for the model.
        """
        if not isinstance(self.weights, str):
            norm, cos = self.weights
            return Gamma(norm, cos, "given")
        if stands_for not in PUBLISHED:
            raise UserError(
                f"no weights are published for {stands_for or 'this model'}; give "
                f"detector.{self.name}.weights=equal, detector.{self.name}.weights=fitted or "
                f"'detector.{self.name}.weights=[1.0,0.5]' of norm and cosine, or "
                f"{' or '.join(f'model.stands_for={one}' for one in PUBLISHED)}"
            )
        return PUBLISHED[stands_for]

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


def _is_pair(weights: object) -> bool:
    """Whether weights are two finite numbers that are not both zero."""
    return (
        isinstance(weights, Sequence)
        and len(weights) == 2
        and all(isinstance(weight, int | float) and isfinite(weight) for weight in weights)
        and any(weights)
    )
