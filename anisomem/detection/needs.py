r"""What detectors may ask of a model, and the answers.

A need is a value: equal needs of several detectors are evaluated once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # scoring what is stored needs no torch
    from torch import Tensor

    from anisomem.models.base import Prediction

STEPS = 50  # of every trajectory
#: What a prediction is evaluated at: pure noise, or the latents that a trajectory from that noise
#: has at the timestep, with guidance 7.5 or without (w = 1).
NOISE, GUIDED, UNGUIDED = LATENTS = ("noise", "guided", "unguided")
#: Or at the end of the guided trajectory, scaled by alpha_t.
GENERATED = "generated"


@dataclass(frozen=True, order=True)
class Need:
    """Something evaluated of the model, at timestep ``t``."""

    t: float | None


@dataclass(frozen=True, order=True)
class Conditional(Need):
    """The prediction with the prompt at timestep ``t``: 1 NFE per prompt on pure noise."""

    t: float
    latents: str = NOISE


@dataclass(frozen=True, order=True)
class Unconditional(Need):
    """The prediction without prompt; on shared noise one NFE serves every prompt."""

    t: float
    latents: str = NOISE


@dataclass(frozen=True, order=True)
class GuidanceDerivative(Need):
    """Derivative of ``c - u`` along ``c - u`` itself: one directional derivative of each."""

    t: float
    latents: str = NOISE


@dataclass(frozen=True, order=True)
class Divergence(Need):
    """``v . J v`` of the output with the prompt, for random directions v of entries -1 and 1.

    One directional derivative for each of ``probes``.
    """

    t: float
    latents: str
    probes: int


@dataclass(frozen=True, order=True)
class Nearby(Need):
    """The prediction with the prompt ``radius`` away from the latents, towards ``probe``.

    Probes are random directions, the same for all prompts at a noise sample.
    """

    t: float
    latents: str
    radius: float
    probe: int


@dataclass(frozen=True, order=True)
class TokenAttention(Need):
    """Cross-attention with the prompt by layer and token, mean over heads and positions."""

    t: float
    latents: str = NOISE


@dataclass(frozen=True, order=True)
class EndAttention(Need):
    """Cross-attention to the end-of-text token by position.

    Mean over heads and over the down-sampling layers of the highest resolution.
    """

    t: float
    latents: str = NOISE


@dataclass(frozen=True, order=True)
class After(Need):
    """The latents after the step at ``t`` of the guided trajectory."""

    t: float


@dataclass(frozen=True, order=True)
class Picture(Need):
    """The decoded end of the guided trajectory; with ``t``, that of a trajectory of one step.

    The latter is what the guided prediction on pure noise takes for the data.
    """

    t: float | None = None


@dataclass(frozen=True)
class Evaluations:
    """The evaluated needs of one batch of prompts, all from the same noise sample.

    Attributes:
        noise: The pure noise itself, ``[B, C, H, W]``.
        values: Of every need.
        end: Index of every prompt's end-of-text token, ``[B]``; None where the model has none.
    """

    noise: Tensor
    values: Mapping[Need, Any]
    end: Tensor | None = None

    def conditional(self, t: float, latents: str = NOISE) -> Prediction:
        """With the prompt, ``B`` rows."""
        return self._prediction(Conditional(t, latents))

    def unconditional(self, t: float, latents: str = NOISE) -> Prediction:
        """Without the prompt, ``B`` rows."""
        return self._prediction(Unconditional(t, latents))

    def nearby(self, need: Nearby) -> Prediction:
        """With the prompt beside the latents, ``B`` rows."""
        return self._prediction(need)

    def guidance_derivative(self, t: float, latents: str = NOISE) -> Tensor:
        r""":math:`(J_c - J_u)(c - u)` of the raw outputs, ``[B, C, H, W]``."""
        return self._tensor(GuidanceDerivative(t, latents))

    def divergence(self, need: Divergence) -> Tensor:
        r""":math:`v^\top J_c v` of the raw output for every probe v, ``[B, probes]``."""
        return self._tensor(need)

    def token_attention(self, t: float, latents: str = NOISE) -> Tensor:
        """Layers in the order they compute, ``[B, layers, tokens]``; sums to 1 over tokens."""
        return self._tensor(TokenAttention(t, latents))

    def end_attention(self, t: float, latents: str = NOISE) -> Tensor:
        """``[B, h, w]``; where the layers have fewer positions than the latents, so has this."""
        return self._tensor(EndAttention(t, latents))

    def after(self, t: float) -> Tensor:
        """``[B, C, H, W]``."""
        return self._tensor(After(t))

    def picture(self, t: float | None = None) -> Tensor:
        """uint8 ``[B, H, W, 3]``."""
        return self._tensor(Picture(t))

    def _prediction(self, need: Need) -> Prediction:
        return cast("Prediction", self.values[need])

    def _tensor(self, need: Need) -> Tensor:
        return cast("Tensor", self.values[need])
