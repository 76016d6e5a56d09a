"""Whether a prompt stands out from ordinary ones, at a false-positive rate that is chosen.

The p-values and thresholds are those of :mod:`anisomem.evaluation.conformal`: a prompt that is
like the ordinary ones is flagged with at most the chosen probability, whatever the detector and
the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.detection.base import Array
from anisomem.errors import UserError
from anisomem.evaluation import conformal
from anisomem.evaluation.conformal import Threshold


@dataclass(frozen=True)
class Verdict:
    """What one detector says of a prompt.

    Attributes:
        detector: The detector, as a row of a table is called.
        score: The prompt's score.
        p: Its conformal p-value.
        threshold: The score that ordinary prompts exceed at the chosen rate at most.
        above: How many ordinary prompts have a higher score.
        of: How many ordinary prompts there are.
    """

    detector: str
    score: float
    p: float
    threshold: Threshold
    above: int
    of: int

    @property
    def flagged(self) -> bool:
        """Whether the prompt stands out."""
        return self.score > self.threshold.value


@dataclass(frozen=True)
class Ordinary:
    """Ordinary prompts with their scores.

    Attributes:
        source: Where they come from.
        texts: The prompts, ``[n]``.
        scores: Their scores by detector, NaN where the model failed; ``[n]``.
        cosine: The largest absolute cosine of their maps.
    """

    source: str
    texts: Sequence[str]
    scores: Mapping[str, Array]
    cosine: float

    def calibration(self, detector: str, asked: str = "") -> npt.NDArray[np.float64]:
        """The scores that a prompt is compared with.

        Arguments:
            detector: The detector's key.
            asked: The prompt, which is left out where it is an ordinary one itself.
        """
        scores = self.scores[detector]
        kept = np.isfinite(scores) & np.array([text != asked for text in self.texts])
        return scores[kept]

    def rates(self, wanted: Sequence[float]) -> list[float]:
        """The false-positive rates that every detector's calibration can tell.

        Arguments:
            wanted: Those that are asked for.

        Raises:
            UserError: None of them; how many prompts the largest needs.
        """
        fewest = min(int(np.isfinite(scores).sum()) for scores in self.scores.values())
        # One less where the prompt that is asked about is an ordinary one.
        known = [rate for rate in wanted if conformal.calibration_needed(1, rate) < fewest]
        if not known:
            needed = conformal.calibration_needed(1, max(wanted)) + 1
            raise UserError(
                f"fpr_targets={list(wanted)} need {needed:,} ordinary prompts, and "
                f"{self.source!r} gives {fewest:,}; give calibration=FILE with more of them"
            )
        return known

    def verdict(self, detector: str, prompt: str, score: float, rate: float) -> Verdict:
        """What a detector says of a prompt.

        Arguments:
            detector: The detector's key.
            prompt: The prompt.
            score: Its score.
            rate: The false-positive rate.

        Raises:
            UserError: The model returned NaN or infinity for the prompt.
        """
        if not np.isfinite(score):
            raise UserError("the model returns NaN or infinity for this prompt; ask another one")
        calibration = self.calibration(detector, prompt)
        (p,) = conformal.p_values([score], calibration)
        return Verdict(
            detector,
            score,
            float(p),
            conformal.threshold(calibration, rate),
            int((calibration > score).sum()),
            len(calibration),
        )
