"""What detectors evaluate, counted by the engine at a stand-in of closed form.

The stand-in takes no time, so costs are known before a model is loaded. Seconds are measured in
:mod:`anisomem.benchmark.costs`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from anisomem.detection.base import Cost, Detector, groups
from anisomem.engine.cost import Counts
from anisomem.engine.engine import Engine
from anisomem.models.analytic import AnalyticMixture, ComponentConditioning
from anisomem.models.attention import Attention
from anisomem.models.base import DiffusionModel
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Prediction


def bytes_kept(
    detectors: Sequence[Detector], shape: tuple[int, int, int], dtype: torch.dtype
) -> int:
    """Bytes of a prompt's evaluations at one noise sample, counted at the same stand-in.

    Arguments:
        detectors: The detectors of the run.
        shape: The shape of the latents.
        dtype: The dtype of the model; attention is float32 or better.
    """
    engine = Engine(_stand_in(shape, dtype), detectors)
    (evaluations, *_) = engine.evaluations(["a"], [0], 0)
    tensors: dict[int, Tensor] = {}
    for value in evaluations.values.values():
        parts = (value.raw, value.x) if isinstance(value, Prediction) else (value,)
        tensors |= {tensor.data_ptr(): tensor for tensor in parts}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def counts(detectors: Sequence[Detector], noise_policy: str) -> Counts:
    """What detectors together evaluate, counted at a model of closed form."""
    model = _stand_in((4, 64, 64), torch.float32)
    engine = Engine(model, detectors, noise_policy)
    engine.evaluate(["a"], [0], 0)
    (nfe, jvps), shared = model.counted, engine.shared_nfe
    return Counts(nfe - shared, shared, jvps)


def alone(detector: Detector) -> Cost:
    """What a detector costs for one prompt on its own, with the settings that it has.

    It is as declared where the stand-in cannot serve it.
    """
    try:
        counted = counts([detector], "per_prompt")
    except Exception:  # a user's may ask for what only its own model has
        return detector.cost()
    return Cost(round(counted.nfe + counted.shared_nfe), round(counted.jvps))


def counts_of_each(detectors: Sequence[Detector], noise_policy: str) -> dict[str, Counts]:
    """What detectors evaluate alone, by :attr:`Detector.cost_key`; left out where one refuses.

    A detector of the user's may ask for what only its own model has.
    """
    counted = {}
    for key, members in groups(detectors).items():
        with suppress(Exception):
            counted[key] = counts(members, noise_policy)
    return counted


def _stand_in(shape: tuple[int, int, int], dtype: torch.dtype) -> DiffusionModel:
    means = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    model = _Attentive(means, [1.0, 1.0], ["a", "b"])
    model.baseline = _Attentive(means, [1.0, 1.0], ["a", "b"])
    return model


class _Attentive(AnalyticMixture):
    """Attends to everything alike, has tokens that change nothing, and activations of 1."""

    declares = AnalyticMixture.declares | {
        Capability.ATTENTION,
        Capability.EMBEDDINGS,
        Capability.END,
        Capability.REPRESENTATION,
    }

    def encode(self, prompts: Sequence[str]) -> ComponentConditioning:
        ends = torch.ones(len(prompts), dtype=torch.int64)
        return replace(super().encode(prompts), end=ends)

    def condition_vjp(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, cotangent: Tensor
    ) -> Tensor:
        self.jvps += len(x)
        return torch.zeros(len(x), 77, 1)

    def attend(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, first: int = 0
    ) -> tuple[Prediction, Attention]:
        n, size = len(x) - first, self.latent_shape[1:]
        maps = Attention(torch.full((n, 16, 77), 1 / 77), torch.full((n, *size), 1 / 77))
        return self.predict(x, t, conditioning), maps

    def represent(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning
    ) -> tuple[Prediction, Tensor]:
        return self.predict(x, t, conditioning), torch.ones(len(x), 3, 1280)
