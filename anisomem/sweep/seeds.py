"""The spread over noise seeds beside the interval over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from omegaconf import DictConfig

from anisomem.benchmark.case import Case
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


def nodes(config: DictConfig) -> dict[str, grids.Node]:
    """The metric under every weighting."""
    return grids.crossed({}, config.model.get("stands_for"))


def result(cases: Sequence[Case]) -> Result:
    """A line for every weighting, and the numbers of every seed."""
    lines, single = [], []
    drawn = {}
    for case in cases:
        values = {d.name: _by_seed(case, i) for i, d in enumerate(case.detectors)}
        own = [_line(case, i, values[d.name]) for i, d in enumerate(case.detectors)]
        lines += own
        single += [
            {"prompts": case.name, "weights": name, "seed": seed} | row
            for name, rows in values.items()
            for seed, row in zip(case.config.seeds, rows, strict=True)
        ]
        drawn[case.name] = partial(figures.forest, case.title, own, values)
    return Result(lines, "", [NOTE], drawn, {"by_seed": single})


def _by_seed(case: Case, d: int) -> list[dict[str, float]]:
    """AUC and TPRs of a detector at every seed."""
    evaluation = case.evaluated
    targets = [t for t in evaluation.targets if evaluation.resolvable(t)]
    return [
        {"auc": auc(row, evaluation.labels)}
        | {f"tpr_at_fpr_{t:g}": tpr_at_fpr(row, evaluation.labels, t) for t in targets}
        for row in evaluation.scores[d]
    ]


def _line(case: Case, d: int, rows: Sequence[dict[str, Any]]) -> Line:
    evaluation = case.evaluated
    more = {"AUC over prompts": _std(evaluation.auc_draws[d])}
    more["AUC by seed"] = _range([row["auc"] for row in rows])
    first = f"tpr_at_fpr_{evaluation.targets[0]:g}"
    if first in rows[0]:
        more["TPR over prompts"] = _std(evaluation.tpr_draws[0, d])
        more["TPR by seed"] = _range([row[first] for row in rows])
    summary = evaluation.summaries()[d]
    return Line(case.name, {"weights": case.detectors[d].name}, summary, more=more)


def _std(draws: Array) -> str:
    return f"{np.std(draws):.3f}"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f}–{max(values):.3f}"
