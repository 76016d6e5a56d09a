"""A table of detectors as Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from anisomem.benchmark import Row
from anisomem.evaluation import Estimate


def headings(rows: Sequence[Row]) -> list[str]:
    """The column titles."""
    targets = [f"TPR@{target:.0%}FPR" for target in rows[0].summary.tpr]
    return [
        "prompts", "detector", "n", "AUC", *targets, "NFE", "s alone", "s shared"
    ]  # fmt: skip


def cells(row: Row) -> list[str]:
    """One row as people read it: value, 95% interval, spread over seeds if there are several."""
    cost = row.cost
    nfe = "–"
    if cost:
        nfe = f"{cost['nfe']:g}" + (f" + {cost['jvps']:g} JVP" if cost["jvps"] else "")
    return [
        row.case,
        row.detector,
        str(row.n or "–"),
        _estimate(row.summary.auc),
        *(_estimate(value) for value in row.summary.tpr.values()),
        nfe,
        f"{cost['isolated'][0]:.3f}" if cost else "–",
        f"{cost['amortised']:.3f}" if cost else "–",
    ]


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table with what its columns mean and what limits it below."""
    table = [headings(rows), *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]

    def line(entries: Sequence[str]) -> str:
        return "| " + " | ".join(e.ljust(w) for e, w in zip(entries, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    body = "\n".join([line(table[0]), rule, *(line(entries) for entries in table[1:])])
    return f"{body}\n\n" + "\n".join(f"- {note}" for note in _notes(rows)) + "\n"


def comma_separated(rows: Sequence[Row]) -> str:
    """One line per row, every number in a column of its own, unrounded."""
    flat = [_flat(row) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, flat[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for JSON, numbers as numbers."""
    return [_flat(row) for row in rows]


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not resolvable"
    spread = "" if estimate.seed_std is None else f" ± {estimate.seed_std:.3f}"
    interval = estimate.interval
    return f"{estimate.value:.3f}{spread} [{interval.low:.3f}, {interval.high:.3f}]"


def _flat(row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {"prompts": row.case, "detector": row.detector, "n": row.n}
    statistics = {"auc": row.summary.auc} | {
        f"tpr_at_fpr_{target:g}": estimate for target, estimate in row.summary.tpr.items()
    }
    for name, estimate in statistics.items():
        values[name] = estimate and estimate.value
        values[f"{name}_low"] = estimate and estimate.interval.low
        values[f"{name}_high"] = estimate and estimate.interval.high
        values[f"{name}_seed_std"] = estimate and estimate.seed_std
    cost = row.cost or {}
    isolated = cost.get("isolated", [None] * 3)
    return values | {
        "nfe_per_prompt": cost.get("nfe"),
        "nfe_per_seed_shared": cost.get("shared_nfe"),
        "jvps_per_prompt": cost.get("jvps"),
        "seconds_per_10_prompts": isolated[0],
        "seconds_per_10_prompts_fastest": isolated[1],
        "seconds_per_10_prompts_slowest": isolated[2],
        "seconds_per_10_prompts_shared": cost.get("amortised"),
    }


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = [
        "Brackets: 95% intervals, stratified bootstrap over clusters of related prompts."
        " Larger scores mean more memorized; no sign is fitted.",
    ]
    if rows[0].summary.auc.seed_std is not None:
        notes.append("±: standard deviation over noise seeds.")
    if any(row.cost for row in rows):
        notes.append(
            "NFE: network evaluations per prompt; the unconditional ones are shared by all"
            " prompts. s alone: median seconds per 10 prompts, detector alone; s shared: its part"
            " of one run of all detectors."
        )
    limits = {
        f"{row.case}, TPR@{target:.0%}FPR: {estimate.note}"
        for row in rows
        for target, estimate in row.summary.tpr.items()
        if estimate and estimate.note
    }
    return notes + sorted(limits)
