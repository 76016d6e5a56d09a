"""Which sweeps there are, and how one is run.

What one finds is in its own file; recording is ``benchmark``, and writing ``result``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anisomem.benchmark.case import Case, with_distinct_names
from anisomem.benchmark.complete import complete
from anisomem.benchmark.results import Results
from anisomem.config.overrides import experiment
from anisomem.config.schema import Config
from anisomem.errors import UserError, one_of
from anisomem.run import labelled
from anisomem.sweep import gamma, grids, negatives, seeds, timesteps, transfer, variants
from anisomem.sweep.result import Result, write


@dataclass(frozen=True)
class Sweep:
    """What is recorded, and what is made of it.

    Attributes:
        title: The title of its table.
        nodes: The detectors that record what it needs, for a case's configuration.
        result: Makes tables and figures of recorded cases.
        overrides: Settings that it has unless they are given.
    """

    title: str
    nodes: Callable[[Config], Mapping[str, grids.Node]]
    result: Callable[[Sequence[Results]], Result]
    overrides: Sequence[str] = ()


SWEEPS = {
    "gamma": Sweep("Weights", gamma.nodes, gamma.result),
    "timesteps": Sweep("Noise levels", timesteps.nodes, timesteps.result),
    "n": Sweep("Noise samples", variants.N.nodes, variants.N.result),
    "seeds": Sweep("Noise seeds", seeds.nodes, seeds.result, [f"seeds={[*seeds.SEEDS]}"]),
    "normalisation": Sweep(
        "Normalisation", variants.NORMALISATION.nodes, variants.NORMALISATION.result
    ),
    "mode": Sweep("Modes of the cosine", variants.MODE.nodes, variants.MODE.result),
    "latents": Sweep(
        "Latents of the cosine",
        variants.LATENTS_OF_COSINE.nodes,
        variants.LATENTS_OF_COSINE.result,
    ),
    "negatives": Sweep("Sources of negatives", negatives.nodes, negatives.result),
    "transfer": Sweep("Transfer of weights", gamma.nodes, transfer.result),
}


def composed(name: str, overrides: Sequence[str]) -> list[Config]:
    """The configurations of a sweep's cases, with the detectors that it needs.

    Raises:
        UserError: An unknown sweep, or overrides that are wrong or choose detectors.
    """
    one_of("sweep", name, SWEEPS)
    for override in overrides:
        if override.lstrip("+~").startswith("detector"):
            raise UserError(f"a sweep chooses its detectors; leave out {override!r}")
    configs = labelled.judged(
        [*SWEEPS[name].overrides, *overrides, "timing_repeats=0", "gallery=0"]
    )
    return [config.with_detectors(SWEEPS[name].nodes(config)) for config in configs]


def recorded(configs: Sequence[Config], parent: str) -> list[Results]:
    """The cases of a sweep, what was missing recorded; equal components share a store."""
    cases = with_distinct_names(Case(config, parent) for config in configs)
    for case in cases:
        complete(case)
    return [Results(case) for case in cases]


def parent(overrides: Sequence[str], configs: Sequence[Config]) -> str:
    """The folder below ``runs``: sweeps, with what they are of unless it is the usual."""
    if chosen := experiment(overrides):
        return f"{chosen}-sweeps"
    return labelled.run_name(overrides, configs, "sweeps", "-sweeps")


def report(name: str, all_results: Sequence[Results]) -> tuple[str, Path]:
    """Scores everything and writes it; the main table as Markdown, and the folder.

    Raises:
        UserError: The prompts allow no fit, such as those of a single cluster.
    """
    sweep, folder = SWEEPS[name], all_results[0].folder.parent / name
    try:
        result = sweep.result(all_results)
    except ValueError as error:
        raise UserError(str(error)) from None
    return write(sweep.title, result, all_results, folder), folder
