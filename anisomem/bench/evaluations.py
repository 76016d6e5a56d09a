"""What a run asks of the model, and what the engine adds to that.

Counts evaluations of detectors alone and together; what recording adds to them is in ``overhead``.
How time and memory grow with prompts is in ``growth``.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from anisomem.bench import cases, overhead
from anisomem.bench.line import CostLine, spread
from anisomem.benchmark.case import Case
from anisomem.benchmark.costs import EVERYTHING, PROMPTS
from anisomem.benchmark.record import Recorder, keep
from anisomem.detection.base import Detector, groups
from anisomem.engine.engine import Engine
from anisomem.models.pipeline import PipelineModel
from anisomem.run.clock import nothing, synchronise, take_turns
from anisomem.run.provenance import device_name

SEEDS = 2
LARGEST = "zoo"  # the experiment of most detectors
Call = tuple[torch.nn.Module, tuple[Any, ...], dict[str, Any]]  # a forward pass, to be repeated


def lines(
    folder: Path, model: Sequence[str], network: PipelineModel, prompts: int, turns: int
) -> list[CostLine]:
    """Evaluations of the metric, the engine's share of its time, and what sharing saves.

    Arguments:
        folder: A folder for throw-away files.
        model: Overrides that choose the model.
        network: The model, loaded.
        prompts: Captions to count and time on.
        turns: How often every measurement is made.
    """
    metric = cases.case(folder, model, prompts, *cases.METRIC, "seeds=[42,43]")
    calls, counted = record(metric, network)
    unet_calls = [call for call in calls if call[0] is network.denoiser]
    quickstart = cases.case(folder, model, PROMPTS)
    everything = cases.case(folder, model, PROMPTS, f"experiment={LARGEST}")
    return [
        _evaluations(unet_calls, counted, prompts, device_name(network.device)),
        *overhead.lines(metric, network, turns),
        _shared("the quickstart", quickstart, network, turns),
        _shared(LARGEST, everything, network, 1),  # minutes a turn
    ]


def record(case: Case, network: PipelineModel) -> tuple[list[Call], int]:
    """Records a case: every call of text encoder and U-Net, and the model's count of its own."""
    calls: list[Call] = []

    def note(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((module, args, kwargs))

    hooks = [
        module.register_forward_pre_hook(note, with_kwargs=True)
        for module in (network.denoiser, *network.text_encoders)
    ]
    before = network.nfe
    try:
        recorder = Recorder(network, case.configured, case.config)
        for batch in case.missing():
            keep(case, batch, recorder(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return calls, network.nfe - before


def _evaluations(unet_calls: Sequence[Call], counted: int, prompts: int, machine: str) -> CostLine:
    rows = sum(len(args[0]) for _, args, _ in unet_calls)
    expected = 2 * prompts * SEEDS + 2 * SEEDS
    return CostLine(
        f"evaluations by the anisotropy metric (n = 1), {prompts} prompts, {SEEDS} seeds",
        f"{counted} counted by the model, {rows} rows through its U-Net",
        f"2 × {prompts} × {SEEDS} + 2 × {SEEDS} = {expected}",
        machine,
        {"counted": counted, "rows": rows, "expected": expected},
    )


def _shared(experiment: str, case: Case, network: PipelineModel, turns: int) -> CostLine:
    texts = list(case.prompts.texts)

    def evaluate(members: Sequence[Detector]) -> None:
        engine = Engine(network, members, case.config.noise_policy, case.config.batch_size)
        engine.evaluate(texts, range(len(texts)), case.config.seeds[0])
        synchronise(network)

    alone = groups(case.configured)
    contenders = {**alone, EVERYTHING: case.configured}
    seconds = take_turns(
        {k: partial(evaluate, m) for k, m in contenders.items()},
        turns,
        "shared",
        warm_up=None if turns > 1 else nothing,
    )
    together = seconds[EVERYTHING]
    each = list(zip(*(seconds[key] for key in alone), strict=True))
    of_sum = [t / sum(turn) for t, turn in zip(together, each, strict=True)]
    of_most = [t / max(turn) for t, turn in zip(together, each, strict=True)]
    return CostLine(
        f"seconds of all detectors of {experiment} in one run / sum of {len(alone)} runs, one for"
        " each set of components (weightings share one)",
        f"{spread(of_sum)}; {spread(of_most)} of the most expensive one alone",
        "< 1",
        device_name(network.device),
        {"of_sum": of_sum, "of_most_expensive": of_most, "seconds": seconds},
    )
