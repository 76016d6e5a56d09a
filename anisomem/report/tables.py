"""The tables of a run for people (Markdown, LaTeX) and unrounded (CSV, JSON), see ``table``."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from anisomem.benchmark.results import Results, Row
from anisomem.engine.cost import TimedCounts
from anisomem.errors import UserError
from anisomem.evaluation import (
    CLUSTERED,
    FAMILY_LEVEL,
    Comparison,
    Estimate,
    Interval,
    PairedDifference,
    Summary,
    least_p,
    resolution_note,
)
from anisomem.report import escape, gammas, terms
from anisomem.report.limits import Limits, limits_of
from anisomem.report.table import Table


def main_table(rows: Sequence[Row]) -> Table:
    """What every detector achieves and costs.

    Raises:
        UserError: The rows have other target rates than each other.
    """
    targets_by_case = {row.case: list(row.summary.tpr) for row in rows if row.summary}
    (first, targets), *others = targets_by_case.items()
    if other := next((name for name, own in others if own != targets), None):
        raise UserError(
            f"one table needs equal fpr_targets: {first} has {targets}, {other} has "
            f"{targets_by_case[other]}; name the runs one by one"
        )
    headings = [
        "prompts",
        "model",
        "detector",
        "n",
        "AUC",
        *(f"TPR@{percent(target)}FPR" for target in targets),
        "NFE",
        "s alone",
        "s shared",
    ]
    return Table(
        "Detectors",
        headings,
        [_main_cells(row, len(targets)) for row in rows],
        notes_of(rows),
        above=("model", "prompts"),
        optional=("s shared", "s alone", "NFE", *reversed(headings[5:-3])),
        shorter={"s alone": "s"},
    )


def left_out(all_results: Sequence[Results]) -> list[str]:
    """Which detectors each case does without, and why."""
    notes = []
    for results in all_results:
        by_reason: dict[str, list[str]] = {}
        for reasons in results.config.left_out.values():
            for name, why in reasons.items():
                by_reason.setdefault(why, []).append(name)
        notes += [
            f"{results.name} leaves out {', '.join(names)}: {why}."
            for why, names in by_reason.items()
        ]
    return notes


def rules_table(rows: Sequence[Row]) -> Table:
    """The TPR by the rules of released codes, beside ours, and DeLong's interval of the AUC."""
    targets = next(list(row.summary.tpr) for row in rows if row.summary)
    cells = []
    for row in rows:
        if (summary := row.summary) is None:
            continue  # the main table says why
        line = [row.case, row.model, row.detector, row.n_shown]
        line.append(_interval(summary.auc_delong) if summary.auc_delong else "–")
        for target in targets:
            ours = summary.tpr[target]
            line += [
                f"{ours.value:.3f}" if ours else "–",
                f"{summary.released_tpr[target]:.3f}" if ours else "–",
                f"{summary.strict_tpr[target]:.3f}" if ours else "–",
            ]
        cells.append(line)
    headings = ["prompts", "model", "detector", "n", "AUC, logit-DeLong"]
    for target in targets:
        headings += [f"TPR@{percent(target)}", "nearest FPR", "FPR strictly below"]
    notes = [
        "TPR: the largest with FPR ≤ target. Nearest FPR: the rule of Jeon's, Asthana's and Ren's"
        " codes, which may exceed the target. FPR strictly below: Wen's.",
    ]
    for row in rows:
        if row.summary and (interval := row.summary.auc_delong) and interval.note:
            note = f"{row.case}, logit-DeLong: {interval.note}."
            notes += [note] * (note not in notes)
    return Table("Rules of released codes", headings, cells, notes)


