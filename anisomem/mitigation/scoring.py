"""What detectors say of prompts as they are sampled: at their own noise, and at other noise.

A mitigation that lowers a score at the noise it was optimised on alone has fitted the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from anisomem.detection.base import Array, guidance_norm
from anisomem.detection.needs import pair
from anisomem.detection.places import FIRST
from anisomem.engine.batches import Batches
from anisomem.mitigation.anisotropy import Metric
from anisomem.mitigation.base import Mitigated
from anisomem.mitigation.on_detection import metric_of

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

HELD_OUT = 4  # noise samples that no mitigation sees


@dataclass(frozen=True)
class Scores:
    """Scores of B prompts, ``[B]`` each.

    Attributes:
        metric, wen: The anisotropy metric and Wen's norm at the noise that is sampled from.
        metric_held_out, wen_held_out: Their means over :data:`HELD_OUT` other noise samples.
    """

    metric: Array
    metric_held_out: Array
    wen: Array
    wen_held_out: Array


def scores(
    model: DiffusionModel,
    mitigated: Mitigated,
    seeds: Sequence[int],
    batches: Batches,
) -> Scores:
    """Scores of prompts with all that a mitigation changed of them.

    The prediction without prompt is the unchanged model's.

    Arguments:
        model: The model that the detectors score.
        mitigated: The prompts, as they are sampled.
        seeds: The seeds of their noise; the other noise depends on them alone.
        batches: Which know how many latents fit into a pass.
    """
    each = 1 + HELD_OUT

    def part(rows: slice) -> np.ndarray:
        return _scores(model, mitigated[range(len(seeds))[rows]], seeds[rows])

    parts = batches.in_batches(len(seeds), part, 4 * each)
    values = np.concatenate(parts, axis=1).reshape(2, len(seeds), each)
    metric, wen = values
    return Scores(metric[:, 0], metric[:, 1:].mean(1), wen[:, 0], wen[:, 1:].mean(1))


@torch.no_grad()
def _scores(model: DiffusionModel, mitigated: Mitigated, seeds: Sequence[int]) -> np.ndarray:
    """Scores of every noise sample, ``[2, B * (1 + HELD_OUT)]``."""
    noise = []
    for x, seed in zip(mitigated.x, seeds, strict=True):
        other = int(np.random.SeedSequence([seed, *b"held out"]).generate_state(1)[0])
        noise += [x[None], model.initial_noise(other, HELD_OUT).to(x)]
    x = torch.cat(noise)
    metric = Metric(metric_of(model), model, x, [0] * len(x))
    prompts = [i for i in range(len(seeds)) for _ in range(1 + HELD_OUT)]
    at_once = prompts * len(metric.on_noise.steps)  # rows of the one pass with the prompts
    with mitigated[at_once].hooks(model):
        rows = torch.arange(len(x))
        evaluations = metric.on_noise.evaluations(mitigated.conditioning[prompts], rows)
    norms = guidance_norm(*(evaluations[need] for need in pair(FIRST)))
    return torch.stack([metric.score(evaluations), norms]).double().cpu().numpy()
