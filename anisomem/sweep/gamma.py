r"""The metric's weights: what every ratio of gamma_cos to gamma_norm would have achieved.

A score's order depends on the ratio :math:`g = \gamma_\text{cos} / \gamma_\text{norm}` alone, so
:math:`\|s_\Delta\|_2 + g \cos(s_\Delta, s_u)` over a log grid of both signs, with the norm alone
(g = 0) and the cosine alone (g infinite), is every choice with a positive weight of the norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from anisomem.benchmark.results import Results
from anisomem.config.schema import Config
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Array
from anisomem.detection.weighted import PUBLISHED
from anisomem.evaluation import equal_weights, fit_in_folds
from anisomem.report.tables import numbers
from anisomem.sweep import figures, grids
from anisomem.sweep.result import Difference, Line, Result

LARGEST, PER_DECADE = 3, 20  # decades on either side of 1
NOTE = (
    "The largest value of a curve is chosen on the prompts that it is measured on, so it is"
    " optimistic; fitted weights see other prompts than they score, and are what a choice by"
    " labels is worth."
)


@dataclass(frozen=True)
class Mark:
    """A choice of weights that has a name: scores ``[S, N]``, and the ratio g.

    The ratio of fits is that of their mean weights, NaN where the norm's is not positive: such a
    choice is not on the axis.
    """

    name: str
    ratio: float
    scores: Array


def nodes(config: Config) -> dict[str, grids.Node]:
    """The detectors to be recorded: the metric alone, which reads both components."""
    return {"anisotropy": grids.metric(weights="equal")}


def result(all_results: Sequence[Results]) -> Result:
    """The curve, and the table of the weights that have a name."""
    lines: list[Line] = []
    drawn, curves = {}, []
    for results in all_results:
        columns = grids.components(results, metric(results))
        names, grid = marks(results, columns), ratios()
        scores = [*(mark.scores for mark in names), *(score(columns, g) for g in grid)]
        evaluation = results.evaluate(np.array(scores))
        summaries = evaluation.summaries()
        for i, mark in enumerate(names):
            shown = "norm below 0" if np.isnan(mark.ratio) else f"{mark.ratio:.3g}"
            place = {"weights": mark.name, "cos/norm": shown}
            difference = Difference.between(evaluation, i, 0) if i else None
            lines.append(Line(results.name, place, summaries[i], difference))
        curve = summaries[len(names) :]
        curves += [
            {"prompts": results.name, "cos/norm": g, **numbers(summary)}
            for g, summary in zip(grid, curve, strict=True)
        ]
        drawn[f"gamma-{results.name}"] = partial(
            figures.gamma,
            results.title,
            grid,
            curve,
            [(m.name, m.ratio) for m in names],
            summaries[: len(names)],
        )
    return Result(
        lines, "the model's own published weights, or (1, 1)", [NOTE], drawn, {"curve": curves}
    )


def ratios() -> list[float]:
    """The grid of g: minus infinity, negative, 0, positive, infinity."""
    positive = np.logspace(-LARGEST, LARGEST, 2 * LARGEST * PER_DECADE + 1).tolist()
    return [-np.inf, *(-g for g in reversed(positive)), 0.0, *positive, np.inf]


def score(columns: Array, ratio: float) -> Array:
    """Norm + g cosine of ``[S, N, 2]``, or the signed cosine alone, ``[S, N]``."""
    norm, cosine = np.moveaxis(columns, -1, 0)
    if np.isinf(ratio):
        return np.sign(ratio) * cosine
    return np.asarray(norm + ratio * cosine)


def marks(results: Results, columns: Array) -> list[Mark]:
    """The weights that have a name; the model's own published ones first, if there are any."""
    own = results.config.stands_for
    order = sorted(PUBLISHED, key=lambda name: name != own)
    pairs = {_published(n, own): (PUBLISHED[n].norm, PUBLISHED[n].cos) for n in order}
    pairs = pairs | {"(1, 1)": (1.0, 1.0)} if own in order else {"(1, 1)": (1.0, 1.0)} | pairs
    named = {name: cos / norm for name, (norm, cos) in pairs.items()} | {"norm alone": 0.0}
    named |= {"cosine alone": np.inf, "minus cosine alone": -np.inf}
    fixed = [Mark(name, g, score(columns, g)) for name, g in named.items()]
    return [*fixed, *_learnt(columns, results.prompts)]


def _published(name: str, own: str | None) -> str:
    return f"published, {name}" + " (its own)" * (name == own)


def _learnt(columns: Array, prompts: PromptSet) -> list[Mark]:
    """Weights that come from the prompts: by the negatives' spread, and fitted in folds."""
    labels, clusters = prompts.labels, prompts.clusters
    spread = columns[:, labels == 0].std(axis=1)
    fits = [fit_in_folds(c, labels, clusters) for c in columns]
    weights = np.concatenate([fit.weights for fit in fits])
    return [
        Mark(
            "equal",
            float(np.mean(spread[:, 0] / spread[:, 1])),
            np.array([equal_weights(c, labels) for c in columns]),
        ),
        Mark(
            "fitted",
            _ratio(*weights.mean(axis=0)),
            np.array([fit.scores for fit in fits]),
        ),
    ]


def _ratio(norm: float, cosine: float) -> float:
    return float(cosine / norm) if norm > 0 else np.nan


def metric(results: Results) -> Anisotropy:
    """The anisotropy metric, the one detector of this sweep."""
    (detector,) = results.detectors
    assert isinstance(detector, Anisotropy)
    return detector
