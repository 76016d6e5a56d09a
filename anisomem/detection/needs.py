r"""What detectors may ask of a model, and the answers.

A need is a value: equal needs of several detectors are evaluated once. It says *where* something
is evaluated by a place in the schedule, ``step:i`` or ``t:value``, which the engine turns into the
timestep of the model at hand. To add a need, add its class here, with what has to be evaluated
before it, and its evaluation to ``engine/noise_sample.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from anisomem.detection.places import FIRST, LAST, At
from anisomem.errors import UserError
from anisomem.models.capability import Capability

if TYPE_CHECKING:  # scoring what is stored needs no torch
    from torch import Tensor

    from anisomem.models.base import DiffusionModel

STEPS = 50  # of every trajectory
#: What a prediction is evaluated at: pure noise, or the latents that a trajectory from that noise
#: has at the timestep, with guidance 7.5 or without (w = 1).
NOISE, GUIDED, UNGUIDED = LATENTS = ("noise", "guided", "unguided")
#: Or at the end of the guided trajectory, scaled by alpha_t.
GENERATED = "generated"


@dataclass(frozen=True)
class Need:
    """Something that is evaluated of the model at one noise sample.

    Attributes:
        capability: What the model must be able to do for it, None of what every model can do.
    """

    capability: ClassVar[Capability | None] = None

    def resolved(self, model: DiffusionModel) -> Need:
        """The need at the model's own timestep, so that all ways to write a place are equal.

        Raises:
            UserError: A place outside the schedule, or none of the trajectory whose latents are
                wanted; or the model lacks the capability.
        """
        if self.capability:
            model.require(self.capability, "leave out the detectors that need it")
        return self

    def made_from(self) -> Sequence[Need]:
        """What has to be evaluated before it can be."""
        return ()


@dataclass(frozen=True)
class Placed(Need):
    """A need at a place in the schedule."""

    at: At

    @property
    def t(self) -> float:
        """The timestep, where :meth:`resolved` has put it."""
        return self.at.t

    def resolved(self, model: DiffusionModel) -> Self:
        super().resolved(model)
        t = At(self.at).timestep_in(model)
        if self.trajectory and t not in model.timesteps():
            raise UserError(f"timestep {t} is no step of a trajectory")
        return replace(self, at=At.timestep(t))

    @property
    def trajectory(self) -> str:
        """The trajectory whose step it belongs to, ``guided`` or ``unguided``; "" if to none."""
        return ""


@dataclass(frozen=True)
class OnLatents(Placed):
    """A need at a place in the schedule, on chosen latents."""

    latents: str = NOISE

    @property
    def alone(self) -> tuple[int, int]:
        """NFE and directional derivatives of a prompt, besides those of what it is made from."""
        return 1, 0

    @property
    def trajectory(self) -> str:
        return self.latents if self.latents in (GUIDED, UNGUIDED) else ""

    def resolved(self, model: DiffusionModel) -> Self:
        placed = super().resolved(model)
        if self.trajectory and At(self.at).timestep_in(model) == model.timesteps()[0]:
            return replace(placed, latents=NOISE)
        return placed

    def made_from(self) -> Sequence[Need]:
        if self.trajectory:
            return start(self.trajectory)
        return (After(LAST),) if self.latents == GENERATED else ()


@dataclass(frozen=True)
class Conditional(OnLatents):
    """The prediction with the prompt: 1 NFE per prompt on pure noise.

    Evaluated to a :class:`~anisomem.models.base.Prediction` of ``B`` rows.
    """


@dataclass(frozen=True)
class Unconditional(OnLatents):
    """The prediction without prompt; on shared noise one NFE serves every prompt.

    Evaluated to a :class:`~anisomem.models.base.Prediction` of ``B`` rows.
    """


@dataclass(frozen=True)
class OfPrediction(OnLatents):
    """A need that is evaluated beside the prediction with the prompt."""

    def made_from(self) -> Sequence[Need]:
        return (Conditional(self.at, self.latents), *super().made_from())


@dataclass(frozen=True)
class GuidanceDerivative(OfPrediction):
    r"""Derivative of ``c - u`` along ``c - u`` itself: one directional derivative of each.

    Evaluated to :math:`(J_c - J_u)(c - u)` of the raw outputs, ``[B, C, H, W]``.
    """

    capability = Capability.DERIVATIVES

    @property
    def alone(self) -> tuple[int, int]:
        return 0, 2

    def made_from(self) -> Sequence[Need]:
        return (*super().made_from(), Unconditional(self.at, self.latents))


@dataclass(frozen=True)
class NormGradient(OfPrediction):
    r"""How the length of the predicted noise changes with the latents, with less without prompt.

    Two transposed derivatives. Evaluated to :math:`\nabla_x \tfrac12\|\varepsilon_c\|^2 -
    \nabla_x \tfrac12\|\varepsilon_u\|^2`, ``[B, C, H, W]``.
    """

    capability = Capability.DERIVATIVES

    @property
    def alone(self) -> tuple[int, int]:
        return 0, 2

    def made_from(self) -> Sequence[Need]:
        return (*super().made_from(), Unconditional(self.at, self.latents))


@dataclass(frozen=True)
class Divergence(OfPrediction):
    r"""``v . J v`` of the output with the prompt, for random directions v of entries -1 and 1.

    One directional derivative for each of ``probes``. Evaluated to :math:`v^\top J_c v` of the raw
    output for every probe v, ``[B, probes]``.
    """

    capability = Capability.DERIVATIVES

    probes: int = 1

    @property
    def alone(self) -> tuple[int, int]:
        return 0, self.probes


@dataclass(frozen=True)
class CurvatureDifference(OfPrediction):
    r"""How the prompt changes the curvature of the log-probability, position by position.

    The diagonal of a Jacobian is estimated by Hutchinson's :math:`v \odot J v` with directions v
    of entries -1 and 1, two directional derivatives for each of ``probes``. Evaluated to the
    mean over probes of :math:`v \odot (J_{\varepsilon_c} - J_{\varepsilon_u}) v` of predicted
    noise, summed over channels, ``[B, H, W]``.
    """

    capability = Capability.DERIVATIVES

    probes: int = 1

    @property
    def alone(self) -> tuple[int, int]:
        return 0, 2 * self.probes

    def made_from(self) -> Sequence[Need]:
        return (*super().made_from(), Unconditional(self.at, self.latents))


@dataclass(frozen=True)
class Curvature(OfPrediction):
    r"""The curvature of the log-probability with the prompt, position by position.

    Estimated as a :class:`CurvatureDifference` is, in the same directions, one directional
    derivative for each of ``probes``. Evaluated to the mean over probes of
    :math:`v \odot J_{\varepsilon_c} v` of predicted noise, summed over channels, ``[B, H, W]``.
    """

    capability = Capability.DERIVATIVES

    probes: int = 1

    @property
    def alone(self) -> tuple[int, int]:
        return 0, self.probes


@dataclass(frozen=True)
class ConditionJacobian(OfPrediction):
    r"""How strongly the predicted noise depends on the embeddings of the prompt's tokens.

    One transposed derivative for each of ``probes``, standard normal directions v of the
    prediction. Evaluated to :math:`\|v^\top \partial\varepsilon/\partial e\|^2` for every
    probe, ``[B, probes]``, whose mean is the squared Frobenius norm of the Jacobian.
    """

    capability = Capability.EMBEDDINGS

    probes: int = 1

    @property
    def alone(self) -> tuple[int, int]:
        return 0, self.probes


@dataclass(frozen=True)
class Nearby(OfPrediction):
    r"""The prediction with the prompt beside the latents, in a random direction.

    Evaluated to a :class:`~anisomem.models.base.Prediction` of ``B`` rows.

    Arguments:
        radius: How far, in :math:`\sigma_t \sqrt D` for latents of D numbers.
        probe: Which direction; they are the same for all prompts at a noise sample.
    """

    radius: float = 1.0
    probe: int = 0


@dataclass(frozen=True)
class TokenAttention(OfPrediction):
    """Cross-attention with the prompt by layer and token, mean over heads and positions.

    Evaluated to ``[B, layers, tokens]``, layers in the order they compute; sums to 1 over tokens.
    """

    capability = Capability.ATTENTION

    @property
    def alone(self) -> tuple[int, int]:
        return 0, 0


@dataclass(frozen=True)
class EndAttention(OfPrediction):
    """Cross-attention to the end-of-text token by position.

    Mean over heads and over the down-sampling layers of the highest resolution. Evaluated to
    ``[B, h, w]``; where the layers have fewer positions than the latents, so has this.
    """

    capability = Capability.ATTENTION

    @property
    def alone(self) -> tuple[int, int]:
        return 0, 0


@dataclass(frozen=True)
class After(Placed):
    """The latents after the step at ``at`` of the guided trajectory, ``[B, C, H, W]``."""

    @property
    def trajectory(self) -> str:
        return GUIDED

    def made_from(self) -> Sequence[Need]:
        return start(GUIDED)


@dataclass(frozen=True)
class Picture(Need):
    """The decoded end of the guided trajectory, uint8 ``[B, H, W, 3]``."""

    capability = Capability.PICTURES

    def made_from(self) -> Sequence[Need]:
        return (After(LAST),)


@dataclass(frozen=True)
class OneStepPicture(Placed):
    """The decoded end of a guided trajectory of one step, uint8 ``[B, H, W, 3]``.

    It is what the guided prediction on pure noise takes for the data.
    """

    capability = Capability.PICTURES

    def made_from(self) -> Sequence[Need]:
        return pair(self.at)


@dataclass(frozen=True)
class Noise(Need):
    """The pure noise itself, ``[B, C, H, W]``."""


@dataclass(frozen=True)
class EndToken(Need):
    """Index of every prompt's end-of-text token, ``[B]``."""

    capability = Capability.END


