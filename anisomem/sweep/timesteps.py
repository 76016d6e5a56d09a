"""Where each term is read: every pair of the 50 DDIM steps from 50 evaluations per prompt.

Weights at the published steps are swept in ``gamma``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from anisomem.benchmark.results import Results
from anisomem.config.schema import Config
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Array
from anisomem.evaluation import auc_and_tpr
from anisomem.evaluation.curves import allowed_false_positives
from anisomem.report.tables import numbers, percent
from anisomem.sweep import figures, grids
from anisomem.sweep.result import Difference, Line, Map, Result

STEPS = grids.STEPS
#: Steps of the norm and of the cosine that have a name; the paper's text says t ~ T and t ~ 0.
PLACES = {"released": (0, STEPS - 3), "paper": (0, STEPS - 1)}
NOTES = [
    f"Steps of the {STEPS}-step DDIM schedule: 0 is the noisiest (t = 981 in Stable Diffusion's),"
    f" {STEPS - 3} is t = 41, {STEPS - 1} is t = 1.",
    "The best cell of a map is chosen on the prompts that it is measured on, so it is optimistic.",
]


def nodes(config: Config) -> dict[str, grids.Node]:
    """Norm and cosine at every step."""
    return {
        f"step {i}": grids.metric(norm_at=f"step:{i}", cos_at=f"step:{i}", weights="equal")
        for i in range(STEPS)
    }


def result(all_results: Sequence[Results]) -> Result:
    """Heat maps, each term alone by step, and a table of the steps that have a name."""
    lines: list[Line] = []
    drawn, cells, alone = {}, [], []
    for results in all_results:
        columns = np.stack([grids.components(results, d) for d in _detectors(results)])
        norm, cosine = np.moveaxis(columns, -1, 0)  # [step, S, N]
        weighted = terms(results, norm, cosine)
        lines += _marked(results, weighted)
        maps = [_map(results, name, *pair) for name, pair in weighted.items()]
        cells += _records(results, maps)
        evaluation = results.evaluate(np.concatenate([norm, cosine]))
        summaries = evaluation.summaries()
        by_term = {"norm": summaries[:STEPS], "cosine": summaries[STEPS:]}
        alone += [
            {"prompts": results.name, "term": term, "step": step, **numbers(summary)}
            for term, some in by_term.items()
            for step, summary in enumerate(some)
        ]
        drawn[f"map-{results.name}"] = partial(
            figures.heat_maps,
            results.title,
            maps,
            PLACES,
            f"TPR@{percent(results.config.fpr_targets[0])}FPR",
        )
        drawn[f"terms-{results.name}"] = partial(figures.terms, results.title, by_term)
    reference = "the released steps under the same weights"
    return Result(lines, reference, NOTES, drawn, {"map": cells, "terms": alone})


def _detectors(results: Results) -> Iterator[Anisotropy]:
    for detector in results.detectors:
        assert isinstance(detector, Anisotropy)
        yield detector


def terms(results: Results, norm: Array, cosine: Array) -> dict[str, tuple[Array, Array]]:
    """The two terms ``[step, S, N]`` whose sum is the score, under every weighting."""
    stands_for = results.config.stands_for
    own, weights = next(iter(grids.weightings(stands_for).items()))
    gamma = Anisotropy(own, weights=weights).fixed_gamma(stands_for)
    negative = results.prompts.labels == 0

    def standard(term: Array) -> Array:
        others = term[..., negative]
        return np.asarray(
            (term - others.mean(axis=-1, keepdims=True)) / others.std(axis=-1, keepdims=True)
        )

    return {
        own: (gamma.norm * norm, gamma.cos * cosine),
        "equal": (standard(norm), standard(cosine)),
    }


def _marked(results: Results, weighted: dict[str, tuple[Array, Array]]) -> list[Line]:
    """The steps that have a name, with intervals."""
    lines = []
    for weights, (norm, cosine) in weighted.items():
        evaluation = results.evaluate(np.stack([norm[i] + cosine[j] for i, j in PLACES.values()]))
        for k, (name, steps) in enumerate(PLACES.items()):
            place = {"steps": name, "norm step": str(steps[0]), "cosine step": str(steps[1])}
            difference = Difference.between(evaluation, k, 0) if k else None
            summary = evaluation.summaries()[k]
            lines.append(Line(results.name, place | {"weights": weights}, summary, difference))
    return lines


def _map(results: Results, weights: str, norm: Array, cosine: Array) -> Map:
    """The mean over noise seeds of AUC and TPR at the first target, in every cell."""
    target, seeds = results.config.fpr_targets[0], len(results.config.seeds)
    areas, rates = np.empty((2, STEPS, STEPS))
    for i in range(STEPS):
        rows = (norm[i] + cosine).reshape(STEPS * seeds, -1)
        both = auc_and_tpr(rows, results.prompts.labels, target)
        areas[i], rates[i] = (values.reshape(STEPS, seeds).mean(axis=1) for values in both)
    resolvable = allowed_false_positives(target, (results.prompts.labels == 0).sum()) >= 1
    return Map(weights, areas, rates if resolvable else None)


def _records(results: Results, maps: Sequence[Map]) -> list[dict[str, Any]]:
    """One record per weighting and cell."""
    return [
        {
            "prompts": results.name,
            "weights": one.weights,
            "norm step": i,
            "cosine step": j,
            "auc": one.auc[i, j],
            "tpr": "" if one.tpr is None else one.tpr[i, j],
        }
        for one in maps
        for i in range(STEPS)
        for j in range(STEPS)
    ]
