"""Scores of prompts by every detector of the demo, and where in the picture guidance aligns.

The numbers are those of :func:`anisomem.score`: the same engine, noise and detectors. What
detectors share, and what serves every prompt, is evaluated once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anisomem.benchmark.gallery import MAP, CosineMap
from anisomem.detection.alone import scores_alone
from anisomem.detection.base import Array, Detector
from anisomem.engine.engine import Engine

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass(frozen=True)
class Scores:
    """Scores of B prompts.

    Attributes:
        values: By detector, ``[B]``; NaN where the model returned NaN or infinity.
        cosines: Of the guidance and the prediction without prompt at every latent position, on the
            first noise sample; ``[B, h, w]``.
    """

    values: Mapping[str, Array]
    cosines: Array


class Scorer:
    """Scores prompts on one noise, which all share.

    Arguments:
        model: The model.
        detectors: Those that score a prompt on its own.
        seed: The seed of the noise.
        batch_size: Latents in a forward pass, or None to choose.

    Raises:
        UserError: A detector needs what the model does not have.
    """

    def __init__(
        self,
        model: DiffusionModel,
        detectors: Sequence[Detector],
        seed: int,
        batch_size: int | None = None,
    ) -> None:
        self.detectors, self.seed = list(detectors), seed
        self._model = model
        every = [*detectors, CosineMap("alignment", n=1)]
        self._engine = Engine(model, every, "shared", batch_size)

    @property
    def keys(self) -> list[str]:
        """The detectors by the rows that they fill in a table."""
        return [detector.key for detector in self.detectors]

    def __call__(self, texts: Sequence[str]) -> Scores:
        """Scores some prompts.

        Raises:
            UserError: The model returns NaN or infinity without any prompt.
        """
        components = self._engine.evaluate(texts, range(len(texts)), self.seed)
        values = {one.key: self._scores(one, components, texts) for one in self.detectors}
        return Scores(values, components[MAP][:, 0])

    def _scores(
        self, detector: Detector, components: Mapping[str, Array], texts: Sequence[str]
    ) -> Array:
        own = {name: components[name] for name in detector.component_names}
        whole = np.all([np.isfinite(values).all(axis=1) for values in own.values()], axis=0)
        scores = np.full(len(texts), np.nan)
        if whole.any():
            kept = {name: values[whole] for name, values in own.items()}
            judged = [text for text, fine in zip(texts, whole, strict=True) if fine]
            stands_for = self._model.stands_for
            scores[whole] = scores_alone(detector, kept, judged, stands_for, self.seed)
        return scores
