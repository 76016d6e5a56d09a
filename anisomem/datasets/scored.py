"""Prompts with labels and the scores that somebody else's detectors gave them, from a table.

Rows are read in ``tables``, within bounds, as those of prompts are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from anisomem.datasets import bounded, clusters, files, labels, tables
from anisomem.datasets.cells import clusters_of, empty, texts_of
from anisomem.datasets.files import COLUMNS, require_text
from anisomem.datasets.prompts import PromptSet, plain_name
from anisomem.datasets.tables import Columns, RawTable
from anisomem.errors import UserError, unknown

#: Columns that are read besides scores; as ``anisomem scores`` writes them, too.
READ = ("label", "id", "prompt", "cluster", "block", "kind", "prompts", "model")
#: Columns that are no scores: what prompts have in other files, and what the same command writes.
ASIDE = frozenset((*READ, *COLUMNS, "failure", "seed"))
RANK = ", rank"  # behind a detector's name, where that command writes the column of its rank
INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # what pandas calls the rows' numbers
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
MOST_COLUMNS = 10_000  # of a table


@dataclass(frozen=True)
class Scored:
    """What a table of scores says.

    Attributes:
        prompts: Its N prompts.
        scores: Name of each score to its N numbers.
        model: Whose scores they are, "" where the table does not say.
        clustered: Whether it says which prompts belong together, or has texts that do.
    """

    prompts: PromptSet
    scores: Mapping[str, Sequence[float]]
    model: str
    clustered: bool


def load(file: Path, names: Sequence[str] = ()) -> Scored:
    """A table of scores.

    It needs a column ``label`` (words as in :data:`anisomem.datasets.labels.WORDS`, or ``other``)
    and one of scores; it may have ``id``, ``prompt`` and ``cluster`` (without, near-duplicates
    among the prompts share one), ``block``, ``kind``, ``prompts`` and ``model``.

    Arguments:
        file: As of :func:`anisomem.datasets.files.load`, .csv or another table.
        names: The columns of scores; without any all that mean nothing else.

    Raises:
        UserError: No such table, no column of labels or scores, a label that means nothing, a
            score that is no number, or several runs in one table; the line is named.
    """
    bounded.require_file(file)
    if bounded.suffix(file) not in tables.READERS:
        raise UserError(f"{file} should end in {', '.join(tables.READERS)}")
    headings = [heading.strip() for heading in _headings(file)]
    if len(headings) > MOST_COLUMNS:
        raise UserError(f"{file} has {len(headings):,} columns; expected labels and scores")
    chosen = _score_columns(file, headings, names)
    wanted = {name: name for name in READ} | {f"score {name}": name for name in chosen}
    table = tables.read([file], Columns(wanted, frozenset(READ)))
    if "label" not in table.chosen:
        raise UserError(
            f"{file} has no column label, in which 1 is memorized; it has {table.heading()}"
        )
    if not table.rows:
        raise UserError(f"{file} has no rows")
    said = [cells.get("label") for _, cells in table.rows]
    labels.require_one_reading(str(file), table.chosen["label"], said)
    return _scored(file, table, chosen)


def _headings(file: Path) -> Sequence[str]:
    """The headings of a table, of which no cell is kept."""
    known = Columns({name: name for name in READ}, frozenset(READ))  # they tell the delimiter
    return list(tables.read([file], known).headings)


def _score_columns(file: Path, headings: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of scores.

    Raises:
        UserError: There is none, or not one that is named.
    """
    if names:
        for name in names:
            if name.lower() == READ[0]:
                raise UserError(f"{file}: {name!r} is the labels, which are no scores")
            if name not in headings:
                raise unknown(f"column in {file}", name, headings)
        return list(dict.fromkeys(names))
    chosen = [h for h in headings if h.lower() not in ASIDE and not INDEX.fullmatch(h)]
    chosen = [heading for heading in chosen if not heading.endswith(RANK)]
    for heading in chosen:  # a plural would be taken for scores, and its meaning be lost
        if (meant := heading.lower().removesuffix("s")) in READ:
            raise UserError(
                f"{file} has a column {heading!r}, which is called {meant!r}; name the columns of"
                " scores if it is one (--score NAME)"
            )
    if not chosen:
        has = f"has {', '.join(headings[: tables.SHOWN])}" if any(headings) else "is empty"
        raise UserError(
            f"{file} has no column of scores, of which larger ones mean more memorized; it {has}"
        )
    return chosen