def nfe_until(at: At, latents: str) -> int:
    """How many latents are evaluated until the prediction with prompt is known at a place.

    A place that is given by its timestep counts as the last one of a trajectory.
    """
    if latents == NOISE:
        return 1
    step = int(at.removeprefix("step:")) if at.startswith("step:") else -1
    taken = 1 + step % STEPS
    return {UNGUIDED: taken, GUIDED: 2 * taken, GENERATED: 2 * STEPS + 1}[latents]


def pair(at: At, latents: str = NOISE) -> tuple[Conditional, Unconditional]:
    """The predictions with and without prompt at one place."""
    return Conditional(at, latents), Unconditional(at, latents)


def start(trajectory: str) -> Sequence[Need]:
    """What a ``guided`` or ``unguided`` trajectory begins with: predictions on the noise."""
    return pair(FIRST) if trajectory == GUIDED else (Conditional(FIRST),)


@dataclass(frozen=True)
class Evaluations:
    """The evaluated needs of one batch of prompts, all from the same noise sample.

    Attributes:
        noise: The pure noise, ``[B, C, H, W]``.
        values: The values of every need as it was evaluated, at timesteps of the model.
        evaluated: Needs as detectors write them, each with the one that answers it.
    """

    noise: Tensor
    values: Mapping[Need, Any]
    evaluated: Mapping[Need, Need] = field(default_factory=dict)

    def __getitem__(self, need: Need) -> Any:
        """What was evaluated for a need; its class says of which type and shape."""
        return self.values[self.evaluated.get(need, need)]
