"""Weights fitted on one model and prompt set, tested on each other.

Within one set, folds do the same for ``fitted`` weights, in :mod:`anisomem.evaluation.fitting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from anisomem.benchmark.results import Results
from anisomem.datasets.clusters import near_duplicates
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Array
from anisomem.detection.weighted import PUBLISHED
from anisomem.errors import UserError
from anisomem.evaluation import Estimate, Summary, equal_weights, fit_weights, folds
from anisomem.report.table import Table
from anisomem.report.tables import interval_text, percent
from anisomem.sweep import figures, grids
from anisomem.sweep.gamma import metric
from anisomem.sweep.result import Difference, Line, Result

NOTES = [
    "fitted on X: logistic regression of norm and cosine in raw units on the prompts of X. For"
    " every fold of the tested prompts it is fitted anew, without X's prompts that are related"
    " to the fold: by cluster where both sets number one list of prompts, else near-duplicates.",
    "equal: in standard deviations of the tested prompts' own negatives.",
]


@dataclass(frozen=True)
class Components:
    """Norm and cosine ``[S, N, 2]`` of a case's prompts."""

    name: str
    values: Array
    prompts: PromptSet


def result(all_results: Sequence[Results]) -> Result:
    """A line for every source of weights and every case it is tested on, and the matrix."""
    recorded = [Components(c.name, grids.components(c, metric(c)), c.prompts) for c in all_results]
    lines: list[Line] = []
    for results, target in zip(all_results, recorded, strict=True):
        scores = _scores(recorded, target)
        evaluation = results.evaluate(np.array(list(scores.values())))
        own = list(scores).index(f"fitted on {target.name}")
        for i, (name, summary) in enumerate(zip(scores, evaluation.summaries(), strict=True)):
            difference = None if i == own else Difference.between(evaluation, i, own)
            lines.append(Line(results.name, {"weights": name}, summary, difference))
    matrices = {"matrix-auc": _matrix(lines, "AUC", lambda summary: summary.auc)}
    for t in lines[0].summary.tpr:
        matrices[f"matrix-tpr_at_fpr_{t:g}"] = _matrix(
            lines, f"TPR@{percent(t)}FPR", partial(_rate, target=t)
        )
    drawn = {"matrix": partial(figures.matrix, lines)}
    return Result(lines, "the prompts' own fit", NOTES, drawn, tables=matrices)


def _scores(sources: Sequence[Components], target: Components) -> dict[str, Array]:
    """Scores of the tested prompts under all weights, ``[S, N]`` each."""
    norm, cosine = np.moveaxis(target.values, -1, 0)
    labels = target.prompts.labels
    scores = {f"fitted on {source.name}": transferred(source, target) for source in sources}
    for name, gamma in PUBLISHED.items():
        scores[f"published, {name}"] = gamma.norm * norm + gamma.cos * cosine
    scores["equal"] = np.array([equal_weights(values, labels) for values in target.values])
    scores["norm alone"] = norm
    return scores


def transferred(source: Components, target: Components) -> Array:
    r"""Scores ``[S, N]`` of the target's prompts by weights that come from the source's.

    .. math:: s_i = w^{(k)} \cdot x_i + b^{(k)}, \quad i \in \text{fold } k,

    with the fit :math:`(w, b)^{(k)}` on :func:`unrelated` prompts of the source at the same noise
    seed. Of a case to itself this is :func:`anisomem.evaluation.fit_in_folds`.

    Raises:
        UserError: What is left of the source has one class only.
    """
    labels = source.prompts.labels
    fold = folds(target.prompts.labels, target.prompts.clusters)
    scores = np.empty(target.values.shape[:2])
    for k in range(fold.max() + 1):
        held = fold == k
        kept = unrelated(source.prompts, target.prompts.subset(held))
        for s, (known, new) in enumerate(zip(source.values, target.values, strict=True)):
            try:
                weights, intercept = fit_weights(known[kept], labels[kept])
            except ValueError as error:
                fit = f"fitting on {source.name} without a fold of {target.name}"
                raise UserError(f"{fit}: {error}") from None
            scores[s, held] = new[held] @ weights + intercept
    return scores


def unrelated(source: PromptSet, held_out: PromptSet) -> npt.NDArray[np.bool_]:
    """Which of the source's prompts are in no cluster with those held out, ``[N]``.

    Numbers of clusters that came with two sets are compared where both number one list, as the
    two small bundled models' do. Otherwise they say nothing of each other, and prompts are
    related that are near-duplicates over both sets, of which clusters of published sets consist.
    """
    near = np.isin(source.texts, held_out.texts)
    numbered = source.families is None or held_out.families is None
    if numbered and _of_one_list(source, held_out):
        near |= np.isin(source.clusters, held_out.clusters)
    else:
        urls = [url for each in (source, held_out) for url in each.urls or [()] * len(each)]
        joint = near_duplicates([*source.texts, *held_out.texts], urls)
        near |= np.isin(joint[: len(source)], joint[len(source) :])
    return ~np.isin(source.clusters, source.clusters[near])


def _of_one_list(one: PromptSet, other: PromptSet) -> bool:
    """Whether sets have ids in common, and the same text behind each of these."""
    texts = dict(zip(other.ids, other.texts, strict=True))
    common = [
        text == texts[id] for id, text in zip(one.ids, one.texts, strict=True) if id in texts
    ]
    return bool(common) and all(common)


def _matrix(
    lines: Sequence[Line], name: str, statistic: Callable[[Summary], Estimate | None]
) -> Table:
    """Weights down, tested prompts across."""
    tested = list(dict.fromkeys(line.case for line in lines))
    weights = dict.fromkeys(line.place["weights"] for line in lines)
    cells = {(li.case, li.place["weights"]): interval_text(statistic(li.summary)) for li in lines}
    rows = [[source, *(cells[results, source] for results in tested)] for source in weights]
    return Table(name, [f"{name} on", *tested], rows, NOTES)


def _rate(summary: Summary, target: float) -> Estimate | None:
    return summary.tpr[target]
