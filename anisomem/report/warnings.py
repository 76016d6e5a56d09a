"""What a reader must be warned of before the numbers: in the terminal and on top of the page."""

from collections.abc import Sequence

from anisomem.benchmark.case import Case


def warnings(cases: Sequence[Case]) -> list[str]:
    """Detectors without a score or with a constant one, and controls that do as well as any."""
    return [
        line for case in cases for line in (*_unscored(case), *_constant(case), *_beaten(case))
    ]


def _unscored(case: Case) -> list[str]:
    refused = case.scored.refused
    return [f"{case.name}: {key} is not scored: {reason}" for key, reason in refused.items()]


def _constant(case: Case) -> list[str]:
    summaries = case.evaluated.summaries()
    return [
        f"{case.name}: {detector.key} is {summary.ties.note}"
        for detector, summary in zip(case.detectors, summaries, strict=True)
        if summary.ties.constant
    ]


def _beaten(case: Case) -> list[str]:
    """Scores of the prompt alone that separate, and no worse than the best that saw the model."""
    evaluation, detectors = case.evaluated, case.detectors
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
            f"{case.name}: {detector.key}, which never sees the model, has an AUC of "
            f"{areas[d].value:.3f}, and the best detector, {detectors[best].key}, has "
            f"{areas[best].value:.3f}, not separably more: the prompts alone tell the classes "
            "apart, so this table is no evidence about the model"
        )
    return lines
