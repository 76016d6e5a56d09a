"""Evaluates a model for all detectors of a run at once, and nothing twice."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from anisomem.detection.base import (
    GUIDED,
    NOISE,
    UNGUIDED,
    Array,
    Component,
    Conditional,
    Detector,
    Evaluations,
    GuidanceDerivative,
    Need,
    Unconditional,
)
from anisomem.errors import UserError
from anisomem.models.base import Conditioning, DiffusionModel, Prediction

T = TypeVar("T")
log = logging.getLogger(__name__)

GUIDANCE = 7.5  # of guided trajectories
CPU_BATCH, GPU_BATCH = 64, 256  # latents a forward pass starts with; halved where memory ends


class Engine:
    """Computes the components that detectors declare, with their needs merged.

    With ``shared`` noise (the anisotropy code's policy) the unconditional prediction is evaluated
    once per noise sample and timestep for the whole run; with ``per_prompt`` noise (Wen's: base
    seed plus prompt index) once per prompt.

    Arguments:
        model: The model.
        detectors: All detectors of the run.
        noise_policy: ``shared`` or ``per_prompt``.
        batch_size: Latents in a forward pass, or None to choose.

    Raises:
        UserError: Detectors of different n on a latent size for which fewer noise samples are not
            the first of more.
    """

    def __init__(
        self,
        model: DiffusionModel,
        detectors: Sequence[Detector],
        noise_policy: str = "shared",
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.noise_policy = noise_policy
        self.batch_size = batch_size or (CPU_BATCH if model.device.type == "cpu" else GPU_BATCH)
        self.components: dict[str, Component] = {}
        self.samples: dict[str, int] = {}  # of each component
        drawn = set()
        for detector in detectors:
            for component in detector.components(model):
                self.components[component.name] = component
                self.samples[component.name] = max(detector.n, self.samples.get(component.name, 0))
                drawn.add(detector.n)
        self.n = max(self.samples.values(), default=0)
        if len(drawn) > 1 and np.prod(model.latent_shape) % 16:
            raise UserError(
                f"detectors of different n cannot share noise on latents of "
                f"{np.prod(model.latent_shape)} numbers (no multiple of 16); give all the same n"
            )
        self._unconditional: dict[tuple[int, int, float], Prediction] = {}

    @cached_property
    def empty(self) -> Conditioning:
        """The conditioning of no prompt, one row."""
        return self.model.encode([""])

    @property
    def shared_nfe(self) -> int:
        """Evaluations so far that serve every prompt."""
        return len(self._unconditional)

    def needs(self, sample: int) -> set[Need]:
        """What has to be evaluated at a noise sample, over all components that use it."""
        active = [c for name, c in self.components.items() if self.samples[name] > sample]
        return set().union(*(c.needs for c in active))

    @torch.no_grad()
    def evaluate(self, texts: Sequence[str], rows: Sequence[int], seed: int) -> dict[str, Array]:
        """Every component of some prompts, name to ``[B, n]``.

        A prompt whose prediction is NaN or infinite gets such components.

        Arguments:
            texts: The prompts.
            rows: Their indices in the whole set, which per-prompt noise depends on.
            seed: Of the noise.

        Raises:
            UserError: The prediction without prompt, which serves all, is NaN or infinite.
        """
        unique = sorted(set(texts))
        encoded = self.model.encode(unique)[[unique.index(text) for text in texts]]
        values: dict[str, list[Tensor]] = {name: [] for name in self.components}
        for sample, x in enumerate(self._noise(len(texts), rows, seed)):
            evaluations = self._evaluations(sample, x, encoded, seed)
            for name, component in self.components.items():
                if self.samples[name] > sample:
                    values[name].append(component.compute(evaluations).double().cpu())
        return {name: torch.stack(columns, dim=1).numpy() for name, columns in values.items()}

    def _noise(self, batch: int, rows: Sequence[int], seed: int) -> Iterator[Tensor]:
        """Pure noise ``[B, C, H, W]`` for one sample after another."""
        if self.noise_policy == "shared":
            noise = self.model.initial_noise(seed, self.n)[:, None].expand(-1, batch, -1, -1, -1)
        else:
            noise = torch.stack(
                [self.model.initial_noise(seed + row, self.n) for row in rows], dim=1
            )
        yield from noise.to(self.model.device, self.model.dtype)

    def _evaluations(
        self, sample: int, x: Tensor, encoded: Conditioning, seed: int
    ) -> Evaluations:
        """All needs of one noise sample."""
        needs = self.needs(sample)
        on_noise = {need for need in needs if getattr(need, "latents", None) == NOISE}
        with_prompt = {need.t for need in on_noise if isinstance(need, Conditional)}
        predictions = self._with_prompt(with_prompt, x, encoded)
        for need in on_noise:
            if isinstance(need, Unconditional):
                predictions[need] = self._without_prompt(need.t, sample, x, seed)
        for latents in (GUIDED, UNGUIDED):
            if wanted := {n.t for n in needs if getattr(n, "latents", None) == latents}:
                predictions |= self._along(latents, wanted, x, encoded)
        derivatives = {
            need: self._guidance_derivative(predictions, need.t, x, encoded)
            for need in needs
            if isinstance(need, GuidanceDerivative)
        }
        return Evaluations(predictions, derivatives)

    def _with_prompt(
        self, wanted: set[float], x: Tensor, encoded: Conditioning
    ) -> dict[Conditional | Unconditional, Prediction]:
        """Predictions with the prompts on pure noise, all timesteps together."""
        if not wanted:
            return {}
        steps, n = sorted(wanted, reverse=True), len(x)
        together = Conditioning.cat([encoded] * len(steps))
        found = self._predict(x.repeat(len(steps), 1, 1, 1), _each(steps, n), together)
        return {Conditional(t): found[i * n : (i + 1) * n] for i, t in enumerate(steps)}

    def _along(
        self, latents: str, wanted: set[float], x: Tensor, encoded: Conditioning
    ) -> dict[Conditional | Unconditional, Prediction]:
        """Predictions at the latents of a trajectory, which ends at the last of ``wanted``."""
        guidance = {GUIDED: GUIDANCE, UNGUIDED: 1.0}[latents]

        def part(rows: slice) -> dict[Conditional | Unconditional, Prediction]:
            found: dict[Conditional | Unconditional, Prediction] = {}
            for step in self.model.trajectory(x[rows], encoded[rows], guidance=guidance):
                if step.t in wanted:
                    without = step.unconditional or self._without(step.conditional.x, step.t)
                    found[Conditional(step.t, latents)] = step.conditional
                    found[Unconditional(step.t, latents)] = without
                if step.t == min(wanted):
                    break
            return found

        parts = self._in_batches(len(x), part, width=2)
        return {need: Prediction.cat([found[need] for found in parts]) for need in parts[0]}

    def _without(self, x: Tensor, t: float) -> Prediction:
        return self.model.predict(x, t, self.empty[[0] * len(x)])

    def _without_prompt(self, t: float, sample: int, x: Tensor, seed: int) -> Prediction:
        if self.noise_policy == "per_prompt":
            parts = self._in_batches(len(x), lambda rows: self._without(x[rows], t))
            return self._finite(Prediction.cat(parts))
        key = (seed, sample, t)
        if key not in self._unconditional:
            self._unconditional[key] = self._finite(self._without(x[:1], t))
        return self._unconditional[key].expand(len(x))

    def _finite(self, prediction: Prediction) -> Prediction:
        """The prediction itself, or an error: a model that fails on no prompt fails on all."""
        if not prediction.raw.isfinite().all():
            raise UserError(
                "the model returns NaN or infinity without any prompt; try model.dtype=float32, "
                "and check the weights"
            )
        return prediction

    def _predict(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Prediction:
        """The model's prediction in as many batches as memory asks for."""

        def part(rows: slice) -> Prediction:
            return self.model.predict(x[rows], t[rows], conditioning[rows])

        return Prediction.cat(self._in_batches(len(x), part))

    def _guidance_derivative(
        self,
        predictions: dict[Conditional | Unconditional, Prediction],
        t: float,
        x: Tensor,
        encoded: Conditioning,
    ) -> Tensor:
        tangent = predictions[Conditional(t)].raw - predictions[Unconditional(t)].raw

        def part(rows: slice) -> Tensor:
            prompts = encoded[rows]
            both = Conditioning.cat([self.empty[[0] * len(prompts)], prompts])
            _, derivative = self.model.jvp(
                x[rows].repeat(2, 1, 1, 1), t, both, tangent[rows].repeat(2, 1, 1, 1)
            )
            without, with_prompt = derivative.chunk(2)
            return with_prompt - without

        return torch.cat(self._in_batches(len(x), part, width=2))

    def _in_batches(self, n: int, part: Callable[[slice], T], width: int = 1) -> list[T]:
        """``part`` of consecutive rows; where memory ends, the batch is halved for good.

        Arguments:
            n: Rows.
            part: What is to be done with some of them.
            width: Latents that it evaluates for each row.
        """
        parts, begin = [], 0
        while begin < n:
            try:
                end = begin + max(1, self.batch_size // width)
                parts.append(part(slice(begin, min(n, end))))
                begin = end
                continue
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise UserError(
                        "out of memory at batch size 1; use a smaller model, model.dtype=float16, "
                        "or model.device=cpu"
                    ) from None
            # Only here, outside the handler, are the failed pass's tensors free to go.
            self.batch_size //= 2
            torch.cuda.empty_cache()
            log.warning("out of memory: batch size is now %d", self.batch_size)
        return parts


def _each(steps: Sequence[float], rows: int) -> Tensor:
    """Every timestep for ``rows`` rows, one timestep after the other."""
    return torch.tensor(steps).repeat_interleave(rows)
