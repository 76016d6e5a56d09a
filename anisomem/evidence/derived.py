"""What a packet has for people, all of it computed from its rows alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from anisomem.benchmark import gallery
from anisomem.benchmark.case import with_distinct_names
from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import MEASURED, Results
from anisomem.errors import UserError
from anisomem.evidence import reading
from anisomem.evidence.digits import Sheet
from anisomem.evidence.rows import GALLERY, RUNS, SCANS
from anisomem.evidence.stated import Stated
from anisomem.report import across, scores, tables
from anisomem.report.card import card
from anisomem.report.figures import compared_of
from anisomem.report.report import further, headline
from anisomem.run.base import Run
from anisomem.scan import pictures
from anisomem.scan.found import Found
from anisomem.scan.written import clusters_of, distinct, markdown, ordinary

README = "README.md"
ABOUT = """\
# An evidence packet of anisomem

{what}. `anisomem verify` on this file computes every number of its tables again from its rows,
without the model, and says what it cannot check.

{files}

{hidden}Numbers of CSV files have six significant digits. Larger scores mean more memorized.
"""
OF_RUNS = """\
- `table.md`, `table.csv`: what every detector achieves; `more.md`: further tables
- `scores.csv`: every prompt with its scores and ranks
- `runs/`: each run's settings, prompts with labels, identity and recorded components"""
OF_SCANS = """\
- `scans/*/scan.md`: what stands out; `scan.csv`: every row with scores, p, q and flag
- `scans/*/calibration.csv`: the ordinary prompts that it is compared with
- `scans/*/`: settings, prompts, identity and recorded components"""
HIDDEN = """\
Prompts and ids are hidden: in place of each stands its HMAC-SHA256 under a salt that is not here.
Whoever made the packet has the salt, and can show with it that a row is of a prompt.

"""


@dataclass(frozen=True)
class Derived:
    """What follows from a packet's rows.

    Attributes:
        files: The packet's files for people, by name.
        runs: What its manifest says of each run.
        unchecked: What does not follow from the rows, a line each.
        rows: How many prompts have scores.
        unfit: Files of pictures that are not those that the settings ask for.
        card: What the ``table.json`` of these runs has; empty of scans.
    """

    files: Mapping[str, str | Sheet]
    runs: Sequence[Mapping[str, Any]]
    unchecked: Sequence[str]
    rows: int
    unfit: Sequence[str]
    card: Mapping[str, Any] = field(default_factory=dict)


def derived(folder: Path, redacted: bool) -> Derived:
    """Everything that follows from the rows of a packet.

    Arguments:
        folder: Where its files lie.
        redacted: Whether its prompts are hidden.

    Raises:
        UserError: The rows are damaged, or not of one run.
    """
    runs, scans = (_below(folder / name) for name in (RUNS, SCANS))
    if bool(runs) == bool(scans):
        raise UserError(f"{folder} has no run and no scan, or both; a packet is of one kind")
    return _of_runs(folder, runs, redacted) if runs else _of_scans(scans, redacted)


