"""Detectors of a case on the same prompts, every pair of them compared.

Their tables are written in ``compare`` and ``tables``, their pictures drawn in ``pairs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np
import numpy.typing as npt

from anisomem.benchmark.results import Results
from anisomem.detection.base import Detector
from anisomem.errors import UserError
from anisomem.evaluation import (
    FAMILY_LEVEL,
    Comparison,
    Evaluation,
    auc,
    effective_clusters,
    enough_draws,
    least_p,
    tpr_at_fpr,
)
from anisomem.report.tables import percent


@dataclass(frozen=True)
class Compared:
    """Detectors on some prompts of a case, and every pair of them.

    Attributes:
        name, title: The case's.
        target: False-positive rate of the TPR: the table's first.
        detectors: The detectors in the order in which pairs number them.
        evaluation: The evaluation of these detectors, from draws enough for a verdict.
        pairs: The pairs with p values adjusted over them.
        refused: Detectors that cannot be scored there, and why.
    """

    name: str
    title: str
    target: float
    detectors: Sequence[Detector]
    evaluation: Evaluation
    pairs: Sequence[Comparison]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def undecided(self) -> str:
        """Why no pair can be told apart, whatever it scores; empty where one can be."""
        table = self.evaluation
        units = _units(table.labels, table.clusters)
        least = least_p(table.auc_draws.shape[1], units) * len(self.pairs)
        if least < FAMILY_LEVEL:
            return ""
        return (
            f"{self.title}: {units:.3g} effective clusters tell no two of {len(self.detectors)}"
            f" detectors apart, whatever they score; name fewer of them"
        )

    def statistics(self) -> list[Statistic]:
        """The AUC, and the TPR where its target can be resolved."""
        table, target = self.evaluation, self.target
        areas = [float(np.mean([auc(s, table.labels) for s in rows])) for rows in table.scores]
        found = [Statistic("AUC", areas, table.auc_draws, lambda pair: pair.auc_verdict)]
        if table.resolvable(target):
            rates = [
                float(np.mean([tpr_at_fpr(s, table.labels, target) for s in rows]))
                for rows in table.scores
            ]
            draws = table.tpr_draws[table.targets.index(target)]
            name = f"TPR@{percent(target)}FPR"
            found.append(Statistic(name, rates, draws, lambda pair: pair.tpr_verdict(target)))
        return found


@dataclass(frozen=True)
class Statistic:
    """What detectors achieve by one number.

    Attributes:
        name: Its name.
        values: The number of each detector.
        draws: The same in the bootstrap's samples, ``[D, draws]``.
        verdict: What it says of a pair, after the adjustment.
    """

    name: str
    values: Sequence[float]
    draws: npt.NDArray[np.float64]
    verdict: Callable[[Comparison], str]


def compared(
    results: Results, detectors: Sequence[Detector], rows: Sequence[int] | None = None
) -> Compared:
    """Compares detectors of a case.

    Where the table's bootstrap draws are too few for Holm's method to find any difference among
    so many pairs, more are drawn.

    Arguments:
        results: The results of the complete case.
        detectors: The detectors of the case.
        rows: The prompts; all if not given.

    Raises:
        UserError: What :meth:`Results.judged` refuses, or fewer than two can be scored.
    """
    chosen = range(len(results.prompts)) if rows is None else rows
    prompts = results.prompts.subset(chosen)
    units = _units(prompts.labels, prompts.clusters)
    enough = enough_draws(comb(len(detectors), 2), units)
    draws = max(results.config.draws, enough)
    refused: Mapping[str, str] = {}
    if rows is None:
        evaluation = results.among(detectors, draws)
    else:
        judged = results.judged(rows, detectors, draws)
        detectors, evaluation, refused = judged.detectors, judged.evaluation, judged.refused
    if len(detectors) < 2:
        raise UserError("; ".join(f"{key}: {why}" for key, why in refused.items()))
    return Compared(
        results.name,
        results.title,
        results.config.fpr_targets[0],
        detectors,
        evaluation,
        evaluation.comparisons(),
        refused,
    )


def _units(labels: npt.ArrayLike, clusters: npt.NDArray[np.int64]) -> float:
    """The effective number of clusters of the class that has fewer."""
    memorized = np.asarray(labels) == 1
    classes = (memorized, ~memorized)
    return min(effective_clusters(clusters[c]) for c in classes if c.any())


def at_largest_n(detectors: Sequence[Detector]) -> list[Detector]:
    """Each name once, at its largest n, in the order given."""
    largest: dict[str, Detector] = {}
    for detector in detectors:
        if detector.name not in largest or detector.n > largest[detector.name].n:
            largest[detector.name] = detector
    return list(largest.values())