def blocks_table(results: Results) -> Table:
    """AUC against each block of negatives, for each kind of memorization, one prompt a cluster."""
    selections = results.parts()
    notes = ["AUC with 95% intervals as in the main table; fitted detectors are fitted anew."]
    columns, limits = [], Limits()
    keys = [detector.key for detector in results.detectors]
    for name, rows in selections.items():
        try:
            judged = results.judged(rows, targets=())
        except UserError as error:  # a part may be too small for what the whole allows
            columns.append(["–"] * (1 + len(results.detectors)))
            notes.append(f"{name}: {error}")
            continue
        evaluation, cells_of = judged.evaluation, dict.fromkeys(keys, "–")
        for detector, summary in zip(judged.detectors, evaluation.summaries(), strict=True):
            cells_of[detector.key] = interval_text(summary.auc)
            limits.add(name, detector.key, summary.auc)
        notes += [f"{name}, {key}: {reason}." for key, reason in judged.refused.items()]
        counts = f"{evaluation.n_positive}/{evaluation.n_negative}"
        columns.append([counts, *cells_of.values()])
    names = ["memorized/other", *keys]
    cells = [[name, *line] for name, line in zip(names, zip(*columns, strict=True), strict=True)]
    notes += [*terms.of_parts(results.prompts, list(selections)), *limits.notes()]
    return Table(f"Blocks of {results.title}", ["detector", *selections], cells, notes)


def pairs_table(results: Results) -> Table:
    """Every pair of detectors: differences in AUC and TPR, intervals, p values, verdicts."""
    evaluation = results.evaluated
    targets = [t for t in evaluation.targets if evaluation.resolvable(t)]
    pairs = evaluation.comparisons()
    cells = []
    for pair in pairs:
        keys = [results.detectors[pair.a].key, results.detectors[pair.b].key]
        cells.append([*keys, *pair_cells(pair, targets, adjusted=False)])
    headings = ["a", "b", *pair_headings(targets, adjusted=False)]
    least = least_p(results.config.draws, evaluation.resampling.units)
    notes = [
        "Differences on the same prompts, noise and bootstrap draws; p values adjusted by Holm's"
        " method over all pairs of a column. Here a is better or worse where its own paired 95%"
        " interval excludes 0, unadjusted; the figures of pairs and anisomem compare ask for an"
        f" adjusted p below {FAMILY_LEVEL:g} too, and call fewer pairs separable.",
        f"From {results.config.draws:,} draws no p value is below {least:.2g}, which the number of"
        f" pairs, {len(pairs)}, can raise to {min(1, least * len(pairs)):.2g}; draws=N with more"
        " of them goes lower.",
    ]
    if evaluation.clustered:
        notes.append(f"DeLong {CLUSTERED}; believe the bootstrap.")
    return Table(f"Pairs of {results.title}", headings, cells, notes)


def pair_headings(targets: Sequence[float], adjusted: bool) -> list[str]:
    """The headings of what :func:`pair_cells` returns."""
    rule = "" if adjusted else " (unadjusted)"
    headings = ["AUC a − b", "p", "p (DeLong)", f"a is, by AUC{rule}"]
    for name in (f"TPR@{percent(target)}FPR" for target in targets):
        headings += [f"{name} a − b", f"p, {name}", f"a is, by {name}{rule}"]
    return headings


def pair_cells(pair: Comparison, targets: Sequence[float], adjusted: bool) -> list[str]:
    """What a comparison found, in AUC and in TPR at some targets.

    Arguments:
        pair: Two detectors.
        targets: No number is given at those that cannot be resolved.
        adjusted: Whether verdicts must hold after Holm's adjustment, as the p values do.
    """
    cells = [difference_text(pair.auc), f"{pair.holm_p:.2g}"]
    cells.append("–" if pair.delong_holm_p is None else f"{pair.delong_holm_p:.2g}")
    cells.append(pair.auc_verdict if adjusted else pair.auc.verdict)
    for target in targets:
        if target in pair.tpr:
            rate = pair.tpr[target]
            verdict = pair.tpr_verdict(target) if adjusted else rate.verdict
            cells += [difference_text(rate), f"{pair.tpr_holm_p[target]:.2g}", verdict]
        else:
            cells += ["not resolvable", "–", "–"]
    return cells


