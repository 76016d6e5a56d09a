"""What a detector costs: evaluations counted at the model, seconds measured side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
        peak_mb: Memory at its peak while the detector runs alone, model and libraries included:
            of the accelerator, or of this process.
    """

    nfe: float
    shared_nfe: int
    jvps: float
    isolated: tuple[float, float, float]
    amortised: float
    peak_mb: float


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    turns: int,
    what: str = "timing",
    warm_up: bool = True,
) -> dict[str, list[float]]:
    """Seconds of every contender in every turn.

    All are timed once in a turn, one after the other, so that a slow moment of the machine hits
    all alike. A turn before the first warms up, unless what runs has run before.
    """
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    numbers = range(0 if warm_up else 1, turns + 1)
    for turn in tqdm(numbers, desc=what, unit="turn", leave=False, disable=None):
        for key, contender in contenders.items():
            begin = perf_counter()
            contender()
            elapsed = perf_counter() - begin
            if turn:
                seconds[key].append(elapsed)
    return seconds


def groups(detectors: Sequence[Detector]) -> dict[str, list[Detector]]:
    """The detectors that evaluate the model, by :attr:`Detector.cost_key`."""
    found: dict[str, list[Detector]] = {}
    for detector in detectors:
        if detector.cost_key:
            found.setdefault(detector.cost_key, []).append(detector)
    return found


def measure(case: Case, model: DiffusionModel) -> Mapping[str, Cost]:
    """Costs by :attr:`Detector.cost_key`, on the ten first prompts of a case.

    The detectors take turns, and all together take theirs too.
    """
    config, detectors = case.config, case.detectors
    texts = list(case.planned.texts[:PROMPTS])
    counts: dict[str, tuple[float, int, float]] = {}

    def evaluate(key: str, members: Sequence[Detector]) -> None:
        engine = Engine(model, members, config.noise_policy, config.batch_size)
        nfe, jvps = model.nfe, model.jvps
        engine.evaluate(texts, range(len(texts)), config.seeds[0])
        synchronise(model)
        own = model.nfe - nfe - engine.shared_nfe
        counts[key] = (
            own / len(texts),
            engine.shared_nfe,
            (model.jvps - jvps) / len(texts),
        )

    alone = groups(detectors)
    contenders = {
        key: partial(evaluate, key, members)
        for key, members in {**alone, EVERYTHING: detectors}.items()
    }
    peaks = {key: peak_mb(model, contenders[key]) for key in alone}  # which also warms up
    seconds = take_turns(contenders, config.timing_repeats, warm_up=False)
    medians = {key: median(times) for key, times in seconds.items()}
    total = sum(medians[key] for key in alone)
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
            peak_mb=peaks[key],
        )
        for key in alone
    }


def peak_mb(model: DiffusionModel, work: Callable[[], object]) -> float:
    """Megabytes in use at the peak of some work, on the model's device."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
        work()
        return torch.cuda.max_memory_allocated(model.device) / 1e6
    Path("/proc/self/clear_refs").write_text("5")  # its peak starts anew: proc_pid_clear_refs(5)
    work()
    return process_peak_mb()


def process_peak_mb() -> float:
    """The most memory that this process has had, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def synchronise(model: DiffusionModel) -> None:
    """Waits for the accelerator, so that its work is in the measured time."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
