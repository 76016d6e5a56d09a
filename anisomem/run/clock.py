"""What a detector costs: evaluations counted at the model, seconds measured side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from threading import Event, Thread
from time import perf_counter
from typing import Self

import psutil
import torch

from anisomem.benchmark.case import Case
from anisomem.console import progress
from anisomem.detection.base import Detector, groups
from anisomem.engine.engine import Engine
from anisomem.models.base import DiffusionModel
from anisomem.run.workers import one_thread

BETWEEN = 0.005  # seconds between two looks at the memory in use
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
    for turn in progress.over(numbers, what, "turn"):
        for key, contender in contenders.items():
            begin = perf_counter()
            contender()
            elapsed = perf_counter() - begin
            if turn:
                seconds[key].append(elapsed)
    return seconds


def measure(case: Case, model: DiffusionModel) -> Mapping[str, Cost]:
    """Costs by :attr:`Detector.cost_key`, on the ten first prompts of a case.

    In one thread, as every process of a run records. The detectors take turns, and all together
    take theirs too.
    """
    config, detectors = case.config, case.configured
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
    with one_thread():
        warm_up = progress.over(list(alone), f"{case.name}: memory", "detector")
        peaks = {key: peak_mb(model, contenders[key]) for key in warm_up}  # which also warms up
        what = f"{case.name}: timing"
        seconds = take_turns(contenders, config.timing_repeats, what, warm_up=False)
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


class Peak:
    """The most memory in use while it is entered, in megabytes.

    Of an accelerator's allocator where the model is on one, else of this process: its resident
    set, looked at every few milliseconds, since it cannot be asked for its highest.

    Arguments:
        model: Whose device is watched; none is this process.
    """

    def __init__(self, model: DiffusionModel | None = None) -> None:
        self.mb = 0.0
        self._device = model.device if model and model.device.type == "cuda" else None
        self._process, self._ended = psutil.Process(), Event()
        self._watcher = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._device:
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._look()
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device:
            self.mb = torch.cuda.max_memory_allocated(self._device) / 1e6
        else:
            self._look()
            self._ended.set()
            self._watcher.join()

    def _look(self) -> None:
        self.mb = max(self.mb, self._process.memory_info().rss / 1e6)

    def _watch(self) -> None:
        while not self._ended.wait(BETWEEN):
            self._look()


def peak_mb(model: DiffusionModel, work: Callable[[], object]) -> float:
    """Megabytes in use at the peak of some work, on the model's device."""
    with Peak(model) as peak:
        work()
    return peak.mb


def synchronise(model: DiffusionModel) -> None:
    """Waits for the accelerator, so that its work is in the measured time."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
