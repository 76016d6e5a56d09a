"""Evaluates a model for all detectors of a run at once, and nothing twice.

How a need is evaluated is in ``noise_sample``; where components are kept is
:mod:`anisomem.storage.store`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from anisomem.detection.base import AcrossSamples, Array, Component, Detector, Map
from anisomem.detection.needs import Evaluations, Need
from anisomem.detection.of_baseline import OfBaseline
from anisomem.detection.places import At
from anisomem.engine.batches import Batches
from anisomem.engine.noise_sample import NoiseSample, made_from
from anisomem.errors import UserError
from anisomem.models.base import DiffusionModel
from anisomem.models.conditioning import Conditioning


class Engine:
    """Computes the components that detectors declare, with their needs merged.

    With ``shared`` noise (the anisotropy code's policy) the unconditional prediction is evaluated
    once per noise sample and timestep for the whole run; with ``per_prompt`` noise (Wen's: base
    seed plus prompt index) once per prompt. A trajectory begins with the predictions on noise. The
    model's baseline, where detectors compare it with one, is evaluated at the model's latents.

    Arguments:
        model: The model that is evaluated.
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
        self.model, self.batches = model, Batches(model, noise_policy, batch_size)
        baseline = model.baseline
        self._baseline = baseline and Batches(baseline, noise_policy, batch_size)
        self.components: dict[str, Component | AcrossSamples] = {}
        self.samples: dict[str, int] = {}  # of each component
        self._made_from: dict[int, set[Need]] = {}  # by noise sample
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

    @property
    def shared_nfe(self) -> int:
        """Evaluations so far that serve every prompt, the baseline's included."""
        return self.batches.shared_nfe + (self._baseline.shared_nfe if self._baseline else 0)

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
            texts: The prompts' texts.
            rows: Their indices in the whole set, which per-prompt noise depends on.
            seed: The seed of the noise.
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
                value = component.read(evaluations)
                if isinstance(component, AcrossSamples):
                    kept[name].append(value)
                    value = component.compute(kept[name])
                if not isinstance(component, Map):
                    value = _one_each(name, value, len(texts))
                values[name].append(value.double().cpu())
        return {name: torch.stack(columns, dim=1).numpy() for name, columns in values.items()}

    @torch.no_grad()
    def evaluations(
        self, texts: Sequence[str], rows: Sequence[int], seed: int
    ) -> Iterator[Evaluations]:
        """The evaluated needs of some prompts, one noise sample after another."""
        encoded = _encoded(self.model, texts)
        by_baseline: Conditioning | None = None
        for sample, x in enumerate(self._noise(len(texts), rows, seed)):
            if sample not in self._made_from:  # the same for every batch
                self._made_from[sample] = made_from(self.needs(sample), self.model)
            needs, draw, beside = self._made_from[sample], (seed, sample), None
            compared: set[Need] = {need.need for need in needs if isinstance(need, OfBaseline)}
            if compared and self._baseline:
                if by_baseline is None:
                    by_baseline = _encoded(self._baseline.model, texts)
                beside = NoiseSample(self._baseline, compared, x, by_baseline, draw)
            values = NoiseSample(self.batches, needs, x, encoded, draw, beside).values()
            yield Evaluations(x, values, self.evaluated)

    def _noise(self, batch: int, rows: Sequence[int], seed: int) -> Iterator[Tensor]:
        """Pure noise ``[B, C, H, W]`` for one sample after another."""
        if self.batches.noise_policy == "shared":
            noise = self.model.initial_noise(seed, self.n)[:, None].expand(-1, batch, -1, -1, -1)
        else:
            noise = torch.stack(
                [self.model.initial_noise(seed + row, self.n) for row in rows], dim=1
            )
        yield from noise.to(self.model.device, self.model.dtype)


def _one_each(name: str, value: object, count: int) -> Tensor:
    """What a component gave, a real number for every prompt.

    Raises:
        UserError: It is anything else, such as a reduction over too few axes.
    """
    if isinstance(value, Tensor) and value.shape == (count,) and not value.is_complex():
        return value
    given = type(value).__name__
    if isinstance(value, Tensor):
        given = f"{str(value.dtype).removeprefix('torch.')} {[*value.shape]}"
    raise UserError(
        f"component {name} gave {given} for {count} prompts; it must be a tensor [{count}], "
        "one real number a prompt"
    )


def _encoded(model: DiffusionModel, texts: Sequence[str]) -> Conditioning:
    """The conditioning of prompts, each text encoded once."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    encoded = model.encode(list(rows))
    return encoded if len(rows) == len(texts) else encoded[[rows[text] for text in texts]]


def _placed(detector: Detector, needs: Sequence[Need], model: DiffusionModel) -> dict[Need, Need]:
    """A detector's needs at the model's own timesteps.

    Raises:
        UserError: What a need asks of the model or its schedule is not there; of which detector,
            and by which of its options it is asked for.
    """
    placed = {}
    for need in needs:
        try:
            placed[need] = need.resolved(model)
        except UserError as error:
            places = (
                f.name for f in fields(detector) if isinstance(getattr(detector, f.name), At)
            )
            option = next(
                (o for o in places if getattr(detector, o) == getattr(need, "at", "")), ""
            )
            able = need.capability is None or need.capability in model.capabilities
            advice = f"; give detector.{detector.name}.{option}=step:0, or another step"
            raise UserError(
                f"{detector.name}: {error}{advice if option and able else ''}"
            ) from None
    return placed
