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
        about: What varies, in a sentence.
        nodes: The detectors that record what it needs, for a case's configuration.
        result: Makes tables and figures of recorded cases.
        overrides: Settings that it has unless they are given.
    """

    title: str
    about: str
    nodes: Callable[[Config], Mapping[str, grids.Node]]
    result: Callable[[Sequence[Results]], Result]
    overrides: Sequence[str] = ()


SWEEPS = {
    "gamma": Sweep(
        "Weights",
        "The anisotropy metric is norm + g cosine; here is what every ratio g of its weights would"
        " have achieved on the same prompts and noise.",
        gamma.nodes,
        gamma.result,
    ),
    "timesteps": Sweep(
        "Noise levels",
        "The anisotropy metric reads a norm at high noise and a cosine at low noise; here is every"
        " pair of steps at which they can be read.",
        timesteps.nodes,
        timesteps.result,
    ),
    "n": Sweep(
        "Noise samples",
        "The anisotropy metric is a mean over n noise samples; here is what more of them buy.",
        variants.N.nodes,
        variants.N.result,
    ),
    "seeds": Sweep(
        "Noise seeds",
        "The same scores from other noise: the spread over noise seeds beside the interval over"
        " prompts.",
        seeds.nodes,
        seeds.result,
        [f"seeds={[*seeds.SEEDS]}"],
    ),
    "normalisation": Sweep(
        "Normalisation",
        "The metric's vectors as they are, and divided by their L1 or L2 norm, under both"
        " conventions for what they are.",
        variants.NORMALISATION.nodes,
        variants.NORMALISATION.result,
    ),
    "mode": Sweep(
        "Modes of the cosine",
        "Between which two vectors the metric's cosine is taken.",
        variants.MODE.nodes,
        variants.MODE.result,
    ),
    "latents": Sweep(
        "Latents of the cosine",
        "At which latents the metric's cosine is read: pure noise, or those of a guided or"
        " unguided trajectory.",
        variants.LATENTS_OF_COSINE.nodes,
        variants.LATENTS_OF_COSINE.result,
    ),
    "negatives": Sweep(
        "Sources of negatives",
        "The same detectors against each source of prompts that are not memorized.",
        negatives.nodes,
        negatives.result,
    ),
    "transfer": Sweep(
        "Transfer of weights",
        "Weights of the metric, fitted on one model and prompt set and tested on each other.",
        gamma.nodes,
        transfer.result,
    ),
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


def report(name: str, all_results: Sequence[Results], command: str = "") -> tuple[str, Path]:
    """Scores everything and writes it; the main table as Markdown, and the folder.

    Arguments:
        name: The sweep.
        all_results: Its cases, complete.
        command: The command that asked for it, as it was typed; "" where none did.

    Raises:
        UserError: The prompts allow no fit, such as those of a single cluster.
    """
    sweep, folder = SWEEPS[name], all_results[0].folder.parent / name
    try:
        result = sweep.result(all_results)
    except ValueError as error:
        raise UserError(str(error)) from None
    return write(sweep.title, sweep.about, result, all_results, folder, command), folder
