"""Whether a prompt costs the same, in time and memory, however many there are.

Each number of prompts is recorded in a process of its own, so that its peak memory is its own. The
bundled model is slow for very many: these are recorded at a model of closed form, whose time is
that of everything around it.
"""

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from zlib import crc32

import torch

from anisomem.bench import cases
from anisomem.bench.line import CostLine, spread
from anisomem.benchmark.case import Case
from anisomem.benchmark.record import record
from anisomem.config.build import build
from anisomem.config.schema import Config
from anisomem.models.analytic import AnalyticMixture, ComponentConditioning
from anisomem.models.base import DiffusionModel
from anisomem.run.clock import Peak
from anisomem.run.provenance import device_name, processor

SIZES = (100, 1_000, 10_000)  # prompts
LARGE = (10_000, 100_000)  # at a model of closed form
BEFORE = {  # at SIZES
    "recording": "3.35 / 2.82 / 2.98",
    "store": "0.18 / 0.09 / 0.08",
    "peak": "645 / 651 / 691",
}
Growth = Mapping[str, float]


def lines(
    folder: Path, model: Sequence[str], device: torch.device, sizes: Sequence[int], turns: int
) -> list[CostLine]:
    """Time per prompt of recording and of the store, and peak memory, by number of prompts.

    Every number of prompts is recorded in a process of its own, which is what its peak memory is
    of; they take turns.

    Arguments:
        folder: A folder for throw-away files.
        model: Overrides that choose the model.
        device: Where it runs.
        sizes: Numbers of prompts, ascending.
        turns: How often every number is measured.
    """
    by_size: dict[int, list[Growth]] = {size: [] for size in sizes}
    for turn in range(turns):
        for size in sizes:
            runs = f"runs={folder / f'growth-{turn}-{size}'}"
            name = f"dataset.name={size}_captions"
            case = cases.case(folder, model, size, *cases.METRIC, runs, name)
            by_size[size].append(_in_a_process(case))
    before = BEFORE if tuple(sizes) == SIZES else {}
    return _lines(by_size, "", device_name(device), before)


def lines_of_closed_form(folder: Path, sizes: Sequence[int]) -> list[CostLine]:
    """The same at a model of closed form, every number of prompts once.

    Arguments:
        folder: A folder for throw-away files.
        sizes: Numbers of prompts, ascending.
    """
    by_size = {}
    for size in sizes:
        of = f"runs={folder / f'closed-{size}'}", f"dataset.name={size}_captions"
        case = cases.case(folder, [], size, *cases.METRIC, *of)
        by_size[size] = [_in_a_process(case, closed_form=True)]
    return _lines(by_size, "a model of closed form: ", processor())


def _lines(
    by_size: Mapping[int, Sequence[Growth]],
    of: str,
    device: str,
    before: Mapping[str, str] | None = None,
) -> list[CostLine]:
    seconds = "ms per prompt at"
    lines = {
        "recording": _line(f"{of}recording, {seconds}", "recording", by_size, 1000, device),
        "store": _line(
            f"{of}reading the store and merging it, {seconds}", "store", by_size, 1000, processor()
        ),
        "peak": _line(
            f"{of}peak memory of the process in MB at", "peak", by_size, None, processor()
        ),
    }
    known = before or {}
    return [replace(line, before=known.get(key, "–")) for key, line in lines.items()]


class ClosedForm(AnalyticMixture):
    """Takes every prompt: its component is chosen by its text."""

    COMPONENTS = 16

    def __init__(self) -> None:
        k, generator = self.COMPONENTS, torch.Generator().manual_seed(0)
        means = torch.randn(k, 4, 8, 8, generator=generator)
        super().__init__(means, [0.3, 1.0] * (k // 2), [str(i) for i in range(k)])

    def encode(self, prompts: Sequence[str]) -> ComponentConditioning:
        chosen = [crc32(text.encode()) % self.COMPONENTS if text else -1 for text in prompts]
        return ComponentConditioning(component=torch.tensor(chosen))


def _in_a_process(case: Case, closed_form: bool = False) -> Growth:
    # A started interpreter's peak is its own; a forked one's begins with its parent's.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_grow, case.config, closed_form).result()


def _grow(config: Config, closed_form: bool) -> Growth:
    """Records a case and reads and merges its store; seconds, and MB at the peak."""
    torch.set_num_threads(1)
    case = Case(config, "bench")
    model: DiffusionModel = ClosedForm() if closed_form else build(case.config.model, "model")
    model.predict(model.initial_noise(0, 1), 0, model.encode([""]))  # the first pass is slow
    with Peak() as peak:
        begin = perf_counter()
        record(case, model, case.missing())
        recorded = perf_counter()
        case.store.read()
        case.store.merge()
        end = perf_counter()
    return {"recording": recorded - begin, "store": end - recorded, "peak": peak.mb}


def _line(
    what: str,
    key: str,
    by_size: Mapping[int, Sequence[Growth]],
    per_prompt: float | None,
    machine: str,
) -> CostLine:
    """One number per number of prompts; ``per_prompt`` is the unit where it is divided by them."""
    values = {
        size: [run[key] * per_prompt / size if per_prompt else run[key] for run in runs]
        for size, runs in by_size.items()
    }
    sizes = " / ".join(f"{size:,}" for size in by_size)
    digits = 2 if per_prompt else 0
    cells = " / ".join(spread(numbers, digits) for numbers in values.values())
    named = {str(size): numbers for size, numbers in values.items()}
    return CostLine(f"{what} {sizes} prompts", cells, "flat", machine, named)