def _below(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _of_runs(folder: Path, places: Sequence[Path], redacted: bool) -> Derived:
    every = [reading.of_run(place, redacted) for place in places]
    for results, case in zip(every, with_distinct_names(one.case for one in every), strict=True):
        results.name, results.title = case.name, case.title
    rows = [row for results in every for row in results.table]
    table, *beside = headline(every, rows)
    more = [made for make in further(every, rows, beside).values() if (made := make())]
    compared = [one for results in every if (one := compared_of(results))]
    if len(compared) == len(every) > 1:
        more = [across.table(across.across(compared)), *more]
    records = tables.records(rows)
    files: dict[str, str | Sheet] = {
        README: _about("Finished runs", OF_RUNS, redacted),
        "table.md": table.markdown(),
        "table.csv": Sheet(list(records[0]), [list(one.values()) for one in records]),
        "more.md": "\n".join(one.section() for one in more),
        "scores.csv": _sheet(scores.frame(every)),
    }
    if any(len(results.config.seeds) > 1 for results in every):
        files["scores-by-seed.csv"] = _sheet(scores.by_seed(every))
    unchecked = [line for results in every for line in _unchecked(results, redacted)]
    return Derived(
        files,
        [_said(one.case, one.measured, len(one.case.prompts)) for one in every],
        unchecked,
        sum(len(results.prompts) for results in every),
        [
            f"{RUNS}/{place.name}/{GALLERY}"
            for place, results in zip(places, every, strict=True)
            if os.path.lexists(place / GALLERY) and gallery.read(results) is None
        ],
        {"cases": [card(results) for results in every], "rows": records},
    )


def _of_scans(places: Sequence[Path], redacted: bool) -> Derived:
    files: dict[str, str | Sheet] = {README: _about("Finished scans", OF_SCANS, redacted)}
    said, total, unchecked, unfit = [], 0, [], []
    for place in places:
        found, cluster = reading.of_scan(place, redacted)
        listed = found.scan.listed
        own = clusters_of(found) if cluster is None else cluster
        rows = distinct(found, own).take(pa.array(listed.rows))
        rows = rows.add_column(0, "id", pa.array(listed.ids, pa.string()))
        name = f"{SCANS}/{place.name}"
        files[f"{name}/scan.csv"] = _sheet(rows.to_pandas(integer_object_nulls=True))
        files[f"{name}/calibration.csv"] = _sheet(ordinary(found).to_pandas())
        files[f"{name}/scan.md"] = markdown(found)
        measured = Measured.read(place / MEASURED)
        said.append(_said(found.scan, measured, len(listed.ids)))
        unchecked += _of_scan(found, redacted)
        if os.path.lexists(place / pictures.FILE) and pictures.read(found) is None:
            unfit.append(f"{name}/{pictures.FILE}")
        total += len(listed.ids)
    return Derived(files, said, unchecked, total, unfit)


def _about(what: str, files: str, redacted: bool) -> str:
    return ABOUT.format(what=what, files=files, hidden=HIDDEN * redacted)


def _sheet(frame: pd.DataFrame) -> Sheet:
    cells = frame.astype(object).where(frame.notna(), None)
    return Sheet(list(frame.columns), [[_plain(v) for v in row] for row in cells.to_numpy()])


def _plain(value: Any) -> Any:
    """A number of numpy's as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _said(run: Run[Any], measured: Measured, rows: int) -> dict[str, Any]:
    """What a manifest says of a run: which it is, of which weights, made with which packages."""
    made = measured.provenance
    kept = ("repository", "revision", "variant", "weights", "baseline_model")
    return {
        "folder": run.folder.name,
        "prompts": run.prompts.name,
        "rows": rows,
        "model": run.model,
        "identity": run.identity,
        "prompts_sha256": run.content["prompts"],
        "model_identity": run.content["model"],
        "weights": {name: made[name] for name in kept if made.get(name) is not None},
        "packages": made.get("packages", {}),
        "git_commit": made.get("git_commit"),
    }


def _unchecked(results: Results, redacted: bool) -> list[str]:
    """What does not follow from a run's rows."""
    lines, content, name = [], results.case.content, results.name
    stated = [one.key for one in results.configured if isinstance(one, Stated)]
    if stated:
        lines.append(
            f"{name}: the scores of {', '.join(stated)}, as they are of code that is not this"
            " package's or of the prompts' texts; what follows from the scores was computed"
        )
    if content.get("sources"):
        lines.append(f"{name}: the code of {', '.join(content['sources'])}, named by its sha256")
    if results.measured.costs:
        lines.append(f"{name}: costs and seconds, which were measured once")
    if os.path.lexists(results.folder / GALLERY):
        lines.append(f"{name}: the gallery's pictures, which only the model makes again")
    return lines


def _of_scan(found: Found, redacted: bool) -> list[str]:
    """What does not follow from a scan's rows."""
    lines, name = [], found.scan.name
    if redacted:
        lines.append(f"{name}: near-duplicate clusters, as they are of the prompts' texts")
    if found.scan.listed.unread:
        lines.append(f"{name}: the rows that could not be read")
    if found.scan.config.pictures:
        lines.append(
            f"{name}: how near training pictures come to generated ones, which is not packed"
        )
    if os.path.lexists(found.scan.folder / pictures.FILE):
        lines.append(f"{name}: the pictures, which only the model makes again")
    return lines
