"""Tables and pictures of finished trials.

The numbers are from ``results``, the pictures in ``figures``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from anisomem.evaluation import NOT_SEPARABLE, Interval
from anisomem.evaluation.bootstrap import FAMILY_LEVEL, MOST_DRAWS, enough_draws
from anisomem.measures.base import Statistic
from anisomem.report import findings, tables
from anisomem.report.findings import Findings, Part
from anisomem.report.folder import Draw, Folder
from anisomem.report.table import Table
from anisomem.report.tables import percent
from anisomem.tradeoff import figures
from anisomem.tradeoff.results import (
    COLUMNS,
    GROUPS,
    Estimates,
    Matched,
    TradeoffResults,
    adjusted,
)

LOSSES = (0.05, 0.1, 0.2)  # shares of the fidelity at which methods are compared
COMPARED_AT = 0.1  # of these, where every pair is compared and the pictures are chosen
MATCHED = "At matched fidelity"  # the title of the table that is printed beside the main one
ABOUT = (
    "What every mitigation of memorization changes: how far the pictures of memorized prompts are"
    " copies of training pictures, what the pictures lose, and what it costs."
)
CAPTIONS = {
    "tradeoff": "Copying against fidelity to memorized prompts, and against the seconds of a"
    " picture, with 95% intervals; a line for each method over its strengths, and a star for no"
    " mitigation. Lower and further to the right is better on the left, lower and further to the"
    " left on the right.",
    "sheet": "What each method generates for the same prompts and noise, beside the training"
    " picture, at its setting with the least copying at matched fidelity.",
}
Column = tuple[str, Estimates | None, bool]  # heading, numbers, whether they are shares


def tradeoff_table(all_results: Sequence[TradeoffResults]) -> Table:
    """Copying, fidelity and time of every setting: the table that is printed."""
    rows, headings, notes = [], [], []
    for results in all_results:
        columns = _main_columns(results)
        headings = ["prompts", "model", "mitigation", "strength"]
        headings += [*(name for name, _, _ in columns), "NFE", "gradients", "s per picture"]
        for k, setting in enumerate(results.settings):
            cells = [results.trial.name, results.trial.model]
            cells += [setting.name, setting.strength or "–"]
            cells += [_cell(estimates, k, share) for _, estimates, share in columns]
            rows.append([*cells, *_cost(results, k)])
        notes += [f"{results.trial.name}: {note}" for note in _notes(results)]
    notes.insert(
        0,
        "Means over prompts with 95% intervals, bootstrap over clusters of related prompts. NFE"
        " and gradients of the mitigation for a memorized prompt and for another, sampling not"
        " included; seconds include it, medians in one process beside the others of the run.",
    )
    return Table(
        "Mitigations",
        headings,
        rows,
        notes,
        above=("model", "prompts"),
        optional=("gradients", "NFE", *reversed(headings[6:-3])),
    )


def _main_columns(results: TradeoffResults) -> list[Column]:
    columns: list[Column] = []
    if copying := results.primary("copying"):
        columns.append((copying.name, results.estimates_of(copying, GROUPS[0]), copying.percent))
    if fidelity := results.primary("fidelity"):
        for group in GROUPS:
            name = f"{fidelity.name}, {group}"
            columns.append((name, results.estimates_of(fidelity, group), fidelity.percent))
    for one in (s for s in results.statistics if s.subject == "change"):
        columns.append((f"{one.name}, others", results.estimates_of(one, "others"), one.percent))
    return columns


def _cost(results: TradeoffResults, k: int) -> list[str]:
    labels = results.prompts.labels == 1
    cells = []
    for column in ("nfe", "backward"):
        of = results.sampled[column][k]
        memorized, others = (f"{of[rows].mean():.3g}" for rows in (labels, ~labels))
        cells.append(memorized if memorized == others else f"{memorized} / {others}")
    seconds = results.sampled["mitigation_seconds"][k] + results.sampled["sampling_seconds"][k]
    memorized, others = (f"{np.median(seconds[rows]):.2f}" for rows in (labels, ~labels))
    return [*cells, memorized if memorized == others else f"{memorized} / {others}"]


def _cell(estimates: Estimates | None, k: int, share: bool) -> str:
    if estimates is None or np.isnan(estimates.values[k]):
        return "–"
    return _text(estimates.values[k], estimates.interval(k), share)


def _text(value: float, interval: Interval, share: bool) -> str:
    if share:
        return f"{value:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _counted(results: TradeoffResults) -> str:
    """How many prompts and pictures there are, and how they are sampled."""
    trial, labels, config = results.trial, results.prompts.labels, results.trial.config.trial
    return (
        f"{(labels == 1).sum()} memorized and {(labels == 0).sum()} other prompts, "
        f"{len(trial.seeds)} pictures each, {config.steps} steps, guidance {config.guidance:g}"
    )


def _notes(results: TradeoffResults) -> list[str]:
    """What a reader must know about the prompts and the pictures."""
    trial = results.trial
    notes = [f"{_counted(results)}."]
    if results.failures:
        notes.append(f"{len(results.failures)} prompts left out, the model failed.")
    if any(measure.of_copies for measure in trial.measures):
        known, whole = trial.references.pictures, trial.whole
        memorized = [i for i, label in zip(whole.ids, whole.labels, strict=True) if label]
        if lacking := [i for i in memorized if i not in known]:
            notes.append(
                f"Drawn from the {len(memorized) - len(lacking)} of {len(memorized)} memorized "
                "prompts with a training picture at hand."
            )
    for k, setting in enumerate(results.settings):
        if count := int(results.sampled["diverged"][k].sum()):
            notes.append(f"{setting.label}: {count} descents diverged and kept the last finite.")
    return [*notes, *(f"{caution}." for caution in trial.prompts.cautions)]


def measures_table(results: TradeoffResults) -> Table:
    """Every statistic of every setting, for memorized prompts and others."""
    columns: list[Column] = [
        (f"{one.name}, {group}", estimates, one.percent)
        for one in results.statistics
        for group in GROUPS
        if (estimates := results.estimates_of(one, group))
    ]
    return _by_setting(f"Measures of {results.trial.name}", results, columns, [])


def scores_table(results: TradeoffResults) -> Table:
    """What detectors say after the mitigation, at the noise sampled from and at other noise."""
    columns: list[Column] = [
        (f"{COLUMNS[name]}, {group}", results.estimates_of_sampling(name, group), False)
        for name in ("metric", "metric_held_out", "wen", "wen_held_out")
        for group in GROUPS
    ]
    notes = [
        "Other noise: mean over four samples that nothing was optimised on. The prediction without"
        " prompt is the unchanged model's, also where a mitigation edits it while sampling (ren)."
    ]
    return _by_setting(f"Scores of {results.trial.name}", results, columns, notes)


def efforts_table(results: TradeoffResults) -> Table:
    """What mitigating and sampling took, and how far prompts and noise were moved."""
    names = [name for name in COLUMNS if not name.startswith(("metric", "wen"))]
    rows = []
    for k, setting in enumerate(results.settings):
        cells = [setting.name, setting.strength or "–"]
        for name in names:
            of = results.sampled[name][k]
            parts = (of[results.prompts.labels == value].mean() for value in (1, 0))
            cells.append(" / ".join(f"{part:.3g}" for part in parts))
        rows.append(cells)
    headings = ["mitigation", "strength", *(COLUMNS[name] for name in names)]
    notes = [
        "Means over pictures of memorized / other prompts. Moved: relative distance. Seconds: in"
        " one process beside the others of the run, a batch's divided by its pictures."
    ]
    return Table(f"Efforts on {results.trial.name}", headings, rows, notes)


def _by_setting(
    title: str, results: TradeoffResults, columns: Sequence[Column], notes: Sequence[str]
) -> Table:
    rows = [
        [
            s.name,
            s.strength or "–",
            *(_cell(estimates, k, share) for _, estimates, share in columns),
        ]
        for k, s in enumerate(results.settings)
    ]
    headings = ["mitigation", "strength", *(name for name, _, _ in columns)]
    return Table(title, headings, rows, notes)


def matched_table(all_results: Sequence[TradeoffResults]) -> Table | None:
    """Every method's copying where 5, 10 and 20% of the fidelity are lost at most."""
    rows, names = [], []
    for results in all_results:
        matched = [one for loss in LOSSES if (one := results.matched(loss))]
        copying = results.primary("copying")
        if not matched or copying is None:
            return None
        plain = results.estimates_of(copying, GROUPS[0])
        names = [f"{copying.name}, {percent(loss)} lost" for loss in LOSSES]
        cell = _cell(plain, results.settings.index(results.trial.plain), copying.percent)
        rows.append([results.trial.name, results.trial.model, "none", *[cell] * len(matched)])
        for m, name in enumerate(matched[0].names):
            cells = [_cell(one.estimates, m, copying.percent) for one in matched]
            rows.append([results.trial.name, results.trial.model, name, *cells])
    if not rows:
        return None
    notes = [
        "The least copying on the line through a method's settings where the fidelity to"
        " memorized prompts is at most so much below that without a mitigation; interpolated"
        " between settings, no mitigation being one of them."
    ]
    return Table(
        MATCHED,
        ["prompts", "model", "mitigation", *names],
        rows,
        notes,
        above=("model", "prompts"),
    )


