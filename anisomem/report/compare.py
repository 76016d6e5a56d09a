"""Some detectors of finished runs against each other, on all prompts and on parts of them.

The tests of a pair are in :mod:`anisomem.evaluation`; pictures of them are in ``pairs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anisomem.benchmark.results import Results
from anisomem.console import progress
from anisomem.detection.base import Detector
from anisomem.errors import UserError, unknown
from anisomem.evaluation import (
    CLUSTERED,
    FAMILY_LEVEL,
    PairedDifference,
    resolution_note,
)
from anisomem.report import escape
from anisomem.report.compared import Compared, at_largest_n, compared
from anisomem.report.table import Table
from anisomem.report.tables import comma_separated, pair_cells, pair_headings, percent
from anisomem.storage import atomic

ALL = "all prompts"


def named(results: Results, names: Sequence[str]) -> list[Detector]:
    """The detectors that a user names: by row (``wen, n=4``), or by name at the largest n.

    Raises:
        UserError: A name that the case has not, or the same row twice.
    """
    rows = {detector.key.replace(" ", ""): detector for detector in results.detectors}
    rows |= {detector.name: detector for detector in at_largest_n(results.detectors)}
    names_by_key: dict[str, str] = {}
    for name in names:
        if (short := name.replace(" ", "")) not in rows:
            for key, why in results.scored.refused.items():
                if short in (key.replace(" ", ""), key.partition(",")[0]):
                    raise UserError(f"{key} cannot be scored on {results.name}: {why}")
            shown = {d.key for d in results.detectors} | {d.name for d in results.detectors}
            raise unknown(f"detector in {results.name}", name, shown)
        if (key := rows[short].key) in names_by_key:
            raise UserError(f"{names_by_key[key]!r} and {name!r} are the same detector, {key!r}")
        names_by_key[key] = name
    return [rows[name.replace(" ", "")] for name in names_by_key.values()]


def named_parts(results: Results) -> dict[str, list[int]]:
    """All prompts and :meth:`Results.named_parts`, name to rows; equal ones once, by all names."""
    names: dict[tuple[int, ...], list[str]] = {}
    for name, rows in {ALL: list(range(len(results.prompts))), **results.parts()}.items():
        names.setdefault(tuple(sorted(rows)), []).append(name)
    return {"; ".join(same): list(rows) for rows, same in names.items()}


def compare(all_results: Sequence[Results], names: Sequence[str], out: Path | None = None) -> str:
    """Compares detectors in every case; the tables as Markdown.

    Arguments:
        all_results: The results of complete cases.
        names: The names that :func:`named` takes.
        out: Where to write the tables as Markdown, LaTeX and unrounded CSV, and pictures.

    Raises:
        UserError: Fewer than two, or as :func:`named` and :func:`compared`.
    """
    if len(set(names)) < 2:
        raise UserError(f"compare needs two detectors or more, got {', '.join(names)}")
    chosen = [named(results, names) for results in all_results]
    text = []
    for results, detectors in zip(all_results, chosen, strict=True):
        by_part, notes = _by_part(results, detectors)
        table = _table(results, by_part, notes)
        text.append(f"{escape.markdown_line(table.title)}\n\n{table.printed()}")
        if out:
            from anisomem.report import pairs, style
            from anisomem.report.colours import colours_of

            path = out / f"compare-{results.name}"
            lines = [
                r for part, shown in by_part.items() for r in records(results.model, part, shown)
            ]
            atomic.write_text(path.with_name(f"{path.name}.md"), table.markdown())
            atomic.write_text(path.with_name(f"{path.name}.tex"), table.latex())
            atomic.write_text(path.with_name(f"{path.name}.csv"), comma_separated(lines))
            first = next(iter(by_part.values()))
            draw = partial(pairs.critical_difference, first, colours_of([results]))
            style.attempt(draw, out / f"critical_difference-{results.name}")
    return "\n".join(text)


def _by_part(
    results: Results, detectors: Sequence[Detector]
) -> tuple[dict[str, Compared], list[str]]:
    """All prompts, then every part that can be judged; and why others cannot."""
    (first, _), *others = named_parts(results).items()
    by_part, notes = {first: compared(results, detectors)}, []
    for name, rows in progress.over(others, results.name, "part"):
        try:
            by_part[name] = compared(results, detectors, rows)
            notes += [f"{name}, {key}: {why}." for key, why in by_part[name].refused.items()]
        except UserError as error:  # a part may be too small for what the whole allows
            notes.append(f"{name}: {error}")
    return by_part, notes


def _table(results: Results, by_part: dict[str, Compared], notes: Sequence[str]) -> Table:
    target, seeds = results.config.fpr_targets[0], len(results.config.seeds)
    rate = f"TPR@{percent(target)}FPR"
    cells, unresolved = [], []
    for part, shown in by_part.items():
        evaluation = shown.evaluation
        counts = f"{evaluation.n_positive}/{evaluation.n_negative}"
        for pair in shown.pairs:
            keys = [shown.detectors[pair.a].key, shown.detectors[pair.b].key]
            cells.append([part, counts, *keys, *pair_cells(pair, [target], adjusted=True)])
        if note := resolution_note(target, evaluation.n_negative):
            unresolved.append(f"{part}, {rate}: {note}.")
        if shown.undecided:
            unresolved.append(f"{part}, {shown.undecided}.")
    first = next(iter(by_part.values()))
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
    if any(shown.evaluation.clustered for shown in by_part.values()):
        explained.append(f"DeLong {CLUSTERED}; believe the bootstrap.")
    parted, found_by = ["part", "memorized/other"], pair_headings([target], adjusted=True)
    difference, p, by_rate = found_by[4:]
    return Table(
        f"Comparison of {results.title}",
        [*parted, "a", "b", *found_by],
        cells,
        [*explained, *(f"{note}." for note in results.notes()), *notes, *unresolved],
        above=parted,
        optional=[found_by[2], p, difference, found_by[1]],
        shorter={by_rate: f"by {rate}"},
    )


def records(model: str, part: str, shown: Compared) -> list[dict[str, Any]]:
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
    name: str, difference: PairedDifference | None, holm_p: float | None, verdict: str | None
) -> dict[str, Any]:
    return {
        f"{name}_difference": difference and difference.difference,
        f"{name}_low": difference and difference.interval.low,
        f"{name}_high": difference and difference.interval.high,
        f"{name}_p": difference and difference.p_value,
        f"{name}_holm_p": holm_p,
        f"{name}_verdict": verdict,
    }
