"""What scoring costs once everything is recorded.

Times the table and a sweep of weights on components of random numbers, without a model.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from anisomem.bench import cases
from anisomem.bench.line import CostLine, spread
from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.detection.anisotropy import Anisotropy
from anisomem.evaluation import Evaluation, resample, statistics
from anisomem.run.clock import take_turns
from anisomem.run.provenance import processor
from anisomem.storage.store import Origin

DETECTORS, TARGETS = 10, (0.01, 0.03, 0.05)
BEFORE = {"sweep": "3.92 s", "table": "0.48 s", "again": "–"}  # of 1,000 prompts, 10,000 draws


def lines(
    folder: Path, model: Sequence[str], prompts: int, pairs: int, draws: int, turns: int
) -> list[CostLine]:
    """Seconds of a sweep over the metric's weights, and of the bootstrap of a table.

    The components are drawn at random: sorting and counting take no notice of what they mean.

    Arguments:
        folder: A folder for throw-away files.
        model: Overrides that choose the model.
        prompts: Half of them memorized.
        pairs: How many pairs of weights are scored.
        draws: How many draws the bootstrap takes.
        turns: How often both are timed.
    """
    case = cases.case(folder, model, prompts, *cases.METRIC, f"runs={folder / 'scoring'}")
    fill(case)
    scores = _components(case, DETECTORS).T
    labels, clusters = case.prompts.labels, case.prompts.clusters
    anew = count(1)  # another seed at every turn: equal samples are drawn once in a process

    def bootstrap(seed: int) -> None:
        statistics(scores, labels, resample(labels, clusters, draws, seed), TARGETS)

    seconds = take_turns(
        {
            "sweep": lambda: sweep(case, pairs, draws, next(anew)),
            "table": lambda: bootstrap(next(anew)),
            "again": lambda: bootstrap(0),
        },
        turns,
        "scoring",
    )
    size = f"{prompts:,} prompts, {draws:,} draws"
    titles = {
        "sweep": f"scoring {pairs:,} weight pairs from stored components, with intervals of AUC"
        f" and TPR@1%FPR: {size}",
        "table": f"bootstrap of AUC and {len(TARGETS)} TPRs of {DETECTORS} detectors: {size}",
    }
    titles["again"] = f"the same where another table of the process has drawn the samples: {size}"
    targets = {"sweep": "≤ 2 s", "table": "≤ 0.3 s", "again": "–"}
    return [
        CostLine(
            titles[key],
            f"{spread(seconds[key])} s on one core",
            targets[key],
            processor(),
            {"seconds": seconds[key]},
            BEFORE[key],
        )
        for key in titles
    ]


def sweep(case: Case, pairs: int, draws: int, seed: int = 0) -> Evaluation:
    """The table of a case's metric with weights from the norm alone to the cosine alone."""
    stored = Results(Case(case.config, "bench"))  # as a new process would, which has read nothing
    recorded, prompts = stored.recorded(case.config.seeds[0]), stored.prompts
    (metric,) = stored.detectors
    assert isinstance(metric, Anisotropy)
    angles = np.linspace(0, np.pi / 2, pairs)
    weights = np.stack([np.cos(angles), np.sin(angles)], axis=1).tolist()
    scores = [replace(metric, weights=pair).combine(recorded) for pair in weights]
    evaluation = Evaluation(
        np.stack(scores)[:, None], prompts.labels, prompts.clusters, TARGETS[:1], draws, seed
    )
    evaluation.summaries()
    return evaluation


def fill(case: Case) -> None:
    """Stores random components of every prompt."""
    values = _components(case, len(case.samples))
    for batch in case.batches():
        rows, origin = list(batch.noise_rows), Origin(len(batch.ids), "none", None, None)
        components = {name: values[rows, k, None] for k, name in enumerate(case.samples)}
        case.store.append(batch.ids, batch.seed, components, 0.0, origin)
    case.store.merge()


def _components(case: Case, count: int) -> np.ndarray:
    """``[N, count]``, larger for memorized prompts by one standard deviation."""
    noise = np.random.default_rng(0).normal(size=(len(case.prompts), count))
    return noise + case.prompts.labels[:, None]