def pairs_table(results: TradeoffResults, matched: Matched, copying: Statistic) -> Table:
    """Every pair of methods at matched fidelity."""
    pairs = list(combinations(range(len(matched.names)), 2))
    differences = [matched.difference(a, b) for a, b in pairs]
    rows = []
    for (a, b), one, p in zip(pairs, differences, adjusted(differences), strict=True):
        # A smaller copy is the better mitigation, whichever way the measure points.
        better = (one.difference < 0) != copying.smaller
        verdict = ("better" if better else "worse") if p < FAMILY_LEVEL else NOT_SEPARABLE
        cell = tables.difference_text(one)
        rows.append([matched.names[a], matched.names[b], cell, f"{p:.2g}", verdict])
    notes = [
        f"{copying.name} of a minus that of b, where {percent(matched.loss)} of the fidelity is"
        " lost at most; paired 95% intervals; p adjusted by Holm's method over all pairs. Better:"
        " a copies less."
    ]
    units = matched.estimates.units
    if enough_draws(len(pairs), units) >= MOST_DRAWS - 1:
        notes.append(
            f"{units:.3g} effective clusters can hardly separate anything, whatever draws."
        )
    headings = ["a", "b", "a − b", "p, Holm", "a is"]
    return Table(f"Pairs on {results.trial.name}", headings, rows, notes)


