"""Mitigates where a detector fires: nothing changes for prompts that it takes for ordinary.

The threshold is the smallest that at most a chosen share of given ordinary prompts exceed, each on
noise of its own. A prompt that does not fire costs its detection, one that does both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from anisomem.detection.alone import require_alone, scores_alone
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Array, Detector
from anisomem.detection.weighted import PUBLISHED
from anisomem.engine.counting import alone
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.mitigation.base import Effort, Mitigated, Mitigation, Ordinary
from anisomem.mitigation.none import NoMitigation
from anisomem.papers import Paper

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


def scores(
    model: DiffusionModel, detector: Detector, texts: Sequence[str], seeds: Sequence[int]
) -> Array:
    """The detector's score of every prompt on the noise of its seed, ``[B]``.

    Raises:
        UserError: A detector that needs labels, reference prompts or more than the prompts' texts.
    """
    require_alone(detector)
    # Noise by prompt is that of a base seed plus a row, here 0 and the prompt's own seed.
    components = Engine(model, [detector], "per_prompt").evaluate(texts, seeds, 0)
    combined = scores_alone(detector, components, texts, model.stands_for)
    if not np.isfinite(combined).all():
        i = int(np.flatnonzero(~np.isfinite(combined))[0])
        raise UserError(f"the model returns NaN or infinity for the prompt {texts[i]!r}")
    return combined


def threshold(ordinary: Array, fpr: float) -> float:
    """The smallest score that at most the share ``fpr`` of ordinary prompts exceed.

    Raises:
        UserError: Fewer prompts than resolve the share.
    """
    if not 0 < fpr < 1:
        raise UserError(f"fpr must be a fraction between 0 and 1, such as 0.01, got {fpr}")
    allowed = floor(fpr * len(ordinary) + 1e-9)
    if not allowed:
        raise UserError(
            f"{len(ordinary)} ordinary prompts cannot tell a false-positive rate of {fpr:g}; give "
            f"at least {ceil(1 / fpr)}"
        )
    return float(np.sort(ordinary)[::-1][allowed])


@dataclass
class OnDetection(Mitigation):
    """A mitigation of the prompts that a detector fires at.

    Arguments:
        mitigation: What is done to them.
        detector: What fires, above the threshold; None is the anisotropy metric.
        fpr: The share of ordinary prompts that may exceed the threshold, to be found by
            :meth:`ready`.
        threshold: Or a score.

    Raises:
        UserError: There is not one of ``fpr`` and ``threshold``, or the threshold is not finite.
    """

    mitigation: Mitigation
    detector: Detector | None = None
    fpr: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.fpr is None) == (self.threshold is None):
            raise UserError(f"{self.name} needs either fpr or threshold")
        if self.threshold is not None and not isfinite(self.threshold):
            raise UserError(f"threshold must be a finite score, got {self.threshold!r}")

    def ready(self, model: DiffusionModel, ordinary: Ordinary) -> OnDetection:
        """The mitigation with the threshold of the ordinary prompts.

        Raises:
            UserError: The model lacks what is changed, or the prompts do not resolve the share.
        """
        detector = self.detector or metric_of(model)
        inner = self.mitigation.ready(model, ordinary)
        bound = self.threshold
        if self.fpr is not None:
            bound = threshold(scores(model, detector, ordinary.texts, ordinary.seeds), self.fpr)
        return OnDetection(self.name, inner, detector, threshold=bound)

    @property
    def paper(self) -> Paper | None:  # type: ignore[override]
        return self.mitigation.paper

    def require(self, model: DiffusionModel) -> None:
        self.mitigation.require(model)

    def apply(
        self, model: DiffusionModel, texts: Sequence[str], x: Tensor, seeds: Sequence[int]
    ) -> Mitigated:
        if self.detector is None or self.threshold is None:
            raise UserError(f"{self.name} has no threshold yet; give ready() ordinary prompts")
        scored = scores(model, self.detector, texts, seeds)
        fired = [i for i, score in enumerate(scored) if score > self.threshold]
        quiet = [i for i, score in enumerate(scored) if score <= self.threshold]
        parts = [
            method.apply(model, [texts[i] for i in rows], x[rows], [seeds[i] for i in rows])
            for method, rows in ((NoMitigation("none"), quiet), (self.mitigation, fired))
            if rows
        ]
        order = np.argsort(quiet + fired)
        whole = Mitigated.cat(parts)[order.tolist()]
        spent = detection(self.detector)
        efforts = []
        for i, effort in enumerate(whole.efforts):
            total = spent + effort
            if i in quiet:
                total = replace(total, note=f"{scored[i]:.3g}, not above {self.threshold:.3g}")
            efforts.append(total)
        return replace(whole, efforts=efforts)

    @property
    def uses_ordinary(self) -> bool:
        return self.fpr is not None or self.mitigation.uses_ordinary

    @property
    def width(self) -> int:
        return self.mitigation.width

    @property
    def beside(self) -> int:
        return self.mitigation.beside

    @property
    def most(self) -> Effort:
        return detection(self.detector or Anisotropy("anisotropy")) + self.mitigation.most


def metric_of(model: DiffusionModel) -> Anisotropy:
    """The anisotropy metric, with the published weights where there are any."""
    published = model.stands_for in PUBLISHED
    return Anisotropy("anisotropy", weights="published" if published else (1.0, 1.0))


def detection(detector: Detector) -> Effort:
    """What a detector evaluates for one prompt on its own."""
    cost = alone(detector)
    return Effort(nfe=cost.nfe, jvps=cost.jvps)
