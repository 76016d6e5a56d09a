"""Measured numbers beside published ones.

The published numbers are cards in ``results/published``, the papers are in :mod:`anisomem.papers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from math import isclose
from typing import Any

import yaml

from anisomem.benchmark.results import Results, Row
from anisomem.config import catalog, members
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.evaluation import Estimate, Summary
from anisomem.report.table import Table
from anisomem.report.tables import interval_text, percent

SECONDS = "seconds_per_10_prompts"
NOTE = (
    "Published TPRs are by their source's rule, and compared with ours by the same rule; brackets"
    " are our 95% interval by our rule, which the published value is held against where both rules"
    " agree on our scores; ±: the published spread over noise seeds. Seconds are per ten prompts,"
    " each on its own hardware."
)


@dataclass(frozen=True)
class Published:
    """What a source reports of one detector on one set of prompts.

    Attributes:
        model, prompts, detector, n: Of what; a model by the key of ``model.stands_for`` or its
            name in ``conf/model``; None is of nothing here.
        values: Statistic to value, by the names of a table's JSON.
        rule: How its TPRs were read off the ROC curve, ``nearest``, ``strict`` or ``at_most``.
        source: Where it was read.
        settings: Settings of the detector that are others than it is configured with.
        note: What a reader must know beside the source's numbers, or "".
    """

    model: str
    prompts: str | None
    detector: str | None
    n: int | None
    values: Mapping[str, float]
    rule: str
    source: str
    settings: Mapping[str, Any]
    note: str = ""


@cache
def published() -> list[Published]:
    """All cards of the package, ``results/published`` in the repository."""
    rows = []
    for file in sorted(files("anisomem.published").iterdir(), key=lambda path: path.name):
        if file.name.endswith(".yaml"):
            card = yaml.safe_load(file.read_text(encoding="utf-8"))
            rows += [_row(card, row) for row in card["rows"]]
    return rows


def _row(card: Mapping[str, Any], row: Mapping[str, Any]) -> Published:
    keys = {"model", "prompts", "detector", "n"}
    others = keys | {"where", "settings"}
    values = {name: float(v) for name, v in row.items() if name not in others}
    source = f"{card['title']}, {row['where']}"
    return Published(
        **{key: row[key] for key in keys},
        values=values,
        rule=card["rule"],
        source=source,
        settings=row.get("settings", {}),
        note=card.get("note", ""),
    )


def published_beside(results: Results, row: Row) -> list[Published]:
    """What is published of a row of a table, where its detector is set as the source's was."""
    models = {results.config.stands_for, results.config.model_listed}
    key = (results.case.prompts.name, row.detector, row.n)
    published_here = [
        one
        for one in published()
        if one.model in models and (one.prompts, one.detector, one.n) == key
    ]
    if not published_here or (usual := _usual(row.detector, row.n)) is None:
        return []
    detector = next(d for d in results.configured if (d.name, d.n) == (row.detector, row.n))
    return [one for one in published_here if detector == replace(usual, **one.settings)]


@cache
def _usual(name: str, n: int) -> Detector | None:
    """A detector as ``conf/detector`` has it; None of a name that is not there."""
    if name not in catalog.names("detector"):
        return None
    (usual, *_) = detectors({name: members.node("detector", name)})
    return replace(usual, n=n)


def comparison(all_results: Sequence[Results], rows: Sequence[Row]) -> Table | None:
    """Every statistic of every detector beside what is published; None where nothing is."""
    by_name = {results.name: results for results in all_results}
    cells = []
    for row in rows:
        if row.summary is None:
            continue
        published_here = published_beside(by_name[row.case], row)
        lines = [line for one in published_here for line in _lines(row, row.summary, one)]
        missing = ["AUC", interval_text(row.summary.auc), "–", "not published", "–", "–", "–"]
        reported = any("auc" in one.values for one in published_here)
        for line in [*([] if reported else [missing]), *lines]:
            cells.append([row.case, row.model, row.detector, str(row.n or "–"), *line])
    headings = ["prompts", "model", "detector", "n", "number", "measured", "by the source's rule"]
    headings += ["published", "difference", "in our interval", "source"]
    known = [one for row in rows for one in published_beside(by_name[row.case], row)]
    if not known:
        return None
    notes = dict.fromkeys(f"{one.source}: {one.note}." for one in known if one.note)
    return Table(
        "Measured and published",
        headings,
        cells,
        [NOTE, *notes],
        above=("model", "prompts"),
        optional=("source", "in our interval"),
        shorter={"by the source's rule": "its rule"},
    )


def _lines(row: Row, summary: Summary, one: Published) -> list[list[str]]:
    """The statistics of one source."""
    lines = []
    if "auc" in one.values:
        lines.append(_line("AUC", one, "auc", summary.auc, summary.auc.value))
    at_most = {target: tpr.value if tpr else None for target, tpr in summary.tpr.items()}
    rules = {
        "nearest": summary.released_tpr,
        "strict": summary.strict_tpr,
        "at_most": at_most,
    }[one.rule]
    for target, estimate in summary.tpr.items():
        if (key := f"tpr_at_fpr_{target:g}") in one.values:
            name = f"TPR@{percent(target)}FPR"
            lines.append(_line(name, one, key, estimate, rules.get(target)))
    if SECONDS in one.values:
        seconds = f"{row.timed.isolated[0]:.2f}" if row.timed else "not measured"
        lines.append(["s", seconds, "–", f"{one.values[SECONDS]:.2f}", "–", "–", one.source])
    return lines


def _line(
    name: str, one: Published, key: str, estimate: Estimate | None, same_rule: float | None
) -> list[str]:
    """One statistic; ``same_rule`` is ours by the source's rule, None where not resolvable."""
    value, spread = one.values[key], one.values.get(f"{key}_spread")
    shown = f"{value:.3f}" if spread is None else f"{value:.3f} ± {spread:.3f}"
    if estimate is None or same_rule is None:
        return [name, "not resolvable", "–", shown, "–", "–", one.source]
    inside = "yes" if estimate.interval.low <= value <= estimate.interval.high else "no"
    # The interval is of our rule, and says nothing where the source's has another value.
    verdict = inside if isclose(same_rule, estimate.value) else "–"
    difference = f"{same_rule - value:+.3f}"
    measured = interval_text(estimate)
    return [name, measured, f"{same_rule:.3f}", shown, difference, verdict, one.source]
