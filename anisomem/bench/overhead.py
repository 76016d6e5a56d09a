"""What recording adds to the forward passes that it is made of, for a U-Net and an MMDiT.

Both are measured in one and the same pass over the prompts: the clock inside the networks against
the clock around it all, so that a slow moment of the machine is in both.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

from anisomem.bench.line import CostLine, spread
from anisomem.benchmark.case import Case
from anisomem.benchmark.record import Recorder, keep
from anisomem.config.catalog import testbed
from anisomem.engine.engine import Engine
from anisomem.models.pipeline import PipelineModel
from anisomem.models.sd3 import StableDiffusion3
from anisomem.run.clock import synchronise
from anisomem.run.provenance import device_name
from anisomem.run.workers import Work, do_all


def lines(case: Case, network: PipelineModel, turns: int) -> list[CostLine]:
    """Seconds of the engine and of recording, in units of those inside the networks.

    Arguments:
        case: What is recorded, batch by batch.
        network: Its model, loaded.
        turns: How often.
    """
    mmdit = StableDiffusion3.load(testbed("flow"), device=str(network.device))
    named = {"the model": network, "the bundled MMDiT": mmdit}
    return [_line(name, case, one, turns) for name, one in named.items()]


def _line(name: str, case: Case, network: PipelineModel, turns: int) -> CostLine:
    recorder = Recorder(network, case.configured, case.config)

    def engine() -> None:
        fresh = Engine(network, case.configured, case.config.noise_policy, case.config.batch_size)
        for batch in case.batches():
            fresh.evaluate(batch.texts, batch.noise_rows, batch.seed)

    def recording() -> None:
        recorder.engine = Engine(
            network, case.configured, case.config.noise_policy, case.config.batch_size
        )
        work = Work(recorder, lambda _: recorder, partial(keep, case))
        batches = case.batches()
        do_all(batches, work, None, sum(len(b.ids) for b in batches), "recording", "prompt")

    measured = {"engine": engine, "recording": recording}
    for work in measured.values():
        work()
    ratios: dict[str, list[float]] = {key: [] for key in measured}
    for _ in range(turns):
        for key, work in measured.items():
            ratios[key].append(ratio(network, work))
    return CostLine(
        f"seconds of the metric's evaluation / of the forward passes of text encoders and network"
        f" in it: {name}",
        f"{spread(ratios['engine'], 3)}; {spread(ratios['recording'], 3)} with the store",
        "≤ 1.03",
        device_name(network.device),
        {**ratios, "median": median(ratios["engine"])},
    )


def ratio(network: PipelineModel, work: Callable[[], object]) -> float:
    """Seconds of some work in units of those that it spends inside the model's networks."""
    inside, begun = 0.0, 0.0

    def enter(*_: Any) -> None:
        nonlocal begun
        synchronise(network)
        begun = perf_counter()

    def leave(*_: Any) -> None:
        nonlocal inside
        synchronise(network)
        inside += perf_counter() - begun

    modules = (network.denoiser, *network.text_encoders)
    hooks = [module.register_forward_pre_hook(enter) for module in modules]
    hooks += [module.register_forward_hook(leave) for module in modules]
    try:
        begin = perf_counter()
        work()
        synchronise(network)
        return (perf_counter() - begin) / inside
    finally:
        for hook in hooks:
            hook.remove()
