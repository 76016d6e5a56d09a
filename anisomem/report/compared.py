"""Detectors of a case on the same prompts, every pair of them compared.

Their tables are written in ``compare`` and ``tables``, their pictures drawn in ``pairs``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

from anisomem.benchmark.results import Results
from anisomem.detection.base import Detector
from anisomem.errors import UserError
from anisomem.evaluation import Comparison, Evaluation, effective_clusters, enough_draws


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
    enough = enough_draws(comb(len(detectors), 2), _units(results, chosen))
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


def _units(results: Results, rows: Sequence[int]) -> float:
    """The effective number of clusters of the class that has fewer."""
    prompts = results.prompts.subset(rows)
    labels = prompts.labels == 1
    return min(effective_clusters(prompts.clusters[c]) for c in (labels, ~labels) if c.any())


def at_largest_n(detectors: Sequence[Detector]) -> list[Detector]:
    """Each name once, at its largest n, in the order given."""
    largest: dict[str, Detector] = {}
    for detector in detectors:
        if detector.name not in largest or detector.n > largest[detector.name].n:
            largest[detector.name] = detector
    return list(largest.values())