def records(results: TradeoffResults) -> list[dict[str, Any]]:
    """Every setting, numbers unrounded."""
    rows: list[dict[str, Any]] = []
    sources: list[tuple[str, Callable[[str], Estimates | None]]] = [
        (one.name, lambda group, one=one: results.estimates_of(one, group))  # type: ignore[misc]
        for one in results.statistics
    ]
    sources += [
        (name, lambda group, name=name: results.estimates_of_sampling(name, group))  # type: ignore[misc]
        for name in COLUMNS
    ]
    columns = {
        f"{name}, {group}": estimates
        for name, of in sources
        for group in GROUPS
        if (estimates := of(group))
    }
    for k, setting in enumerate(results.settings):
        row: dict[str, Any] = {
            "prompts": results.trial.name,
            "model": results.trial.model,
            "mitigation": setting.name,
            "strength": setting.strength,
        }
        for name, estimates in columns.items():
            interval = estimates.interval(k)
            row |= {
                name: estimates.values[k],
                f"{name}, low": interval.low,
                f"{name}, high": interval.high,
            }
        rows.append(row)
    return rows


def _findings(all_results: Sequence[TradeoffResults], shown: Sequence[Table]) -> Findings:
    """The page's content."""
    return Findings(
        f"Mitigations: {', '.join(results.trial.title for results in all_results)}",
        ABOUT,
        [f"{one.trial.title}: {_counted(one)}" for one in all_results],
        [Part.of(results.trial) for results in all_results],
        shown,
        CAPTIONS,
        key="mitigation",
        printed=1 + (len(shown) > 1 and shown[1].title == MATCHED),
    )


def write(all_results: Sequence[TradeoffResults], folder: Path, command: str = "") -> str:
    """Writes tables and pictures; returns those that are printed.

    Arguments:
        all_results: The trials' results.
        folder: Where to.
        command: The command that asked for it, as it was typed; "" where none did.
    """
    main, kept = tradeoff_table(all_results), matched_table(all_results)
    more = [table for table in [kept] if table]
    draws: dict[str, Draw] = {}
    for results in all_results:
        more += [measures_table(results), scores_table(results), efforts_table(results)]
        matched, copying = results.matched(COMPARED_AT), results.primary("copying")
        if matched and copying and len(matched.names) > 1:
            more.append(pairs_table(results, matched, copying))
        name = results.trial.name
        if matched:
            draws[f"figures/{name}-tradeoff"] = partial(figures.tradeoff, results)
        draws[f"figures/{name}-sheet"] = partial(figures.sheet, results, COMPARED_AT)
    with Folder(folder, "mitigate") as written:
        written.table("table", main, [row for results in all_results for row in records(results)])
        written.more({table.title.lower().replace(" ", "-"): table for table in more})
        saved = written.figures(draws)
        findings.write(_findings(all_results, [main, *more]), written, saved, command)
    for results in all_results:
        results.trial.keep_settings()
    beside = f"\n{kept.title}\n\n{kept.printed()}" if kept else ""
    return main.printed() + beside
