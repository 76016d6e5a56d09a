"""What a reader must be warned of before the numbers: in the terminal and on top of the page.

The findings are from ``Results``, ``ties`` and the controls; notes below a table are in ``tables``
and ``limits``.
"""

from collections.abc import Sequence

from anisomem.benchmark.results import Results


def warnings(all_results: Sequence[Results]) -> list[str]:
    """Detectors without a score or with a constant one, and controls that do as well as any."""
    return [
        line
        for results in all_results
        for line in (*_unscored(results), *_constant(results), *_beaten(results))
    ]


def _unscored(results: Results) -> list[str]:
    refused = results.scored.refused
    return [f"{results.name}: {key} is not scored: {reason}" for key, reason in refused.items()]


def _constant(results: Results) -> list[str]:
    summaries = results.evaluated.summaries()
    return [
        f"{results.name}: {detector.key} is {summary.ties.note}"
        for detector, summary in zip(results.detectors, summaries, strict=True)
        if summary.ties.constant
    ]


def _beaten(results: Results) -> list[str]:
    """Scores of the prompt alone that separate, and no worse than the best that saw the model."""
    evaluation, detectors = results.evaluated, results.detectors
    areas = [summary.auc for summary in evaluation.summaries()]
    seeing = [d for d, detector in enumerate(detectors) if detector.n]
    if not seeing:
        return []
    best = max(seeing, key=lambda d: areas[d].value)
    lines = []
    for d, detector in enumerate(detectors):
        if detector.n or areas[d].interval.low <= 0.5:
            continue
        if evaluation.auc_difference(best, d).verdict == "better":
            continue
        lines.append(
            f"{results.name}: {detector.key}, which never sees the model, has an AUC of "
            f"{areas[d].value:.3f}, and the best detector, {detectors[best].key}, has "
            f"{areas[best].value:.3f}, not separably more: the prompts alone tell the classes "
            "apart, so this table is no evidence about the model"
        )
    return lines
