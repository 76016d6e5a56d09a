"""Seconds of contenders that take turns, and the memory that work takes at its peak.

What is timed is the caller's: :mod:`anisomem.benchmark.costs` and :mod:`anisomem.bench`.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from time import perf_counter
from typing import Self

import psutil
import torch

from anisomem.console import progress
from anisomem.models.base import DiffusionModel

BETWEEN = 0.005  # seconds between two looks at the memory in use


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    turns: int,
    what: str = "timing",
    warm_up: Callable[[], object] | None = None,
    agree: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of every contender in every turn.

    All are timed once in a turn, one after the other, so that a slow moment of the machine hits
    all alike. A turn before the first warms up.

    Arguments:
        contenders: What is timed, by name.
        turns: How often at most.
        what: Of the progress bar.
        warm_up: Warms all up; not given, each is done once.
        agree: From two turns on a contender takes no more once its slowest is above its fastest
            by no more than this share.
    """
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    with progress.bar(what, turns + 1, "turn", leave=True) as bar:
        for work in [warm_up] if warm_up else contenders.values():
            work()
        bar.update()
        timed = dict(contenders)
        for turn in range(1, turns + 1):
            for key, contender in timed.items():
                begin = perf_counter()
                contender()
                seconds[key].append(perf_counter() - begin)
            bar.update()
            if agree and turn > 1:
                timed = {k: c for k, c in timed.items() if not _alike(seconds[k], agree)}
            if not timed:
                break
    return seconds


def _alike(seconds: Sequence[float], share: float) -> bool:
    return max(seconds) <= (1 + share) * min(seconds)


def nothing() -> None:
    """Warms up contenders that run but once, or have run before."""


class Peak:
    """The most memory in use while it is entered, in megabytes.

    Of an accelerator's allocator where the model is on one, else of this process: its resident
    set, looked at every few milliseconds, since it cannot be asked for its highest.

    Arguments:
        model: The model whose device is watched; none is this process.
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
