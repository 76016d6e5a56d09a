"""Detectors against each source of prompts that are not memorized.

The sources are the ``blocks`` of a prompt set; only prompts are chosen, and nothing is recorded
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from anisomem.benchmark.results import Results
from anisomem.config.schema import Config
from anisomem.sweep import figures, grids
from anisomem.sweep.result import Line, Result

NOTE = "Every block of negatives stands against all memorized prompts."


def nodes(config: Config) -> dict[str, grids.Node]:
    """The metric, its norm alone, Wen's norm and Jeon's sharpness."""
    weights = grids.weightings(config.stands_for)
    own = next(iter(weights))
    return {
        f"anisotropy, {own}": grids.metric(weights=weights[own]),
        "anisotropy, norm alone": grids.metric(weights=weights["norm alone"]),
        "wen": {"_target_": "anisomem.baselines.wen.WenNorm", "n": 1},
        "jeon": {"_target_": "anisomem.baselines.jeon.JeonSharpness", "n": 1},
    }


def result(all_results: Sequence[Results]) -> Result:
    """A line for every block and detector."""
    lines, drawn = [], {}
    for results in all_results:
        own = _lines(results)
        lines += own
        drawn[results.name] = partial(figures.forest, results.title, own)
    return Result(lines, "", [NOTE], drawn)


def _lines(results: Results) -> list[Line]:
    parts = results.parts()
    blocks = {"all": list(range(len(results.prompts)))} | {
        name.removeprefix("against "): rows
        for name, rows in parts.items()
        if name.startswith("against ")
    }
    lines = []
    for name, rows in blocks.items():
        judged = results.judged(rows)
        evaluation = judged.evaluation
        counts = f"{name} ({evaluation.n_positive}/{evaluation.n_negative})"
        for detector, summary in zip(judged.detectors, evaluation.summaries(), strict=True):
            place = {"negatives (memorized/other)": counts, "detector": detector.name}
            lines.append(Line(results.name, place, summary))
    return lines
