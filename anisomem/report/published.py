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
    """What is published of a row of a table, where its detector is set as the source's was.

    Numbers of a source are of its model and of all its prompts: nothing is published of another
    listed model that stands for it, of one with adapters, or of some of the prompts.
    """
    config = results.config
    if config.limit is not None or config.model.get("adapters"):
        return []
    model = config.model_listed or config.stands_for
    key = (results.case.prompts.name, row.detector, row.n)
    published_here = [
        one
        for one in published()
        if one.model == model and (one.prompts, one.detector, one.n) == key
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


def records(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Every statistic of a case beside what is published, by the key of its row.

    Rows of which nothing is published are left out, and with them what was not reported.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in results.table:
        if row.summary is None:
            continue
        for one in published_beside(results, row):
            for beside in statistics_beside(row.summary, one):
                found.setdefault(row.key, []).append(beside.record())
    return found


@dataclass(frozen=True)
class Beside:
    """A statistic of a row beside what a source reports of it.

    Attributes:
        name, key: What tables call it, and its name in a table's JSON.
        value, spread: What is published, and its spread over noise seeds where that is too.
        estimate: Ours, by our rule; None where it cannot be resolved.
        same_rule: Ours by the source's rule; None where it cannot be resolved.
        source: Where it was read.
    """

    name: str
    key: str
    value: float
    spread: float | None
    estimate: Estimate | None
    same_rule: float | None
    source: str

    @property
    def difference(self) -> float | None:
        """Ours by the source's rule minus what is published."""
        return None if self.same_rule is None else self.same_rule - self.value

    @property
    def inside(self) -> bool | None:
        """Whether our 95% interval holds what is published, which is then reproduced.

        None where it cannot be said: the interval is of our rule, and says nothing where the
        source's has another value on our scores.
        """
        if self.estimate is None or self.same_rule is None:
            return None
        if not isclose(self.same_rule, self.estimate.value):
            return None
        return self.estimate.interval.low <= self.value <= self.estimate.interval.high

    def record(self) -> dict[str, Any]:
        """What a card says of it."""
        return {
            "statistic": self.key,
            "published": self.value,
            "spread": self.spread,
            "by_its_rule": self.same_rule,
            "in_our_interval": self.inside,
            "source": self.source,
        }


def statistics_beside(summary: Summary, one: Published) -> list[Beside]:
    """The AUC and the TPRs that a source reports, at the targets of a table."""
    at_most = {target: tpr.value if tpr else None for target, tpr in summary.tpr.items()}
    rules = {
        "nearest": summary.released_tpr,
        "strict": summary.strict_tpr,
        "at_most": at_most,
    }[one.rule]
    found = {"auc": ("AUC", summary.auc, summary.auc.value)} | {
        f"tpr_at_fpr_{target:g}": (f"TPR@{percent(target)}FPR", estimate, rules.get(target))
        for target, estimate in summary.tpr.items()
    }
    return [
        Beside(
            name, key, one.values[key], one.values.get(f"{key}_spread"), estimate, ours, one.source
        )
        for key, (name, estimate, ours) in found.items()
        if key in one.values
    ]


def _lines(row: Row, summary: Summary, one: Published) -> list[list[str]]:
    """The statistics of one source."""
    lines = [_line(beside) for beside in statistics_beside(summary, one)]
    if SECONDS in one.values:
        seconds = f"{row.timed.isolated[0]:.2f}" if row.timed else "not measured"
        lines.append(["s", seconds, "–", f"{one.values[SECONDS]:.2f}", "–", "–", one.source])
    return lines


def _line(one: Beside) -> list[str]:
    shown = f"{one.value:.3f}" if one.spread is None else f"{one.value:.3f} ± {one.spread:.3f}"
    if one.estimate is None or one.same_rule is None:
        return [one.name, "not resolvable", "–", shown, "–", "–", one.source]
    verdict = {True: "yes", False: "no", None: "–"}[one.inside]
    measured = interval_text(one.estimate)
    ours, difference = f"{one.same_rule:.3f}", f"{one.difference:+.3f}"
    return [one.name, measured, ours, shown, difference, verdict, one.source]
