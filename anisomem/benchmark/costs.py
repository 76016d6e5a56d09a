"""What detectors cost: evaluations counted by the engine, seconds and memory measured.

The counting is :mod:`anisomem.engine.counting`, the clock :mod:`anisomem.run.clock`; the file that
keeps both is ``measured``.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from anisomem.benchmark.case import Case
from anisomem.detection.base import Detector, groups
from anisomem.engine.cost import TimedCounts
from anisomem.engine.engine import Engine
from anisomem.models.base import DiffusionModel
from anisomem.run.clock import peak_mb, synchronise, take_turns
from anisomem.run.workers import one_thread

PROMPTS = 10  # the unit of published timings
AGREE = 0.1  # a detector whose turns differ by no more than a tenth takes no further ones
EVERYTHING = "all detectors"


def measure(case: Case, model: DiffusionModel) -> Mapping[str, TimedCounts]:
    """Costs by :attr:`Detector.cost_key`, on the ten first prompts of a case.

    In one thread, as every process of a run records. The detectors take turns, and all together
    take theirs too, each until its own agree to a tenth. All together warm up, whose passes are
    those of each; memory is looked at in a detector's first turn.
    """
    config, detectors = case.config, case.configured
    texts = list(case.prompts.texts[:PROMPTS])
    counts: dict[str, tuple[float, int, float]] = {}
    batch_size = config.batch_size

    def evaluate(key: str, members: Sequence[Detector]) -> None:
        nonlocal batch_size
        engine = Engine(model, members, config.noise_policy, batch_size)
        nfe, jvps = model.counted
        engine.evaluate(texts, range(len(texts)), config.seeds[0])
        synchronise(model)
        batch_size = engine.batches.size  # memory that has ended once does not in a timed turn
        shared, (every, derivatives) = engine.shared_nfe, model.counted
        own = every - nfe - shared
        counts[key] = own / len(texts), shared, (derivatives - jvps) / len(texts)

    peaks: dict[str, float] = {}

    def evaluate_alone(key: str, members: Sequence[Detector]) -> None:
        work = partial(evaluate, key, members)
        if key in peaks:
            work()
        else:
            peaks[key] = peak_mb(model, work)

    alone, everything = groups(detectors), partial(evaluate, EVERYTHING, detectors)
    contenders = {key: partial(evaluate_alone, key, members) for key, members in alone.items()}
    contenders[EVERYTHING] = everything
    with one_thread():
        what, turns = f"{case.name}: time", config.timing_repeats
        seconds = take_turns(contenders, turns, what, everything, AGREE)
    medians = {key: median(times) for key, times in seconds.items()}
    total = sum(medians[key] for key in alone)
    scale = PROMPTS / len(texts)
    return {
        key: TimedCounts(
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
