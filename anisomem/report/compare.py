"""Some detectors of finished runs against each other, on all prompts and on parts of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

from anisomem import progress
from anisomem.benchmark import Case
from anisomem.detection.base import Detector
from anisomem.errors import UserError, unknown
from anisomem.evaluation import (
    CLUSTERED,
    FAMILY_LEVEL,
    Comparison,
    Evaluation,
    PairedDifference,
    effective_clusters,
    enough_draws,
    resolution_note,
)
from anisomem.report import escape
from anisomem.report.table import Table
from anisomem.report.tables import comma_separated, pair_cells, pair_headings, percent
from anisomem.storage import atomic

ALL = "all prompts"


@dataclass(frozen=True)
class Compared:
    """Detectors on some prompts of a case, and every pair of them.

    Attributes:
        name, title: The case's.
        target: False-positive rate of the TPR: the table's first.
        detectors: In the order in which pairs number them.
        evaluation: Of these detectors, from draws enough for a verdict.
        pairs: With p values adjusted over them.
        refused: Detectors that cannot be scored there, and why.
    """

    name: str
    title: str
    target: float
    detectors: Sequence[Detector]
    evaluation: Evaluation
    pairs: Sequence[Comparison]
    refused: Mapping[str, str] = field(default_factory=dict)


def compared(
    case: Case, detectors: Sequence[Detector], rows: Sequence[int] | None = None
) -> Compared:
    """Compares detectors of a case.

    Where the table's bootstrap draws are too few for Holm's method to find any difference among
    so many pairs, more are drawn.

    Arguments:
        case: Finished.
        detectors: Of the case.
        rows: The prompts; all if not given.

    Raises:
        UserError: As :meth:`Case.judged`, or fewer than two can be scored.
    """
    chosen = range(len(case.prompts)) if rows is None else rows
    enough = enough_draws(comb(len(detectors), 2), _units(case, chosen))
    draws = max(case.config.draws, enough)
    judged = case.judged(chosen, detectors, draws)
    if len(judged.detectors) < 2:
        raise UserError("; ".join(f"{key}: {why}" for key, why in judged.refused.items()))
    evaluation, target = judged.evaluation, case.config.fpr_targets[0]
    return Compared(
        case.name,
        case.title,
        target,
        judged.detectors,
        evaluation,
        evaluation.comparisons(),
        judged.refused,
    )


def _units(case: Case, rows: Sequence[int]) -> float:
    """The effective number of clusters of the class that has fewer."""
    prompts = case.prompts.subset(rows)
    labels = prompts.labels == 1
    return min(effective_clusters(prompts.clusters[c]) for c in (labels, ~labels) if c.any())


def at_largest_n(detectors: Sequence[Detector]) -> list[Detector]:
    """Each name once, at its largest n, in the order given."""
    largest: dict[str, Detector] = {}
    for detector in detectors:
        if detector.name not in largest or detector.n > largest[detector.name].n:
            largest[detector.name] = detector
    return list(largest.values())


def named(case: Case, names: Sequence[str]) -> list[Detector]:
    """The detectors that a user names: by row (``wen, n=4``), or by name at the largest n.

    Raises:
        UserError: A name that the case has not, or the same row twice.
    """
    rows = {detector.key.replace(" ", ""): detector for detector in case.detectors}
    rows |= {detector.name: detector for detector in at_largest_n(case.detectors)}
    found: dict[str, str] = {}
    for name in names:
        if (short := name.replace(" ", "")) not in rows:
            for key, why in case.scored.refused.items():
                if short in (key.replace(" ", ""), key.partition(",")[0]):
                    raise UserError(f"{key} cannot be scored on {case.name}: {why}")
            shown = {d.key for d in case.detectors} | {d.name for d in case.detectors}
            raise unknown(f"detector in {case.name}", name, shown)
        if (key := rows[short].key) in found:
            raise UserError(f"{found[key]!r} and {name!r} are the same detector, {key!r}")
        found[key] = name
    return [rows[name.replace(" ", "")] for name in found.values()]


def parts(case: Case) -> dict[str, list[int]]:
    """All prompts and :meth:`Case.selections`, name to rows; equal ones once, by all names."""
    names: dict[tuple[int, ...], list[str]] = {}
    for name, rows in {ALL: list(range(len(case.prompts))), **case.selections()}.items():
        names.setdefault(tuple(sorted(rows)), []).append(name)
    return {"; ".join(same): list(rows) for rows, same in names.items()}


def compare(cases: Sequence[Case], names: Sequence[str], out: Path | None = None) -> str:
    """Compares detectors in every case; the tables as Markdown.

    Arguments:
        cases: Finished.
        names: As of :func:`named`.
        out: Where to write the tables as Markdown, LaTeX and unrounded CSV, and pictures.

    Raises:
        UserError: Fewer than two, or as :func:`named` and :func:`compared`.
    """
    if len(set(names)) < 2:
        raise UserError(f"compare needs two detectors or more, got {', '.join(names)}")
    chosen = [named(case, names) for case in cases]
    text = []
    for case, detectors in zip(cases, chosen, strict=True):
        found, notes = _by_part(case, detectors)
        table = _table(case, found, notes)
        text.append(f"{escape.markdown_line(table.title)}\n\n{table.printed()}")
        if out:
            from anisomem.report import pairs, style

            path = out / f"compare-{case.name}"
            records = [
                r for part, shown in found.items() for r in _records(case.model, part, shown)
            ]
            atomic.write_text(path.with_name(f"{path.name}.md"), table.markdown())
            atomic.write_text(path.with_name(f"{path.name}.tex"), table.latex())
            atomic.write_text(path.with_name(f"{path.name}.csv"), comma_separated(records))
            draw = partial(pairs.critical_difference, next(iter(found.values())))
            style.attempt(draw, out / f"critical_difference-{case.name}")
    return "\n".join(text)


def _by_part(case: Case, detectors: Sequence[Detector]) -> tuple[dict[str, Compared], list[str]]:
    """All prompts, then every part that can be judged; and why others cannot."""
    (first, _), *others = parts(case).items()
    found, notes = {first: compared(case, detectors)}, []
    for name, rows in progress.over(others, case.name, "part"):
        try:
            found[name] = compared(case, detectors, rows)
            notes += [f"{name}, {key}: {why}." for key, why in found[name].refused.items()]
        except UserError as error:  # a part may be too small for what the whole allows
            notes.append(f"{name}: {error}")
    return found, notes


def _table(case: Case, found: dict[str, Compared], notes: Sequence[str]) -> Table:
    target, seeds = case.config.fpr_targets[0], len(case.config.seeds)
    rate = f"TPR@{percent(target)}FPR"
    cells, unresolved = [], []
    for part, shown in found.items():
        evaluation = shown.evaluation
        counts = f"{evaluation.n_positive}/{evaluation.n_negative}"
        for pair in shown.pairs:
            keys = [shown.detectors[pair.a].key, shown.detectors[pair.b].key]
            cells.append([part, counts, *keys, *pair_cells(pair, [target], adjusted=True)])
        if note := resolution_note(target, evaluation.n_negative):
            unresolved.append(f"{part}, {rate}: {note}.")
    first = next(iter(found.values()))
    pairs, drawn = len(first.pairs), first.evaluation.auc_draws.shape[1]
    explained = [
        "Differences on the same prompts, noise and bootstrap draws"
        + (f", means over {seeds} noise seeds" if seeds > 1 else "")
        + f"; brackets: paired 95% intervals from {drawn:,} draws over clusters of related"
        " prompts.",
        f"p values are adjusted by Holm's method over the pairs of a part, here {pairs}, for each"
        " statistic; a is better or worse where the adjusted p is below"
        f" {FAMILY_LEVEL:g}. An interval is not adjusted, and parts are not adjusted for each"
        " other: what one part alone says is a hint.",
        "Fitted weights are fitted anew on every part.",
    ]
    if any(shown.evaluation.clustered for shown in found.values()):
        explained.append(f"DeLong {CLUSTERED}; believe the bootstrap.")
    parted, found_by = ["part", "memorized/other"], pair_headings([target])
    difference, p, by_rate = found_by[4:]
    return Table(
        f"Comparison of {case.title}",
        [*parted, "a", "b", *found_by],
        cells,
        [*explained, *(f"{note}." for note in case.notes()), *notes, *unresolved],
        apart=parted,
        optional=[found_by[2], p, difference],
        shorter={by_rate: f"by {rate}"},
    )


def _records(model: str, part: str, shown: Compared) -> list[dict[str, Any]]:
    """One line per pair, unrounded; nothing where a TPR cannot be resolved."""
    target = shown.target
    lines = []
    for pair in shown.pairs:
        rate = pair.tpr.get(target)
        lines.append(
            {
                "prompts": shown.name,
                "model": model,
                "part": part,
                "memorized": shown.evaluation.n_positive,
                "other": shown.evaluation.n_negative,
                "a": shown.detectors[pair.a].key,
                "b": shown.detectors[pair.b].key,
                **_flat("auc", pair.auc, pair.holm_p, pair.auc_verdict),
                "auc_delong_holm_p": pair.delong_holm_p,
                **_flat(
                    f"tpr_at_fpr_{target:g}",
                    rate,
                    pair.tpr_holm_p.get(target),
                    pair.tpr_verdict(target) if rate else None,
                ),
            }
        )
    return lines


def _flat(
    name: str, found: PairedDifference | None, holm_p: float | None, verdict: str | None
) -> dict[str, Any]:
    return {
        f"{name}_difference": found and found.difference,
        f"{name}_low": found and found.interval.low,
        f"{name}_high": found and found.interval.high,
        f"{name}_p": found and found.p_value,
        f"{name}_holm_p": holm_p,
        f"{name}_verdict": verdict,
    }
