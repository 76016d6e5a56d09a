r"""Moves the prompt until the anisotropy metric no longer fires.

.. math:: \min_c\; M(x_T, c) = \gamma_\text{norm}\,\|s_\Delta(x_T, t_\text{norm})\|_2
              + \gamma_\text{cos}\,\cos(s_\Delta(x_T, t_\text{cos}), s_u(x_T, t_\text{cos}))

over the embeddings of the prompt, the noise fixed (Asthana & Belagiannis, ICLR 2026, section on
mitigation); then ordinary sampling from the same :math:`x_T`. The metric is the detector's own,
:class:`anisomem.detection.anisotropy.Anisotropy`, and differentiated through both terms.

The paper's optimiser, learning rate, steps and stopping rule are not published, and its code for
mitigation was not released. The defaults here were chosen by a sweep on the bundled models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from anisomem import papers
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.places import FIRST, At
from anisomem.detection.weighted import published
from anisomem.errors import UserError, one_of
from anisomem.mitigation.base import (
    Effort,
    Mitigated,
    Mitigation,
    require_count,
)
from anisomem.mitigation.descent import Descent
from anisomem.mitigation.guidance import TOKENS, OnNoise, embedded, movable, precise
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning

if TYPE_CHECKING:
    from anisomem.detection.needs import Evaluations
    from anisomem.models.base import DiffusionModel


class Metric:
    """A detector's score on given noise as a function of the conditioning.

    Arguments:
        detector: The metric, with weights that do not depend on the scored prompts.
        model: The model that is sampled.
        x, seeds: Noise and seed of every row; ``detector.n`` samples, the first of which is ``x``.

    Raises:
        UserError: No weights are published for the model.
    """

    def __init__(
        self, detector: Anisotropy, model: DiffusionModel, x: Tensor, seeds: Sequence[int]
    ) -> None:
        gamma = detector.fixed_gamma(model.stands_for)
        weights = gamma.norm, gamma.cos
        by_name = dict(zip((detector.norm_name, detector.cos_name), weights, strict=True))
        weighted = [(by_name[part.name], part) for part in detector.components()]
        self.terms = [(weight, part) for weight, part in weighted if weight]
        places = zip((detector.norm_at, detector.cos_at), weights, strict=True)
        chosen = [at for at, weight in places if weight]
        self.on_noise = OnNoise(model, x, seeds, detector.n, chosen)

    def __call__(self, conditioning: Conditioning, rows: Tensor) -> Tensor:
        """Mean over noise samples, one for each of ``rows``, ``[b]``."""
        scores = self.score(self.on_noise.evaluations(conditioning, rows))
        return scores.view(len(rows), -1).mean(1)

    def score(self, evaluations: Evaluations) -> Tensor:
        """The metric of each row of the evaluations, ``[b]``."""
        terms = [weight * part.read(evaluations) for weight, part in self.terms]
        return torch.stack(terms).sum(0)


@dataclass
class AnisotropyDescent(Mitigation):
    """Descends the metric over the prompt's embeddings.

    Arguments:
        n: Noise samples that the metric is averaged over; the first is the one sampled from.
        convention, norm_at, cos_at, weights: Of the metric.
        optimiser, lr, steps: Of the descent.
        threshold: It stops where the metric is not above; None takes all steps.
        tokens: Which embeddings move: ``after_start`` all but the start token's, ``prompt`` those
            of the words, ``tail`` the end token's and the padding's, ``all``.

    Raises:
        UserError: A value out of range, or a model without published weights, gradients or
            embeddings.
    """

    paper = papers.ASTHANA
    n: int = 1
    convention: Literal["released", "paper"] = "released"
    norm_at: At = FIRST
    cos_at: At = At("step:-3")
    weights: str | Sequence[float] = "published"
    optimiser: str = "adam"
    lr: float = 0.05
    steps: int = 10
    threshold: float | None = None
    tokens: str = "after_start"

    def __post_init__(self) -> None:
        require_count("n", self.n)
        one_of("tokens", self.tokens, TOKENS)
        self.descent = Descent(self.optimiser, self.lr, self.steps, self.threshold)
        self.detector = Anisotropy(
            self.name,
            self.n,
            convention=self.convention,
            norm_at=self.norm_at,
            cos_at=self.cos_at,
            weights=self.weights,
        )
        if self.detector.uses_labels:
            raise UserError(
                f"weights={self.weights} of {self.name} come from labelled prompts, and a"
                " mitigation has none; expected published, or two numbers such as [1.0,0.5]"
            )

    @property
    def width(self) -> int:
        return 2 * self.n

    @property
    def most(self) -> Effort:
        return Effort(nfe=self.width) + self.descent.most(self.width)

    def require(self, model: DiffusionModel) -> None:
        model.require(Capability.EMBEDDINGS, f"{self.name} changes them")
        model.require(Capability.DERIVATIVES, f"{self.name} needs them")
        if self.tokens in ("prompt", "tail"):
            model.require(Capability.END, f"tokens={self.tokens} of {self.name} must know it")
        self.detector.require_of(model)
        if self.weights == "published":
            published(model.stands_for, f"'mitigation.{self.name}.weights=[1.0,0.5]'")

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        given = model.encode(texts)
        metric = Metric(self.detector, model, x, seeds)

        def objective(embeddings: Tensor, rows: Tensor) -> Tensor:
            return metric(embedded(model, given[rows], embeddings), rows)

        width = metric.on_noise.width
        kept, efforts = self.descent(precise(given), objective, width, movable(given, self.tokens))
        without = Effort(nfe=width)
        return Mitigated(
            texts, embedded(model, given, kept), x, [without + effort for effort in efforts]
        )
