"""The passes through a model that serve one noise sample: on noise and along trajectories.

Which needs there are is :mod:`anisomem.detection.needs`; a new one adds its evaluation here.
Components are made of the values in ``engine``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from anisomem.detection.needs import (
    GENERATED,
    GUIDED,
    NOISE,
    UNGUIDED,
    After,
    Conditional,
    ConditionJacobian,
    Curvature,
    CurvatureDifference,
    Divergence,
    EndAttention,
    EndToken,
    GuidanceDerivative,
    Nearby,
    Need,
    Noise,
    NormGradient,
    OneStepPicture,
    OnLatents,
    Picture,
    Placed,
    TokenAttention,
    Unconditional,
)
from anisomem.detection.of_baseline import OfBaseline
from anisomem.detection.places import At
from anisomem.detection.renoised import Cycled, FluxDifference, Representation
from anisomem.engine.batches import Batches, again
from anisomem.engine.draws import Draw
from anisomem.engine.renoised import Renoised
from anisomem.models.base import DiffusionModel
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Prediction

Values = dict[Need, Any]
GUIDANCE = 7.5  # of guided trajectories


def made_from(needs: Iterable[Need], model: DiffusionModel) -> set[Need]:
    """Needs with everything that has to be evaluated before them, at the model's timesteps.

    A trajectory's latents are pure noise at its first step, so nothing is evaluated there twice.
    """
    needed: set[Need] = set()
    waiting = list(needs)
    while waiting:
        need = waiting.pop().resolved(model)
        if need not in needed:
            needed.add(need)
            waiting += need.made_from()
    return needed


class NoiseSample:
    """The noise of a batch of prompts, and everything that is evaluated from it.

    Arguments:
        batches: The model, evaluated in batches that fit its memory.
        needs: The needs from :func:`made_from`.
        x: The noise, ``[B, C, H, W]``.
        encoded: The encoded prompts, ``B`` of them.
        draw: Seed and number of the noise sample.
        baseline: The same noise with the model's baseline, where a need is of that; what it is
            evaluated at comes from here.
    """

    def __init__(
        self,
        batches: Batches,
        needs: set[Need],
        x: Tensor,
        encoded: Conditioning,
        draw: tuple[int, int],
        baseline: NoiseSample | None = None,
    ) -> None:
        self.batches, self.model, self.needs = batches, batches.model, needs
        self.x, self.encoded, self.draw, self.baseline = x, encoded, draw, baseline
        self.random = Draw(*draw, self.model.latent_shape)
        self.renoised = Renoised(batches, self.random, GUIDANCE)
        self.steps = self.model.timesteps()
        self._last = After(At.timestep(self.steps[-1]))
        self.evaluated: Values = {Noise(): x, EndToken(): encoded.end}
        self.by_place: dict[tuple[str, float], list[Need]] = defaultdict(list)
        for need in needs:
            placed = need.need if isinstance(need, OfBaseline) else need
            if isinstance(placed, Placed):
                trajectory = placed.trajectory or NOISE
                latents = placed.latents if isinstance(placed, OnLatents) else trajectory
                self.by_place[latents, placed.t].append(need)

    def values(self) -> Values:
        """Evaluates everything, each after what it is made from."""
        self._with_prompt()
        for t in self._timesteps(NOISE):
            for sample in filter(None, (self, self.baseline)):
                if need_at(Unconditional, t) in sample.by_place[NOISE, t]:
                    without = sample.batches.unconditional_on_noise(self.x, t, self.draw)
                    sample.evaluated[need_at(Unconditional, t)] = without
            self._in_batches(partial(self._beside_noise, t), width=2)
        for latents, width in ((UNGUIDED, 1), (GUIDED, 2)):
            if steps := self._timesteps(latents):
                self._in_batches(partial(self._along_trajectory, latents, steps[-1]), width)
        for t in self._timesteps(GENERATED):
            self._in_batches(partial(self._generated, t))
        self._in_batches(partial(self._renoised, Representation))
        self._in_batches(partial(self._renoised, Cycled), width=2)
        self._in_batches(partial(self._renoised, FluxDifference), width=4)
        self._in_batches(self._pictures)
        return {need: self.evaluated[need] for need in self.needs}

    def _timesteps(self, latents: str) -> list[float]:
        """The timesteps at which these latents are needed, from noise to data."""
        return sorted((t for of, t in self.by_place if of == latents), reverse=True)

    def _in_batches(self, part: Callable[[slice], Values], width: int = 1) -> None:
        """Adds the values of all rows."""
        parts = self.batches.in_batches(len(self.x), part, width)
        for need in parts[0]:
            values = [values_of[need] for values_of in parts]
            whole = Prediction.cat if isinstance(values[0], Prediction) else torch.cat
            self.evaluated[need] = whole(values)

    def _with_prompt(self) -> None:
        """Predictions and attention on pure noise, all timesteps together."""
        steps = [
            t for t in self._timesteps(NOISE) if need_at(Conditional, t) in self.by_place[NOISE, t]
        ]
        if not steps:
            return
        n = len(self.x)
        t = torch.tensor(steps).repeat_interleave(n)
        attended = any(self._attention(NOISE, step) for step in steps)

        def part(rows: slice) -> tuple[Prediction, Tensor | None, Tensor | None]:
            own = again(rows, n)
            x, prompts = self.x[own], self.encoded[own]
            if attended:
                prediction, attention = self.model.attend(x, t[rows], prompts)
                return prediction, attention.tokens, attention.end
            return self.model.predict(x, t[rows], prompts), None, None

        predictions, tokens, ends = zip(*self.batches.in_batches(len(t), part), strict=True)
        prediction = Prediction.cat(predictions)
        for i, step in enumerate(steps):
            rows = slice(i * n, (i + 1) * n)
            self.evaluated[need_at(Conditional, step)] = prediction[rows]
            for need in self._attention(NOISE, step):
                attention = ends if isinstance(need, EndAttention) else tokens
                self.evaluated[need] = torch.cat(attention)[rows]

    def _attention(self, latents: str, t: float) -> list[Need]:
        return [
            n for n in self.by_place[latents, t] if isinstance(n, TokenAttention | EndAttention)
        ]

    def _beside_noise(self, t: float, rows: slice) -> Values:
        """Directional derivatives on noise, predictions beside it, and what is the baseline's."""
        both = need_at(Conditional, t), need_at(Unconditional, t)
        known: Values = {
            need: self.evaluated[need][rows] for need in both if need in self.evaluated
        }
        values = self._differentiated(NOISE, t, rows, known)
        return values | self._of_baseline(NOISE, t, rows, self.x[rows])

    def _of_baseline(self, latents: str, t: float, rows: slice, x: Tensor) -> Values:
        """What the baseline is asked for at some latents of the model."""
        if self.baseline is None:
            return {}
        found = self.baseline._elsewhere(latents, t, rows, x)
        return {
            OfBaseline(need): value for need, value in found.items() if isinstance(need, OnLatents)
        }

    def _elsewhere(self, latents: str, t: float, rows: slice, x: Tensor) -> Values:
        """Everything at latents that another model has led to.

        Arguments:
            latents, t: The place that needs call them by.
            rows: The prompts' rows in the batch.
            x: The latents of these rows.
        """
        here, known = self.by_place[latents, t], Values()
        if (conditional := need_at(Conditional, t, latents)) in here:
            known[conditional] = self.model.predict(x, t, self.encoded[rows])
        if (unconditional := need_at(Unconditional, t, latents)) in here:
            shared = self.evaluated.get(unconditional)
            known[unconditional] = (
                self.batches.predict_unconditional(x, t) if shared is None else shared[rows]
            )
        return known | self._differentiated(latents, t, rows, known)

    def _differentiated(self, latents: str, t: float, rows: slice, known: Values) -> Values:
        """Directional derivatives at some latents, and predictions beside them.

        Arguments:
            latents, t: Where.
            rows: The prompts' rows in the batch.
            known: Their predictions there.
        """
        values: Values = {}
        for need in self.by_place[latents, t]:
            match need:
                case GuidanceDerivative():
                    both = (
                        known[need_at(Conditional, t, latents)],
                        known[need_at(Unconditional, t, latents)],
                    )
                    values[need] = self._guidance_derivative(t, *both, self.encoded[rows])
                case NormGradient():
                    with_prompt = known[need_at(Conditional, t, latents)]
                    without = known[need_at(Unconditional, t, latents)]
                    empty = self.batches.empty[[0] * len(with_prompt)]
                    gradient = self._norm_gradient(t, with_prompt, self.encoded[rows])
                    values[need] = gradient - self._norm_gradient(t, without, empty)
                case CurvatureDifference(probes=probes):
                    conditional = known[need_at(Conditional, t, latents)]
                    maps = (self._curvature_change(t, conditional, rows, i) for i in range(probes))
                    values[need] = torch.stack(list(maps)).mean(dim=0)
                case Curvature(probes=probes):
                    conditional = known[need_at(Conditional, t, latents)]
                    maps = (self._curvature(t, conditional, rows, i) for i in range(probes))
                    values[need] = torch.stack(list(maps)).mean(dim=0)
                case Divergence(probes=probes):
                    x = known[need_at(Conditional, t, latents)].x
                    products = [self._quadratic(x, t, rows, probe) for probe in range(probes)]
                    values[need] = torch.stack(products, dim=1)
                case ConditionJacobian(probes=probes):
                    prediction = known[need_at(Conditional, t, latents)]
                    lengths = [
                        self._condition_length(t, prediction, rows, i) for i in range(probes)
                    ]
                    values[need] = torch.stack(lengths, dim=1)
                case Nearby(radius=radius, probe=probe):
                    x, v = known[need_at(Conditional, t, latents)].x, self._direction(probe)
                    there = x + self._distance(t, radius) * v / v.norm()
                    values[need] = self.model.predict(there, t, self.encoded[rows])
        return values

    def _guidance_derivative(
        self, t: float, conditional: Prediction, unconditional: Prediction, prompts: Conditioning
    ) -> Tensor:
        x = conditional.x  # along a trajectory in float32, whatever the model's
        return self._difference(x, t, prompts, (conditional.raw - unconditional.raw).to(x.dtype))

    def _difference(self, x: Tensor, t: float, prompts: Conditioning, tangent: Tensor) -> Tensor:
        """The derivative of ``c - u`` of the raw outputs along a direction, ``[B, C, H, W]``."""
        both = Conditioning.cat([self.batches.empty[[0] * len(prompts)], prompts])
        _, derivative = self.model.jvp(x.repeat(2, 1, 1, 1), t, both, tangent.repeat(2, 1, 1, 1))
        without, with_prompt = derivative.chunk(2)
        return with_prompt - without

    def _curvature(self, t: float, at: Prediction, rows: slice, probe: int) -> Tensor:
        """One probe of the diagonal of noise's Jacobian with the prompt, ``[B, H, W]``."""
        v = self._direction(probe).sign().expand_as(at.x)
        _, derivative = self.model.jvp(at.x, t, self.encoded[rows], v)
        return (v * (at.noise_per_output * derivative + at.noise_per_latent * v)).sum(dim=1)

    def _curvature_change(self, t: float, at: Prediction, rows: slice, probe: int) -> Tensor:
        """One probe of the prompt's change of the diagonal of noise's Jacobian, ``[B, H, W]``."""
        v = self._direction(probe).sign().expand_as(at.x)
        changed = self._difference(at.x, t, self.encoded[rows], v)
        return (v * at.noise_per_output * changed).sum(dim=1)

    def _norm_gradient(self, t: float, at: Prediction, prompts: Conditioning) -> Tensor:
        r""":math:`\nabla_x \tfrac12\|\varepsilon\|^2`; noise depends on output and latents."""
        noise = at.epsilon
        pulled = self.model.vjp(at.x, t, prompts, at.noise_per_output * noise)
        return pulled.to(noise) + at.noise_per_latent * noise

    def _quadratic(self, x: Tensor, t: float, rows: slice, probe: int) -> Tensor:
        """``v . J v`` of the output for a direction v of signs, ``[B]``."""
        v = self._direction(probe).sign().expand_as(x)
        _, derivative = self.model.jvp(x, t, self.encoded[rows], v)
        wide = torch.promote_types(derivative.dtype, torch.float32)  # float16 ends at 65,504
        return (v.to(wide) * derivative.to(wide)).flatten(1).sum(1)

    def _condition_length(self, t: float, at: Prediction, rows: slice, probe: int) -> Tensor:
        """The squared length of a probe of the condition Jacobian, ``[B]``."""
        v = self._direction(probe).expand_as(at.x)
        pulled = self.model.condition_vjp(at.x, t, self.encoded[rows], at.noise_per_output * v)
        return pulled.to(at.output.dtype).square().flatten(1).sum(1)

    def _distance(self, t: float, radius: float) -> float:
        """A radius in units of the length of the noise."""
        sigma: float = self.model.scales(torch.tensor([t]))[1].item()
        return radius * sigma * prod(self.model.latent_shape) ** 0.5

    def _direction(self, probe: int) -> Tensor:
        """A direction, the same for all prompts at a noise sample, ``[C, H, W]``."""
        return self.random.normal(probe, b"direction").to(self.x)

    def _along_trajectory(self, latents: str, end: float, rows: slice) -> Values:
        """Everything along a trajectory, which stops after its step at ``end``."""
        values: Values = {}
        prompts, first = self.encoded[rows], self.steps[0]
        guided = latents == GUIDED

        def evaluate(x: Tensor, t: float) -> tuple[Prediction, Prediction | None]:
            if t == first:
                without = self.evaluated[need_at(Unconditional, t)][rows] if guided else None
                return self.evaluated[need_at(Conditional, t)][rows], without
            if guided:
                both = Conditioning.cat([self.batches.empty[[0] * len(x)], prompts])
                prediction = self._attended(latents, torch.cat([x, x]), t, both, values)
                return prediction[len(x) :], prediction[: len(x)]
            return self._attended(latents, x, t, prompts, values), None

        guidance = GUIDANCE if guided else 1.0
        x = self.x[rows]
        for step in self.model.trajectory(x, prompts, guidance=guidance, evaluate=evaluate):
            here = self.by_place[latents, step.t]
            both: Values = {need_at(Conditional, step.t, latents): step.conditional}
            if (unconditional := need_at(Unconditional, step.t, latents)) in here:
                without = step.unconditional or self.batches.predict_unconditional(
                    step.conditional.x, step.t
                )
                both[unconditional] = without
            if (after := After(At.timestep(step.t))) in here:
                values[after] = step.after
            values |= {need: value for need, value in both.items() if need in here}
            values |= self._differentiated(latents, step.t, rows, both)
            values |= self._of_baseline(latents, step.t, rows, step.conditional.x)
            if step.t == end:
                break
        return values

    def _attended(
        self, latents: str, x: Tensor, t: float, prompts: Conditioning, values: Values
    ) -> Prediction:
        """A prediction whose last rows have prompts, and what they attend to."""
        wanted = self._attention(latents, t)
        if not wanted:
            return self.model.predict(x, t, prompts)
        with_prompt = len(x) // 2 if latents == GUIDED else 0
        prediction, attention = self.model.attend(x, t, prompts, first=with_prompt)
        for need in wanted:
            tokens = isinstance(need, TokenAttention)
            values[need] = attention.tokens if tokens else attention.end
        return prediction

    def _generated(self, t: float, rows: slice) -> Values:
        """Everything at the end of the guided trajectory, scaled as at ``t``."""
        alpha, _ = self.model.scales(torch.tensor([t]))
        generated = self.evaluated[self._last][rows]
        x = (alpha.to(generated) * generated).to(self.model.dtype)
        prediction = self.model.predict(x, t, self.encoded[rows])
        values: Values = {need_at(Conditional, t, GENERATED): prediction}
        if (unconditional := need_at(Unconditional, t, GENERATED)) in self.by_place[GENERATED, t]:
            values[unconditional] = self.batches.predict_unconditional(x, t)
        values |= self._differentiated(GENERATED, t, rows, values)
        return values | self._of_baseline(GENERATED, t, rows, x)

    def _renoised(self, kind: type[Need], rows: slice) -> Values:
        """Everything of a kind at the generated latents, noised again."""
        values, prompts = Values(), self.encoded[rows]
        for need in self.needs:
            if isinstance(need, kind):
                start = need.cycled if isinstance(need, FluxDifference) else self._last
                values[need] = self.renoised.value(need, self.evaluated[start][rows], prompts)
        return values

    def _pictures(self, rows: slice) -> Values:
        pictures: Values = {}
        for need in self.needs:
            match need:
                case Picture():
                    latents = self.evaluated[self._last][rows]
                case OneStepPicture():
                    c, u = (self.evaluated[need_at(kind, need.t)][rows] for kind in PAIR)
                    latents = u.guided(c, GUIDANCE).x0
                case _:
                    continue
            pictures[need] = torch.from_numpy(self.model.decode(latents))
        return pictures


PAIR = (Conditional, Unconditional)


def need_at(kind: type[OnLatents], t: float, latents: str = NOISE) -> OnLatents:
    """A need at a timestep of the model."""
    return kind(At.timestep(t), latents)
