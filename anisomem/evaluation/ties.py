"""Scores that many prompts share, which an AUC and a TPR can hide.

The warnings that a reader sees are written in :mod:`anisomem.report`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anisomem.evaluation.inputs import check_scores

MOST = 0.5  # of the prompts with one score: then the rest decides everything
FEW_LEVELS, PROMPTS_PER_LEVEL = 20, 10  # fewer levels than this, and more prompts to each


@dataclass(frozen=True)
class Ties:
    """How a detector's scores repeat themselves, at the noise seed where they do so most.

    Attributes:
        largest: Share of the prompts that have the commonest score.
        levels: Different scores.
        prompts: The number of prompts N.
    """

    largest: float
    levels: int
    prompts: int

    @property
    def constant(self) -> bool:
        """Whether every prompt has the same score: an AUC of 0.5 by construction."""
        return self.levels == 1

    @property
    def few_levels(self) -> bool:
        """Whether there are few scores for so many prompts."""
        return self.levels < FEW_LEVELS and self.prompts >= PROMPTS_PER_LEVEL * self.levels

    @property
    def flag(self) -> str | None:
        """A few letters for the row."""
        if self.constant:
            return "constant"
        if self.largest > MOST:
            return f"{self.largest:.0%} tied"
        return f"{self.levels} levels" if self.few_levels else None

    @property
    def note(self) -> str | None:
        """The flag in words."""
        if self.constant:
            return "constant: every prompt scores the same, so the AUC is 0.5 by construction"
        if self.largest > MOST:
            return f"{self.largest:.1%} of the prompts share one score"
        if self.few_levels:
            return (
                f"the scores take {self.levels} values only, so the TPR moves by whole levels and"
                " its 95% interval may cover less than it says"
            )
        return None


def ties(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Ties:
    """Counts how a detector's scores repeat themselves.

    Arguments:
        scores: ``[S, N]`` for S noise seeds.
        labels: ``[N]``, 1 = memorized.

    Raises:
        ValueError: as :func:`check_scores`.
    """
    values, _ = check_scores(scores, labels, ndim=2)
    n = values.shape[1]
    counts = [np.unique(row, return_counts=True)[1] for row in values]
    return Ties(max(int(c.max()) for c in counts) / n, min(map(len, counts)), n)
