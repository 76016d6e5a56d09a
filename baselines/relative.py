r"""Any score of a model less the same score of a second one.

.. math:: S_\theta(p, x_T) - S_{\tilde\theta}(p, x_T)

for the same prompts and noise, where the tilde is of ``baseline_model.path``: what the model was
tuned from, or an earlier checkpoint. What makes a prompt score high in both, because it is short,
say, or its picture simple, cancels; what the model has learned since is left. In membership
inference this is calibration by difficulty, with one reference model (Watson, Guo, Cormode &
Sablayrolles, ICLR 2022, arXiv 2111.08440); for detectors of memorized prompts it is this project's
own, and no published number of it is known to us.

The second model is evaluated at latents of the model itself. On pure noise these are the same, so
the second score is the one that it would have alone; along a trajectory, or at its end, they are
where the model's own trajectory leads, as in ``earlier_checkpoint``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from anisomem import papers
from anisomem.detection.base import (
    AcrossSamples,
    Array,
    Component,
    Components,
    Cost,
    Detector,
    Info,
    Recorded,
)
from anisomem.detection.needs import Need, Noise, OnLatents
from anisomem.detection.of_baseline import OfBaseline
from anisomem.errors import UserError
from anisomem.models.capability import Capability

if TYPE_CHECKING:
    from anisomem.datasets.prompts import PromptSet
    from anisomem.models.base import DiffusionModel

SECOND = "baseline/"  # before the name of a component, where it is the second model's


@dataclass
class Relative(Detector):
    """A detector's score less the same of the model's baseline; it takes this one's n.

    Arguments:
        of: The detector; a configuration holds its settings, and ``relative_NAME`` are those of
            ``NAME``.

    Raises:
        UserError: A detector whose score needs labels, reads nothing of the model, or reads what
            is not evaluated of a second model.
    """

    of: Detector = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.of, Detector):
            raise UserError(
                f"{self.name}.of holds the settings of a detector, got {self.of!r}; "
                "'detector=[relative_NAME]' has those of NAME"
            )
        if self.of.n and self.of.n != self.n:
            self.of = replace(self.of, n=self.n)
        kind = type(self.of).__name__
        advice = "choose one that reads predictions, such as 'detector=[relative_wen]'"
        if self.of.uses_labels:
            raise UserError(
                f"{self.name}: the score of {kind} depends on labels, and two fits cannot be "
                f"compared; {advice}"
            )
        if not self.of.component_names:
            raise UserError(
                f"{self.name}: {kind} reads nothing of a model, so every difference is 0; {advice}"
            )
        for need in (need for part in self.of.components() for need in part.needs):
            if not _is_of_both(need):
                raise UserError(
                    f"{self.name}: {kind} reads {type(need).__name__}, which is not evaluated of "
                    f"a second model; {advice}"
                )

    @property
    def info(self) -> Info | None:  # type: ignore[override]
        """The quantity is the detector's, and the difference calibration by difficulty."""
        if (own := self.of.info) is None:
            return None
        reads = f"{own.reads}, of two models"
        return Info(papers.WATSON, reads, f"{own.quantity} less the baseline's", own.memorized)

    @property
    def uses_references(self) -> bool:  # type: ignore[override]
        return self.of.uses_references

    def components(self) -> Components:
        own = list(self.of.components())
        return [*own, *map(_of_second, own)]

    def cost(self) -> Cost:
        own, beside = self.of.cost(), self._evaluated_of_second()
        nfe, jvps = (sum(column) for column in zip(*(one.alone for one in beside), strict=True))
        return Cost(own.nfe + self.n * nfe, own.jvps + self.n * jvps)

    def combine(self, recorded: Recorded) -> Array:
        second = replace(
            recorded,
            components=_renamed(recorded.components),
            references=_renamed(recorded.references),
        )
        return self.of.combine(recorded) - self.of.combine(second)

    def remark(self, prompts: PromptSet, seeds: int) -> str | None:
        return self.of.remark(prompts, seeds)

    def require(self, stands_for: str | None) -> None:
        self.of.require(stands_for)

    def require_of(self, model: DiffusionModel) -> None:
        self.of.require_of(model)
        if model.baseline:
            self.of.require_of(model.baseline)

    def _evaluated_of_second(self) -> set[OnLatents]:
        """Everything that is evaluated of the second model for a prompt at a noise sample."""
        found: set[OnLatents] = set()
        waiting = [need for part in self.components() for need in part.needs]
        while waiting:
            need = waiting.pop()
            if isinstance(need, OfBaseline) and need.need not in found:
                found.add(need.need)
                waiting += need.made_from()
        return found


def _is_of_both(need: Need) -> bool:
    """Whether a need is evaluated of a second model too, or is the noise that both see."""
    attention = need.capability is Capability.ATTENTION
    return isinstance(need, Noise) or (isinstance(need, OnLatents) and not attention)


def _of_second(part: Component | AcrossSamples) -> Component | AcrossSamples:
    """The same number of the second model."""
    needs = [OfBaseline(need) if isinstance(need, OnLatents) else need for need in part.needs]
    return replace(part, name=f"{SECOND}{part.name}", needs=needs)


def _renamed(components: Mapping[str, Array]) -> dict[str, Array]:
    """The second model's numbers under the names of the model's own."""
    return {
        name.removeprefix(SECOND): values
        for name, values in components.items()
        if name.startswith(SECOND)
    }
