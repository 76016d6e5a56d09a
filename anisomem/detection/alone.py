"""Scores of prompts on their own: without labels, and without other prompts.

That is what a prompt is judged by of which nothing is known, in ``scan`` and ``mitigation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Array, Detector, Recorded
from anisomem.errors import UserError


def require_alone(detector: Detector) -> None:
    """Checks that a detector scores a prompt on its own.

    Raises:
        UserError: It needs labels, reference prompts, or nothing of the model.
    """
    if detector.uses_labels or detector.uses_references or not detector.component_names:
        raise UserError(
            f"{detector.name} does not score a prompt on its own; choose a detector that needs "
            "neither labels nor other prompts, such as anisotropy or wen"
        )


def scores_alone(
    detector: Detector,
    components: Mapping[str, Array],
    texts: Sequence[str],
    stands_for: str | None,
    seed: int = 0,
    references: Mapping[str, Array] | None = None,
) -> Array:
    """The detector's score of every prompt, ``[N]``, for which it looks at no label.

    Arguments:
        detector: One that :func:`require_alone` lets pass.
        components: Of one noise seed, name to ``[N, n]``.
        texts: The prompts.
        stands_for: The published model whose weights apply, or None.
        seed: The seed of the noise.
        references: The components of other prompts, where it scores relative to some.
    """
    n = len(texts)
    # A prompt set has both labels, so the first prompt stands there once more.
    names = [str(i) for i in range(n + 1)]
    labels = np.arange(n + 1).clip(0, 1).astype(np.int8)
    prompts = PromptSet("given", names, [*texts, texts[0]], labels, np.arange(n + 1), names, names)
    twice = {name: np.concatenate([values, values[:1]]) for name, values in components.items()}
    return detector.combine(Recorded(twice, prompts, stands_for, references or {}, seed))[:n]
