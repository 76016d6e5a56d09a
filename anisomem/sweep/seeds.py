"""The spread over noise seeds beside the interval over prompts.

The noise seeds are recorded like those of any run; only the spread between them is new here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from anisomem.benchmark.results import Results
from anisomem.config.schema import Config
from anisomem.detection.base import Array
from anisomem.evaluation import auc, tpr_at_fpr
from anisomem.sweep import figures, grids
from anisomem.sweep.result import Line, Result

#: The released script's three, and seven more.
SEEDS = (42, 51, 53, 0, 1, 2, 3, 4, 5, 6)
NOTE = (
    "over prompts: standard deviation of the bootstrap draws of the mean over seeds. The ± beside"
    " a value is the one over seeds; a table of a single seed has both."
)


def nodes(config: Config) -> dict[str, grids.Node]:
    """The metric under every weighting."""
    return grids.crossed({}, config.stands_for)


def result(all_results: Sequence[Results]) -> Result:
    """A line for every weighting, and the numbers of every seed."""
    lines, single = [], []
    drawn = {}
    for results in all_results:
        values = {d.name: _by_seed(results, i) for i, d in enumerate(results.detectors)}
        own = [_line(results, i, values[d.name]) for i, d in enumerate(results.detectors)]
        lines += own
        single += [
            {"prompts": results.name, "weights": name, "seed": seed} | row
            for name, rows in values.items()
            for seed, row in zip(results.config.seeds, rows, strict=True)
        ]
        drawn[results.name] = partial(figures.forest, results.title, own, values)
    return Result(lines, "", [NOTE], drawn, {"by_seed": single})


def _by_seed(results: Results, d: int) -> list[dict[str, float]]:
    """AUC and TPRs of a detector at every seed."""
    evaluation = results.evaluated
    targets = [t for t in evaluation.targets if evaluation.resolvable(t)]
    return [
        {"auc": auc(row, evaluation.labels)}
        | {f"tpr_at_fpr_{t:g}": tpr_at_fpr(row, evaluation.labels, t) for t in targets}
        for row in evaluation.scores[d]
    ]


def _line(results: Results, d: int, rows: Sequence[dict[str, Any]]) -> Line:
    evaluation = results.evaluated
    more = {"AUC over prompts": _std(evaluation.auc_draws[d])}
    more["AUC by seed"] = _range([row["auc"] for row in rows])
    first = f"tpr_at_fpr_{evaluation.targets[0]:g}"
    if first in rows[0]:
        more["TPR over prompts"] = _std(evaluation.tpr_draws[0, d])
        more["TPR by seed"] = _range([row[first] for row in rows])
    summary = evaluation.summaries()[d]
    return Line(results.name, {"weights": results.detectors[d].name}, summary, more=more)


def _std(draws: Array) -> str:
    return f"{np.std(draws):.3f}"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f}–{max(values):.3f}"
