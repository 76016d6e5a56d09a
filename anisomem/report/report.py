"""Everything a run leaves for people to read, made from its stores."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import yaml
from jinja2 import Environment

from anisomem.benchmark import Case, Row
from anisomem.report import figures, gallery, published, tables
from anisomem.report.card import card
from anisomem.storage import atomic

CAPTIONS = {
    "roc": "ROC curves on one noise seed, every detector at its largest n, false-positive rate on"
    " a log axis. Shaded: pointwise 95% bootstrap bands of the best detector and of the metric"
    " (thick lines).",
    "forest": "AUC and TPR with 95% intervals over prompt clusters, for each number of noise"
    " samples n.",
    "distributions": "Scores of memorized and other prompts, every detector at its largest n. A"
    " detector orders the prompts well where the colours do not overlap, memorized on the right.",
    "dose_response": "How many memorized prompts are detected, and their mean score, by how often"
    " their picture was repeated in training. Scores are in standard deviations of the other"
    " prompts, from their mean. Bars: 95% intervals, perhaps too short for groups of few prompts."
    " Dashed: how often the model reproduces these same prompts' pictures. Prompts that reproduce"
    " a picture only sometimes are in neither class.",
    "norm_cosine": "The two components of the anisotropy metric for every prompt. The dashed line"
    " is where the published score calls the named share of the other prompts memorized; the"
    " metric calls what lies above and to the right of it.",
    "critical_difference": "Detectors at their largest n in the order of AUC and of TPR. Two that"
    " have a dot on the same bar are not separable by the paired bootstrap test, adjusted by"
    " Holm's method over all pairs shown.",
    "verdicts": "Difference in AUC of every pair of detectors at their largest n, and whether it"
    " is separable, likewise adjusted.",
    "cost": "AUC against seconds, detector alone, for each number of noise samples n. Dotted: the"
    " Pareto front, which no detector beats that costs no more; what is never on it is grey."
    " Detectors of equal evaluations differ in seconds by the noise of the clock.",
}
KEYS = ("detector", "n", "a")  # columns that stay in sight while a table scrolls
CAUTIONS = (
    "What text alone separates (text_only, prompt_length) is no evidence about the model.",
    "Differences without a verdict in the pairs table are not separable at these numbers of"
    " prompts.",
    "A TPR at a false-positive rate that few negatives resolve jumps by whole prompts.",
    "Scores move in their last digits with batch size, precision and hardware.",
)


def headline(cases: Sequence[Case], rows: Sequence[Row]) -> list[tables.Table]:
    """The main table, and what is published beside it where anything is."""
    table, beside = tables.main_table(rows), published.comparison(cases, rows)
    if beside is None:
        return [replace(table, notes=[*table.notes, "Nothing is published on these prompts."])]
    return [table, beside]


def printed(cases: Sequence[Case]) -> str:
    """The :func:`headline` of finished cases as Markdown."""
    table, *beside = headline(cases, [row for case in cases for row in case.rows()])
    return table.markdown() + "".join(f"\n{t.title}\n\n{t.markdown()}" for t in beside)


def write(cases: Sequence[Case], folder: Path) -> Mapping[str, Mapping[str, Path]]:
    """Writes tables, cards, figures and ``report.html``; returns the figures by case and name."""
    rows = [row for case in cases for row in case.rows()]
    table, *more = headline(cases, rows)
    more += [tables.rules_table(rows), tables.costs_table(cases)]
    for case in cases:
        more += [tables.blocks_table(case), tables.pairs_table(case)]
    found = {"cases": [card(case) for case in cases], "rows": tables.records(rows)}
    drawn = {case.name: figures.write(case, folder) for case in cases}

    atomic.write_text(folder / "table.md", table.markdown())
    atomic.write_text(folder / "table.tex", table.latex())
    atomic.write_text(folder / "table.csv", tables.comma_separated(tables.records(rows)))
    atomic.write_text(
        folder / "table.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    )
    sections = [f"## {other.title}\n\n{other.markdown()}" for other in more]
    atomic.write_text(folder / "more.md", "\n".join(sections))
    for other in more:
        path = folder / "more" / other.title.lower().replace(" ", "-")
        atomic.write_text(path.with_name(f"{path.name}.csv"), other.comma_separated())
        atomic.write_text(path.with_name(f"{path.name}.tex"), other.latex())
    atomic.write_text(folder / "report.html", html(cases, [table, *more], drawn))
    return drawn


def html(
    cases: Sequence[Case],
    shown: Sequence[tables.Table],
    drawn: Mapping[str, Mapping[str, Path]],
) -> str:
    """One page that needs no network: sortable tables, figures, gallery, settings, cautions.

    Arguments:
        cases: What was run.
        shown: The tables, main one first.
        drawn: Figures by case and name.
    """
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        files("anisomem.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        title=f"Memorization detectors on {', '.join(case.name for case in cases)}",
        summary=[
            f"{case.name}: {(case.prompts.labels == 1).sum()} memorized and "
            f"{(case.prompts.labels == 0).sum()} other prompts, noise seed"
            f"{'s' * (len(case.config.seeds) > 1)} {', '.join(map(str, case.config.seeds))}"
            for case in cases
        ],
        tables=shown,
        keys=KEYS,
        cautions=CAUTIONS,
        cases=[
            {
                "name": case.name,
                "gallery": gallery.shown(case),
                "identity": case.identity[:10],
                "card": yaml.safe_dump(card(case), sort_keys=False, allow_unicode=True),
                "figures": [
                    {
                        "name": name,
                        "caption": CAPTIONS[name],
                        "data": base64.b64encode(path.read_bytes()).decode(),
                    }
                    for name, path in drawn[case.name].items()
                ],
            }
            for case in cases
        ],
    )
