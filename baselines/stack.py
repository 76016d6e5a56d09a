"""Combinations of detectors: logistic regression on what they record, fitted in folds.

The fit is :mod:`anisomem.evaluation.fitting`; the members are detectors of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anisomem.detection.base import Array, Components, Detector, Recorded
from anisomem.errors import UserError
from anisomem.evaluation import fit_in_folds

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel


@dataclass
class LogisticStack(Detector):
    """The out-of-fold log-odds of a logistic regression on several detectors' features.

    Each member offers its score, the anisotropy metric its two terms instead; they are scaled to
    the training folds' standard deviation. Clusters stay in one fold, so no prompt's weights have
    seen it or its near-duplicates. Costs what its members cost together.

    Arguments:
        members: Detectors; a configuration names them (``members: [wen, ren_le]``) and they take
            the stack's n.

    Raises:
        UserError: No member, or one whose score depends on labels.
    """

    uses_labels = True
    members: Sequence[Detector] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.members:
            raise UserError(
                f"{self.name} needs names of detectors; give "
                f"'detector.{self.name}.members=[wen,jeon]'"
            )
        for member in self.members:
            if member.uses_labels and type(member).features is Detector.features:
                raise UserError(
                    f"{self.name} cannot hold {member.name}, whose score depends on labels"
                )

    @property
    def uses_references(self) -> bool:  # type: ignore[override]
        return any(member.uses_references for member in self.members)

    @property
    def uses_texts(self) -> bool:  # type: ignore[override]
        return any(member.uses_texts for member in self.members)

    def require(self, stands_for: str | None) -> None:
        for member in self.members:
            member.require(stands_for)

    def require_of(self, model: DiffusionModel) -> None:
        for member in self.members:
            member.require_of(model)

    def components(self) -> Components:
        return [component for member in self.members for component in member.components()]

    def features(self, recorded: Recorded) -> Array:
        return np.concatenate([member.features(recorded) for member in self.members], axis=1)

    def combine(self, recorded: Recorded) -> Array:
        prompts = recorded.prompts
        return fit_in_folds(self.features(recorded), prompts.labels, prompts.clusters).scores
