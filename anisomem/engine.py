"""Evaluates a model for all detectors of a run at once, and nothing twice."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from anisomem.detection.base import AcrossSamples, Array, Component, Detector
from anisomem.detection.needs import At, Evaluations, Need
from anisomem.errors import UserError
from anisomem.models.base import DiffusionModel
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Prediction
from anisomem.passes import NoiseSample, made_from

T = TypeVar("T")
log = logging.getLogger(__name__)

CPU_BATCH, GPU_BATCH = 64, 256  # latents a forward pass starts with; halved where memory ends


class Engine:
    """Computes the components that detectors declare, with their needs merged.

    With ``shared`` noise (the anisotropy code's policy) the unconditional prediction is evaluated
    once per noise sample and timestep for the whole run; with ``per_prompt`` noise (Wen's: base
    seed plus prompt index) once per prompt. A trajectory begins with the predictions on noise.

    Arguments:
        model: The model.
        detectors: All detectors of the run.
        noise_policy: ``shared`` or ``per_prompt``.
        batch_size: Latents in a forward pass, or None to choose.

    Raises:
        UserError: Detectors of different n on a latent size for which fewer noise samples are not
            the first of more, or one that needs what the model does not have.
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
        self.components: dict[str, Component | AcrossSamples] = {}
        self.samples: dict[str, int] = {}  # of each component
        drawn = set()
        self.evaluated: dict[Need, Need] = {}  # as detectors write them, and at the model's steps
        for detector in detectors:
            detector.require_of(model)
            for component in detector.components():
                self.components[component.name] = component
                self.samples[component.name] = max(detector.n, self.samples.get(component.name, 0))
                self.evaluated |= _placed(detector, component.needs, model)
                drawn.add(detector.n)
        self.n = max(self.samples.values(), default=0)
        if len(drawn) > 1 and np.prod(model.latent_shape) % 16:
            raise UserError(
                f"detectors of different n cannot share noise on latents of "
                f"{np.prod(model.latent_shape)} numbers (no multiple of 16); give all the same, "
                f"'detector.{detectors[0].name}.n=[{detectors[0].n}]'"
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
        return {self.evaluated[need] for component in active for need in component.needs}

    @torch.no_grad()
    def evaluate(
        self,
        texts: Sequence[str],
        rows: Sequence[int],
        seed: int,
        observe: Callable[[int, Evaluations], object] = lambda sample, evaluations: None,
    ) -> dict[str, Array]:
        """Every component of some prompts, name to ``[B, n]``.

        A prompt whose prediction is NaN or infinite gets such components.

        Arguments:
            texts: The prompts.
            rows: Their indices in the whole set, which per-prompt noise depends on.
            seed: Of the noise.
            observe: Sees the evaluations of every noise sample.

        Raises:
            UserError: The prediction without prompt, which serves all, is NaN or infinite.
        """
        kept: dict[str, list[Tensor]] = {name: [] for name in self.components}
        values: dict[str, list[Tensor]] = {name: [] for name in self.components}
        for sample, evaluations in enumerate(self.evaluations(texts, rows, seed)):
            observe(sample, evaluations)
            for name, component in self.components.items():
                if self.samples[name] <= sample:
                    continue
                value = component.of(evaluations)
                if isinstance(component, AcrossSamples):
                    kept[name].append(value)
                    value = component.compute(kept[name])
                values[name].append(value.double().cpu())
        return {name: torch.stack(columns, dim=1).numpy() for name, columns in values.items()}

    @torch.no_grad()
    def evaluations(
        self, texts: Sequence[str], rows: Sequence[int], seed: int
    ) -> Iterator[Evaluations]:
        """The evaluated needs of some prompts, one noise sample after another."""
        unique = sorted(set(texts))
        encoded = self.model.encode(unique)[[unique.index(text) for text in texts]]
        for sample, x in enumerate(self._noise(len(texts), rows, seed)):
            needs = made_from(self.needs(sample), self.model)
            values = NoiseSample(self, needs, x, encoded, (seed, sample)).values()
            yield Evaluations(x, values, self.evaluated)

    def _noise(self, batch: int, rows: Sequence[int], seed: int) -> Iterator[Tensor]:
        """Pure noise ``[B, C, H, W]`` for one sample after another."""
        if self.noise_policy == "shared":
            noise = self.model.initial_noise(seed, self.n)[:, None].expand(-1, batch, -1, -1, -1)
        else:
            noise = torch.stack(
                [self.model.initial_noise(seed + row, self.n) for row in rows], dim=1
            )
        yield from noise.to(self.model.device, self.model.dtype)

    def without(self, x: Tensor, t: float) -> Prediction:
        """The prediction without prompt."""
        return self.model.predict(x, t, self.empty[[0] * len(x)])

    def without_on_noise(self, x: Tensor, t: float, draw: tuple[int, int]) -> Prediction:
        """The prediction without prompt on pure noise, evaluated once where all share it.

        Arguments:
            x: The noise.
            t: The timestep.
            draw: Seed and number of the noise sample.
        """
        if self.noise_policy == "per_prompt":
            parts = self.in_batches(len(x), lambda rows: self.without(x[rows], t))
            return _finite(Prediction.cat(parts))
        key = (*draw, t)
        if key not in self._unconditional:
            self._unconditional[key] = _finite(self.without(x[:1], t))
        return self._unconditional[key].expand(len(x))

    def in_batches(self, n: int, part: Callable[[slice], T], width: int = 1) -> list[T]:
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


def _placed(detector: Detector, needs: Sequence[Need], model: DiffusionModel) -> dict[Need, Need]:
    """A detector's needs at the model's own timesteps.

    Raises:
        UserError: What a need asks of the model or its schedule is not there; of which detector,
            and by which of its options it is asked for.
    """
    placed = {}
    for need in needs:
        try:
            placed[need] = need.on(model)
        except UserError as error:
            places = (
                f.name for f in fields(detector) if isinstance(getattr(detector, f.name), At)
            )
            option = next(
                (o for o in places if getattr(detector, o) == getattr(need, "at", "")), ""
            )
            advice = f"; give detector.{detector.name}.{option}=step:0, or another step"
            raise UserError(f"{detector.name}: {error}{advice if option else ''}") from None
    return placed


def _finite(prediction: Prediction) -> Prediction:
    """The prediction itself, or an error: a model that fails on no prompt fails on all."""
    if not prediction.raw.isfinite().all():
        raise UserError(
            "the model returns NaN or infinity without any prompt; try model.dtype=float32, "
            "and check the weights"
        )
    return prediction