def _scored(file: Path, table: RawTable, chosen: Sequence[str]) -> Scored:
    """The rows with a settled label."""
    rows: list[dict[str, Any]] = []
    settled: list[int | None] = []
    seen: dict[str, str] = {}
    for number, (where, cells) in enumerate(table.rows, 1):
        settled.append(label := label_of(where, cells.get("label")))
        key = f"{bounded.stem(file)}-{number}" if empty(cells.get("id")) else str(cells["id"])
        text = key if empty(cells.get("prompt")) else str(cells["prompt"])
        for column, cell in {**cells, "id": key, "prompt": text}.items():
            require_text(where, column, cell)
        if key in seen:
            raise UserError(f"{where} repeats an id of {seen[key]}: {key!r}; ids are unique")
        seen[key] = where
        scores = {name: _number(where, name, cells.get(f"score {name}")) for name in chosen}
        if label is not None:
            words = "" if empty(cells.get("prompt")) else text
            own = {"id": key, "prompt": text, "words": words, "label": label, "scores": scores}
            rows.append({**cells, **own})
    texts = [row["prompt"] for row in rows]
    return Scored(
        PromptSet(
            _of_one(file, "prompts", rows) or plain_name(bounded.stem(file)),
            [row["id"] for row in rows],
            texts,
            np.array([row["label"] for row in rows], np.int8),
            _clusters(table, rows),
            _texts(rows, "block", bounded.stem(file)),
            _texts(rows, "kind", ""),
            cautions=labels.left_out(settled),
        ),
        {name: [row["scores"][name] for row in rows] for name in chosen},
        _of_one(file, "model", rows),
        bool({"cluster", "prompt"} & set(table.chosen)),
    )


def label_of(where: str, cell: object) -> int | None:
    """1, 0, or None for a prompt that is left out; ``other`` is what our own tables write for 0.

    Raises:
        UserError: It means nothing.
    """
    if empty(cell):
        raise UserError(f"{where}: no label; expected {labels.EXPECTED}")
    return 0 if labels.word(cell) == "other" else labels.meaning(where, cell)


def _number(where: str, name: str, cell: object) -> float:
    """A score.

    Raises:
        UserError: It is none.
    """
    if empty(cell):
        raise UserError(f"{where}: no score {name!r}; score this prompt too, or leave out its row")
    number = math.nan
    if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
        with suppress(OverflowError):  # of an integer that no float holds
            number = float(cell)
    elif isinstance(cell, str) and NUMBER.fullmatch(cell):
        number = float(cell)
    if not math.isfinite(number):
        shown = repr(str(cell)[:40])
        raise UserError(
            f"{where}: the score {name!r} is {shown}, expected a finite number; --score=COLUMN "
            "names the columns of scores"
        )
    return number


def _clusters(table: RawTable, rows: Sequence[dict[str, Any]]) -> Any:
    if "cluster" in table.chosen:
        return clusters_of([row.get("cluster") for row in rows])
    if "prompt" in table.chosen:
        return clusters.near_duplicates([row["words"] for row in rows])
    return np.arange(len(rows), dtype=np.int64)


def _texts(rows: Sequence[dict[str, Any]], column: str, default: str) -> list[str]:
    return texts_of([row.get(column, default) for row in rows], files.UNKNOWN)


def _of_one(file: Path, column: str, rows: Sequence[dict[str, Any]]) -> str:
    """What a column says of all rows, "" where it says nothing.

    Raises:
        UserError: Rows say different things.
    """
    said = list(dict.fromkeys(str(r[column]) for r in rows if not empty(r.get(column))))
    if len(said) > 1:
        raise UserError(
            f"{file} has the {column} {said[0][:40]!r} and {said[1][:40]!r}, and a table of "
            "scores is of one; give a file for each"
        )
    return plain_name(said[0]) if said else ""
