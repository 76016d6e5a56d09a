"""What every prompt scored: the file of a run, and ``anisomem scores``.

Scores are those that the table is made of: larger is more memorized, and of several noise seeds
it is their mean. Rank 1 is the largest score of all prompts of a case; equal scores share the
smallest of their ranks.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from anisomem.benchmark.gallery import headline
from anisomem.benchmark.results import Results
from anisomem.datasets.scored import RANK
from anisomem.detection.base import Detector
from anisomem.errors import UserError, one_of
from anisomem.report import escape
from anisomem.report.compare import named
from anisomem.report.table import Table
from anisomem.storage import atomic

LABELS = ("other", "memorized")
FAILED = "failure"  # column: why a prompt has none; only where one has
SUFFIXES = (".csv", ".parquet")
SEARCHED = 10_000  # prompts among which the nearest to a mistyped one is looked for


@dataclass(frozen=True)
class Filter:
    """Which prompts are shown.

    Attributes:
        text: A part of the prompt or its id, in any case; all where None.
        label: One of :data:`LABELS`; both where None.
        top: How many, the largest scores of the first detector first; all where None.
    """

    text: str | None = None
    label: str | None = None
    top: int | None = None


def frame(all_results: Sequence[Results], names: Sequence[str] = ()) -> pd.DataFrame:
    """A row for every prompt, with score and rank of each detector.

    A detector's column has the name of its row in the table, such as ``wen, n=4``, and its rank's
    column the same with ``, rank``. A prompt that the model failed on has none, and the reason.

    Arguments:
        cases: The finished cases.
        names: Detectors as ``anisomem compare`` takes them; all if not given.

    Raises:
        UserError: What :func:`anisomem.report.compare.named` refuses.
    """
    return pd.concat(
        [_frame(results, _detectors(results, names)) for results in all_results], ignore_index=True
    )


def _detectors(results: Results, names: Sequence[str]) -> Sequence[Detector]:
    return named(results, names) if names else results.detectors


def _frame(results: Results, detectors: Sequence[Detector]) -> pd.DataFrame:
    planned = results.case.prompts
    columns: dict[str, object] = {
        "prompts": results.name,
        "model": results.model,
        "id": list(planned.ids),
        "prompt": list(planned.texts),
        "label": [LABELS[int(label)] for label in planned.labels],
        "block": list(planned.blocks),
    }
    if results.failures:
        columns[FAILED] = [results.failures.get(i) for i in planned.ids]
    table = pd.DataFrame(columns)
    judged = [i not in results.failures for i in planned.ids]
    for detector in detectors:
        if (scores := results.scores.get(detector.key)) is None:
            continue
        mean = np.full(len(planned), np.nan)
        mean[judged] = scores.mean(axis=0)
        table[detector.key] = mean
        ranks = pd.Series(mean[judged]).rank(method="min", ascending=False)
        table[detector.key + RANK] = pd.array([pd.NA] * len(planned), dtype="Int64")
        table.loc[judged, detector.key + RANK] = ranks.astype(np.int64).to_numpy()
    return table


def by_seed(all_results: Sequence[Results]) -> pd.DataFrame:
    """A row for every prompt, detector and noise seed."""
    parts = [
        pd.DataFrame(
            {
                "prompts": results.name,
                "model": results.model,
                "id": list(results.prompts.ids),
                "detector": detector.name,
                "n": detector.n,
                "seed": seed,
                "score": results.scores[detector.key][s],
            }
        )
        for results in all_results
        for detector in results.detectors
        if detector.key in results.scores
        for s, seed in enumerate(results.config.seeds)
    ]
    return pd.concat(parts, ignore_index=True)


def comma_separated(scores: pd.DataFrame) -> str:
    """The scores as CSV, unrounded; empty where a prompt has none."""
    cells = scores.astype(object).where(scores.notna(), None)
    return escape.comma_separated([list(scores.columns), *cells.itertuples(index=False)])


def write(scores: pd.DataFrame, path: Path) -> None:
    """Writes CSV or parquet, by the path's suffix; texts in parquet are verbatim."""
    if path.suffix == ".csv":
        atomic.write_text(path, comma_separated(scores))
    else:
        buffer = io.BytesIO()
        scores.to_parquet(buffer, index=False, compression="zstd")
        atomic.write_bytes(path, buffer.getvalue())


def scores(
    all_results: Sequence[Results], names: Sequence[str], chosen: Filter, out: Path | None = None
) -> str:
    """Prompts with their scores, the largest first, as a terminal shows them; or into a file.

    Arguments:
        cases: The finished cases.
        names: The names as of :func:`frame`; if not given the metric or the first detector is
            printed, and all are written.
        chosen: Which prompts.
        out: Where to write them instead.

    Raises:
        UserError: An unknown detector or label, no such prompt, or a file of another kind.
    """
    if out and out.suffix not in SUFFIXES:
        raise UserError(f"--out writes {' or '.join(SUFFIXES)}, got {str(out)!r}")
    if chosen.label is not None:
        one_of("label", chosen.label, LABELS)
    shown = names or ([] if out else [headline(all_results[0].detectors).key])
    rows = _filtered(frame(all_results, shown), chosen)
    if out:
        write(rows, out)
        return f"{out}: {len(rows)} prompt{'s' * (len(rows) != 1)}"
    return _table(all_results, rows).printed()


def _filtered(scores: pd.DataFrame, chosen: Filter) -> pd.DataFrame:
    if chosen.text is not None:
        wanted = chosen.text.casefold()
        has = scores["prompt"].str.casefold().str.contains(wanted, regex=False)
        kept = scores[has | (scores["id"].str.casefold() == wanted)]
        if kept.empty:
            nearest = difflib.get_close_matches(chosen.text, scores["prompt"].head(SEARCHED), n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise UserError(f"no prompt contains {chosen.text!r} or has it for an id{hint}")
        scores = kept
    if chosen.label is not None:
        scores = scores[scores["label"] == chosen.label]
    if ranks := [column for column in scores.columns if column.endswith(RANK)]:
        order = scores["prompts"].map(
            {name: i for i, name in enumerate(scores["prompts"].unique())}
        )
        keys = pd.DataFrame({"case": order, "rank": scores[ranks[0]]})
        scores = scores.loc[keys.sort_values(["case", "rank"], kind="stable").index]
    return scores if chosen.top is None else scores.groupby("prompts", sort=False).head(chosen.top)


def _table(all_results: Sequence[Results], scores: pd.DataFrame) -> Table:
    keys = [column.removesuffix(RANK) for column in scores.columns if column.endswith(RANK)]
    rows = [
        [
            *(line[name] for name in ("prompts", "model", "label", "block", "id")),
            *(_cell(line[key], line[key + RANK]) for key in keys),
            escape.plain(line["prompt"]),
        ]
        for line in scores.to_dict("records")
    ]
    notes = [
        "Score, and in brackets its rank among all prompts of the run, 1 being the largest. Larger"
        " scores mean more memorized; no sign is fitted."
    ]
    for results in all_results:
        if len(seeds := results.config.seeds) > 1:
            notes.append(f"{results.name}: mean over noise seeds {', '.join(map(str, seeds))}.")
        if results.failures:
            notes.append(
                f"{results.name}: – where the model failed, {len(results.failures)} prompts."
            )
    return Table(
        "Scores",
        ["prompts", "model", "label", "block", "id", *keys, "prompt"],
        rows,
        notes,
        above=("model", "prompts"),
        optional=("block", "id"),
    )


def _cell(score: float, rank: int) -> str:
    return "–" if pd.isna(score) else f"{score:.4g} ({rank})"
