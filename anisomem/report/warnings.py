"""What a reader must be warned of before the numbers: in the terminal and on top of the page.

The findings are from ``Results``, ``ties`` and the controls; notes below a table are in ``tables``
and ``limits``.
"""

from collections.abc import Sequence

from anisomem.benchmark.results import Results

NEARLY_ALL = 2 / 3  # a term of the metric that is reversed on a model may be every third detector


def warnings(all_results: Sequence[Results]) -> list[str]:
    """Detectors without a score, a constant or reversed one; controls that do as well as any."""
    return [
        line
        for results in all_results
        for line in (
            *_unscored(results),
            *_constant(results),
            *_reversed(results),
            *_beaten(results),
        )
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


def _reversed(results: Results) -> list[str]:
    """Nearly all that see the model, and have no weights of these labels, rank the wrong way."""
    summaries = results.evaluated.summaries()
    areas = [
        summary.auc
        for detector, summary in zip(results.detectors, summaries, strict=True)
        if detector.sees_model and not detector.uses_labels
    ]
    below = sum(area.interval.high < 0.5 for area in areas)
    if not areas or below < NEARLY_ALL * len(areas):
        return []
    return [
        f"{results.name}: {below} of {len(areas)} rows of detectors have an AUC below 0.5, and "
        "intervals that exclude it: either the labels are inverted (1 and memorized say that the "
        "model copies), or these detectors are reversed on this model; no label and no sign is "
        "changed"
    ]


def _beaten(results: Results) -> list[str]:
    """Scores of the prompt alone that separate, and no worse than the best that saw the model."""
    evaluation, detectors = results.evaluated, results.detectors
    areas = [summary.auc for summary in evaluation.summaries()]
    seeing = [d for d, detector in enumerate(detectors) if detector.sees_model]
    if not seeing:
        return []
    best = max(seeing, key=lambda d: areas[d].value)
    lines = []
    for d, detector in enumerate(detectors):
        if detector.sees_model or areas[d].interval.low <= 0.5:
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
