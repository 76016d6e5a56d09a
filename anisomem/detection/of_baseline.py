"""What detectors may ask of a second model: an earlier checkpoint, or what it was tuned from.

A need like those of ``needs``; it is evaluated with them, in ``engine/noise_sample.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anisomem.detection.needs import Need, OnLatents
from anisomem.errors import UserError
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

LACKS_BASELINE = (
    "it compares the model with a second one, an earlier checkpoint or what it was tuned from; "
    "give baseline_model.path=FOLDER, or OWNER/NAME in the hub"
)


@dataclass(frozen=True)
class OfBaseline(Need):
    """A need of the model's baseline, at latents of the model itself and with the same noise.

    The baseline is an earlier checkpoint, or what the model was tuned from, and encodes the
    prompts itself. Evaluated to what the need is evaluated to.

    Raises:
        TypeError: A need of attention, which is reduced while the model itself is evaluated.
    """

    need: OnLatents

    def __post_init__(self) -> None:
        if self.need.capability is Capability.ATTENTION:
            raise TypeError(f"{type(self.need).__name__} is not evaluated of a baseline")

    def resolved(self, model: DiffusionModel) -> Need:
        if model.baseline is None:
            raise UserError(LACKS_BASELINE)
        return OfBaseline(self.need.resolved(model.baseline))  # its steps are the same

    def made_from(self) -> Sequence[Need]:
        place = self.need.at, self.need.latents
        return [
            OfBaseline(one)
            if isinstance(one, OnLatents) and (one.at, one.latents) == place
            else one  # what leads to the latents, which are the model's own
            for one in self.need.made_from()
        ]
