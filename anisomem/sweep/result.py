"""What a sweep finds, and the files it leaves.

What is swept, and with which detectors, is in the files of the sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anisomem.benchmark.results import Results, Row
from anisomem.detection.base import Array
from anisomem.evaluation import Evaluation, PairedDifference, Summary
from anisomem.report import findings, readme, tables
from anisomem.report.findings import Findings, Part
from anisomem.report.folder import Folder
from anisomem.report.table import Table
from anisomem.report.tables import percent
from anisomem.report.warnings import warnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: What stands below the figures, by their kinds; those of a case's own name have none.
CAPTIONS = {
    "": "AUC and TPR with 95% intervals over prompt clusters: a row for each value, a colour for"
    " each weighting or detector. Ticks: single noise seeds, where there are several.",
    "gamma": "AUC and TPR by the ratio of the cosine's weight to the norm's, with pointwise 95%"
    " bands; marked are the choices that have a name.",
    "map": "AUC and TPR of every pair of steps, the norm's down and the cosine's across; marked"
    " are the pairs that have a name.",
    "terms": "AUC and TPR of norm and cosine alone by the step at which they are read, with"
    " pointwise 95% bands.",
    "matrix": "AUC and TPR of weights from each source (down) on each set of prompts (across).",
}


@dataclass(frozen=True)
class Difference:
    """A line minus the one it is compared with, on the same prompts, noise and draws."""

    auc: PairedDifference
    tpr: Mapping[float, PairedDifference]

    @classmethod
    def between(cls, evaluation: Evaluation, a: int, b: int) -> Difference:
        """Detector a of an evaluation minus detector b."""
        return cls(evaluation.auc_difference(a, b), evaluation.tpr_differences(a, b))


@dataclass(frozen=True)
class Line:
    """One value of what is swept.

    Attributes:
        case: The case's name.
        place: What was chosen, heading to cell.
        summary: What it achieves.
        difference: The difference to the line it is compared with, None for that line itself.
        more: Further columns.
    """

    case: str
    place: Mapping[str, str]
    summary: Summary
    difference: Difference | None = None
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Map:
    """AUC and TPR ``[norm step, cosine step]`` under one weighting; TPR None if unresolvable."""

    weights: str
    auc: Array
    tpr: Array | None


@dataclass(frozen=True)
class Result:
    """Tables, figures and data of a sweep.

    Attributes:
        lines: The lines of the main table; all have the same headings.
        reference: What the differences are to, in words; empty where there are none.
        notes: What a reader must know besides the table's general notes.
        figures: The figures by file name, not drawn yet: one that fails costs no table.
        data: Further numbers by file name, one mapping a row.
        tables: Further tables by file name.
    """

    lines: Sequence[Line]
    reference: str
    notes: Sequence[str]
    figures: Mapping[str, Callable[[], Figure]]
    data: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)


def write(
    title: str,
    about: str,
    result: Result,
    all_results: Sequence[Results],
    folder: Path,
    command: str,
) -> str:
    """Writes everything into ``folder`` and returns the main table as it is printed.

    Arguments:
        title: The title of the main table.
        about: What varies, in sentences.
        result: What was found.
        all_results: Of which cases.
        folder: Where it is written.
        command: The command that asked for it, as it was typed; "" where none did.
    """
    main = table(title, result, all_results)
    models = {results.name: results.model for results in all_results}
    with Folder(folder, "sweep") as written:
        written.table("table", main, records(result.lines, models))
        for name, rows in result.data.items():
            written.numbers(name, rows)
        for name, other in result.tables.items():
            written.table(name, other)
        saved = written.figures(result.figures)
        found = Findings(
            f"{title}: {', '.join(results.title for results in all_results)}",
            about,
            [*map(readme.counted, all_results)],
            [Part.of(results.case) for results in all_results],
            [main, *result.tables.values()],
            CAPTIONS,
            key=next(iter(result.lines[0].place)),
            warnings=warnings(all_results),
        )
        findings.write(found, written, saved, command)
    return main.printed()


def table(title: str, result: Result, all_results: Sequence[Results]) -> Table:
    """The main table of a sweep."""
    first = result.lines[0]
    rates = [f"TPR@{percent(target)}FPR" for target in first.summary.tpr]
    headings = ["prompts", "model", *first.place, "AUC", *rates]
    if result.reference:
        headings += ["AUC − ref.", f"{rates[0]} − ref.", "by AUC"]
    headings += first.more
    notes = {results.name: results.notes() for results in all_results}
    rows = [
        Row(line.case, ", ".join(line.place.values()), 0, line.summary, None, notes[line.case])
        for line in result.lines
    ]
    about = [f"Ref.: {result.reference}; paired 95% intervals."] if result.reference else []
    models = {results.name: results.model for results in all_results}
    cells = [_cells(line, models[line.case], bool(result.reference)) for line in result.lines]
    return Table(
        title,
        headings,
        cells,
        [*about, *result.notes, *tables.notes_of(rows)],
        above=("model", "prompts"),
        optional=(*rates[1:], f"{rates[0]} − ref.", *reversed(list(first.more)), rates[0]),
    )


def _cells(line: Line, model: str, compared: bool) -> list[str]:
    summary = line.summary
    cells = [line.case, model, *line.place.values(), tables.interval_text(summary.auc)]
    cells += [tables.interval_text(rate) for rate in summary.tpr.values()]
    if compared:
        paired = line.difference
        rate = paired and paired.tpr.get(next(iter(summary.tpr)))
        cells.append(tables.difference_text(paired.auc) if paired else "–")
        cells.append(tables.difference_text(rate) if rate else "–")
        cells.append(paired.auc.verdict if paired else "–")
    return [*cells, *line.more.values()]


def records(lines: Sequence[Line], models: Mapping[str, str]) -> list[dict[str, Any]]:
    """The lines, numbers unrounded; ``models`` by case."""
    return [
        {
            "prompts": line.case,
            "model": models[line.case],
            **line.place,
            **tables.numbers(line.summary),
            **_unrounded(line),
        }
        for line in lines
    ]


def _unrounded(line: Line) -> dict[str, Any]:
    """The difference's columns, empty where there is none."""
    paired = line.difference
    values: dict[str, Any] = {}
    named = {"auc": paired and paired.auc}
    named |= {f"tpr_at_fpr_{t:g}": paired and paired.tpr.get(t) for t in line.summary.tpr}
    for name, difference in named.items():
        values[f"{name}_minus_reference"] = difference and difference.difference
        values[f"{name}_minus_reference_low"] = difference and difference.interval.low
        values[f"{name}_minus_reference_high"] = difference and difference.interval.high
    return values
