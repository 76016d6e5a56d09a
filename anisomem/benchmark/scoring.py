"""Makes scores of what is recorded; a detector that cannot be scored costs its own row only.

The formula of a score is its detector's ``combine``; what is judged by the scores is in
``results``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from anisomem.detection.base import Array, Detector, Recorded
from anisomem.errors import UserError
from anisomem.evaluation import Evaluation
from anisomem.evaluation.inputs import check_scores


@dataclass(frozen=True)
class Scored:
    """Scores of some prompts.

    Attributes:
        detectors: The detectors that can be scored there.
        scores: Their scores, ``[D, S, N]`` for S noise seeds.
        refused: The other detectors' keys, and what the data lack for them.
    """

    detectors: Sequence[Detector]
    scores: Array
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged(Scored):
    """Scores and what they achieve."""

    evaluation: Evaluation = field(kw_only=True)


def score(detectors: Sequence[Detector], recorded: Sequence[Recorded]) -> Scored:
    """Scores of every detector that can be scored.

    One cannot where a component is constant that it standardises by, where a fit has too few
    prompts or words, or where a score is not finite.

    Arguments:
        detectors: D of them.
        recorded: Components of the same N prompts, S noise seeds.

    Raises:
        UserError: None of them can be scored.
    """
    labels = recorded[0].prompts.labels
    kept, rows = [], []
    refused: dict[str, str] = {}
    for detector in detectors:
        try:
            scores = np.array([detector.combine(one) for one in recorded], dtype=np.float64)
            check_scores(scores, labels, ndim=2)
        except (ValueError, ArithmeticError, UserError) as error:
            refused[detector.key] = str(error)
        else:
            kept.append(detector)
            rows.append(scores)
    if not kept:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in refused.items())
        raise UserError(f"no detector can be scored on these prompts ({reasons})")
    return Scored(kept, np.array(rows), refused)