def costs_table(all_results: Sequence[Results]) -> Table:
    """What every set of components costs, and on what it was measured."""
    cells = []
    for results in all_results:
        for key, cost in results.measured.costs.items():
            using = [d for d in results.configured if d.cost_key == key]
            if not using:  # of detectors that the run had before
                continue
            users, n = [d.name for d in using], using[0].n
            timed = cost if isinstance(cost, TimedCounts) else None
            on = results.measured.timed_on
            cells.append(
                [
                    results.name,
                    results.model,
                    ", ".join(users),
                    str(n),
                    f"{cost.nfe:g}",
                    str(cost.shared_nfe),
                    f"{cost.jvps:g}",
                    "{:.3f} [{:.3f}, {:.3f}]".format(*timed.isolated) if timed else "–",
                    f"{timed.amortised:.3f}" if timed else "–",
                    f"{timed.peak_mb:.0f}" if timed else "–",
                    f"{on['device_name']}, {on['dtype']}" if timed else "–",
                ]
            )
    headings = ["prompts", "model", "detectors", "n", "NFE", "NFE per seed", "JVP", "s alone"]
    headings += ["s shared", "peak MB", "on"]
    notes = [
        "Seconds per ten prompts: median [fastest, slowest] of the repeats, after one to warm up,"
        " all detectors taking turns; s shared: the part of one run of all. NFE and JVP per"
        " prompt; NFE per seed serves all prompts. Peak: the accelerator's memory, or the"
        " process's, model and libraries included."
    ]
    return Table("Costs", headings, cells, notes)


def percent(fraction: float) -> str:
    """0.01 as ``1%``, 0.005 as ``0.5%``."""
    return f"{100 * fraction:g}%"


