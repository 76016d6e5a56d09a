"""Detectors against each source of prompts that are not memorized."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from omegaconf import DictConfig

from anisomem.benchmark.case import Case
from anisomem.sweep import figures, grids
from anisomem.sweep.result import Line, Result

NOTE = "Every block of negatives stands against all memorized prompts."


def nodes(config: DictConfig) -> dict[str, grids.Node]:
    """The metric, its norm alone, Wen's norm and Jeon's sharpness."""
    weights = grids.weightings(config.model.get("stands_for"))
    own = next(iter(weights))
    return {
        f"anisotropy, {own}": grids.metric(weights=weights[own]),
        "anisotropy, norm alone": grids.metric(weights=weights["norm alone"]),
        "wen": {"_target_": "anisomem.baselines.wen.WenNorm", "n": 1},
        "jeon": {"_target_": "anisomem.baselines.jeon.JeonSharpness", "n": 1},
    }


def result(cases: Sequence[Case]) -> Result:
    """A line for every block and detector."""
    lines, drawn = [], {}
    for case in cases:
        own = _lines(case)
        lines += own
        drawn[case.name] = partial(figures.forest, case.title, own)
    return Result(lines, "", [NOTE], drawn)


def _lines(case: Case) -> list[Line]:
    parts = case.selections()
    blocks = {"all": list(range(len(case.prompts)))} | {
        name.removeprefix("against "): rows
        for name, rows in parts.items()
        if name.startswith("against ")
    }
    lines = []
    for name, rows in blocks.items():
        judged = case.judged(rows)
        evaluation = judged.evaluation
        counts = f"{name} ({evaluation.n_positive}/{evaluation.n_negative})"
        for detector, summary in zip(judged.detectors, evaluation.summaries(), strict=True):
            place = {"negatives (memorized/other)": counts, "detector": detector.name}
            lines.append(Line(case.name, place, summary))
    return lines
