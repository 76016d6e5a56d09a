"""What a detector costs: evaluations counted at the model, seconds measured side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from tqdm import tqdm

from anisomem.benchmark import Case
from anisomem.detection.base import Detector
from anisomem.engine import Engine
from anisomem.models.base import DiffusionModel

PROMPTS = 10  # the unit of published timings
EVERYTHING = "all detectors"


@dataclass(frozen=True)
class Cost:
    """The cost of one detector.

    Attributes:
        nfe: Evaluations per prompt, counted at the model.
        shared_nfe: Evaluations per noise seed that serve all prompts (unconditional ones).
        jvps: Directional derivatives per prompt.
        isolated: Seconds per ten prompts, the detector alone: (median, fastest, slowest).
        amortised: Its part of the seconds that all detectors take together, in proportion to
            ``isolated``; weightings of the same components count as one detector.
    """

    nfe: float
    shared_nfe: int
    jvps: float
    isolated: tuple[float, float, float]
    amortised: float


def measure(case: Case, model: DiffusionModel) -> Mapping[str, Cost]:
    """Costs by :attr:`Detector.cost_key`, on the ten first prompts of a case.

    The detectors take turns, and all together take theirs too, so that a slow moment of the
    machine hits all alike. The first turn warms up and counts evaluations.
    """
    config, detectors = case.config, case.detectors
    seed, repeats = config.seeds[0], config.timing_repeats
    texts = list(case.planned.texts[:PROMPTS])
    rows = list(range(len(texts)))
    groups: dict[str, list[Detector]] = {}
    for detector in detectors:
        if detector.cost_key:
            groups.setdefault(detector.cost_key, []).append(detector)
    contenders = {**groups, EVERYTHING: list(detectors)}
    counts: dict[str, tuple[float, int, float]] = {}
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    for turn in tqdm(range(repeats + 1), desc="timing", unit="turn", leave=False, disable=None):
        for key, members in contenders.items():
            engine = Engine(model, members, config.noise_policy, config.batch_size)
            nfe, jvps = model.nfe, model.jvps
            begin = perf_counter()
            engine.evaluate(texts, rows, seed)
            _synchronise(model)
            elapsed = perf_counter() - begin
            if turn:
                seconds[key].append(elapsed)
            else:
                own = model.nfe - nfe - engine.shared_nfe
                counts[key] = (
                    own / len(texts),
                    engine.shared_nfe,
                    (model.jvps - jvps) / len(texts),
                )
    medians = {key: median(times) for key, times in seconds.items()}
    total = sum(medians[key] for key in groups)
    scale = PROMPTS / len(texts)
    return {
        key: Cost(
            *counts[key],
            isolated=(
                scale * medians[key],
                scale * min(seconds[key]),
                scale * max(seconds[key]),
            ),
            amortised=scale * medians[EVERYTHING] * medians[key] / total,
        )
        for key in groups
    }


def _synchronise(model: DiffusionModel) -> None:
    """Waits for the accelerator, so that its work is in the measured time."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