def comma_separated(records: Sequence[Mapping[str, Any]]) -> str:
    """One line per record, a column per number, unrounded; all records have the same names."""
    names = list(records[0])
    return escape.comma_separated(
        [names, *([record[name] for name in names] for record in records)]
    )


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows unrounded, numbers as numbers; None where a detector could not be scored."""
    names = next(_flat(row, row.summary) for row in rows if row.summary)
    return [_flat(row, row.summary) if row.summary else _unscored(row, names) for row in rows]


def _unscored(row: Row, names: Iterable[str]) -> dict[str, Any]:
    known = {"prompts": row.case, "model": row.model, "detector": row.detector, "n": row.n}
    return {**dict.fromkeys(names), **known, "auc_note": row.refused}


def _main_cells(row: Row, targets: int) -> list[str]:
    cost, timed, summary = row.cost, row.timed, row.summary
    numbers = ["not scored", *["–"] * targets]
    if summary:
        flag = f" {summary.ties.flag}" if summary.ties.flag else ""
        numbers = [interval_text(summary.auc) + flag]
        numbers += [interval_text(value) for value in summary.tpr.values()]
    nfe = f"{cost.nfe:g}" if cost else "–"
    if cost and cost.jvps:
        nfe += f" + {cost.jvps:g} JVP"
    return [
        row.case,
        row.model,
        row.detector,
        row.n_shown,
        *numbers,
        nfe,
        f"{timed.isolated[0]:.3f}" if timed else "–",
        f"{timed.amortised:.3f}" if timed else "–",
    ]


def interval_text(estimate: Estimate | None) -> str:
    """A number with its spread over seeds, where there is one, and its interval."""
    if estimate is None:
        return "not resolvable"
    spread = "" if estimate.seed_std is None else f" ± {estimate.seed_std:.3f}"
    return f"{estimate.value:.3f}{spread} {_interval(estimate.interval)}"


def difference_text(paired: PairedDifference) -> str:
    """Difference and interval, both with their sign, and what limits them."""
    note = f" ({paired.interval.note})" if paired.interval.note else ""
    return f"{paired.difference:+.3f} {_interval(paired.interval, '+')}{note}"


def _interval(interval: Interval, sign: str = "") -> str:
    return f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def numbers(summary: Summary) -> dict[str, Any]:
    """AUC and TPR with intervals and spread over noise seeds, unrounded."""
    values: dict[str, Any] = {}
    statistics = {"auc": summary.auc} | {
        f"tpr_at_fpr_{target:g}": estimate for target, estimate in summary.tpr.items()
    }
    for name, estimate in statistics.items():
        values[name] = estimate and estimate.value
        values[f"{name}_low"] = estimate and estimate.interval.low
        values[f"{name}_high"] = estimate and estimate.interval.high
        values[f"{name}_seed_std"] = estimate and estimate.seed_std
        values[f"{name}_note"] = estimate and "; ".join(limits_of(estimate))
    return values


def _flat(row: Row, summary: Summary) -> dict[str, Any]:
    values: dict[str, Any] = {"prompts": row.case, "model": row.model}
    values |= {"detector": row.detector, "n": row.n}
    values |= numbers(summary)
    for target in summary.tpr:
        values[f"tpr_nearest_fpr_{target:g}"] = summary.released_tpr.get(target)
        values[f"tpr_strictly_below_fpr_{target:g}"] = summary.strict_tpr.get(target)
    delong = summary.auc_delong
    cost, timed = row.cost, row.timed
    isolated = timed.isolated if timed else [None] * 3
    gamma = row.gamma
    return values | {
        "gamma_norm": gamma and gamma.norm,
        "gamma_norm_std": gamma and gamma.norm_std,
        "gamma_cos": gamma and gamma.cos,
        "gamma_cos_std": gamma and gamma.cos_std,
        "gamma_from": gamma and gamma.source,
        "largest_tie": summary.ties.largest,
        "levels": summary.ties.levels,
        "auc_delong_low": delong and delong.low,
        "auc_delong_high": delong and delong.high,
        "nfe_per_prompt": cost and cost.nfe,
        "nfe_per_seed_shared": cost and cost.shared_nfe,
        "jvps_per_prompt": cost and cost.jvps,
        "seconds_per_10_prompts": isolated[0],
        "seconds_per_10_prompts_fastest": isolated[1],
        "seconds_per_10_prompts_slowest": isolated[2],
        "seconds_per_10_prompts_shared": timed and timed.amortised,
        "peak_mb": timed and timed.peak_mb,
    }


def notes_of(rows: Sequence[Row]) -> list[str]:
    """What the brackets mean, and what limits single numbers."""
    notes = [
        "Brackets: 95% intervals, stratified bootstrap over clusters of related prompts."
        " Larger scores mean more memorized; no sign is fitted.",
    ]
    if any(row.summary and row.summary.auc.seed_std is not None for row in rows):
        notes.append("±: standard deviation over noise seeds.")
    if any(row.cost for row in rows):
        both = ((row.key, row.cost) for row in rows if row.cost and row.cost.shared_nfe)
        example = "".join(
            f": {cost.nfe + cost.shared_nfe:g} for {key}, and {cost.nfe:g} here"
            for key, cost in islice(both, 1)
        )
        notes.append(
            "NFE: network evaluations per prompt, beside those without a prompt, which all"
            " prompts share; alone, a prompt costs both (NFE alone in anisomem list detectors"
            f" --long{example})."
        )
    if any(row.timed for row in rows):
        notes.append(
            "s alone: median seconds per 10 prompts, detector alone, in one thread; s shared: its"
            " part of one run of all detectors."
        )
    notes += gammas.notes(rows)
    notes += dict.fromkeys(f"{row.case}: {note}." for row in rows for note in row.notes)
    limits = Limits()
    unresolved: dict[str, None] = {}
    for row in rows:
        if row.summary is None:
            unresolved[f"{row.case}, {row.key}: not scored, {row.refused}."] = None
            continue
        limits.add(f"{row.case}, AUC", row.key, row.summary.auc)
        for target, estimate in row.summary.tpr.items():
            name = f"{row.case}, TPR@{percent(target)}FPR"
            if estimate:
                limits.add(name, row.key, estimate)
            else:
                note = resolution_note(target, row.summary.n_negative)
                unresolved[f"{name}: {note}."] = None
    return [*notes, *unresolved, *limits.notes()]
