"""Makes a prompt set of a user's file or a hub dataset.

``tables`` reads the rows, ``cells`` what a column holds.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anisomem.datasets import bounded, clusters, labels, layouts, places, tables
from anisomem.datasets.cells import OPTIONAL, clusters_of, empty, optional, texts_of
from anisomem.datasets.prompts import LABELS, PromptSet
from anisomem.datasets.tables import Columns, RawTable, Row
from anisomem.errors import UserError, unknown

UNKNOWN = "unknown"  # what the source of a prompt does not say
COLUMNS = ("id", "prompt", "label", "cluster", "block", "kind", *OPTIONAL)
WRITTEN = ("id", "prompt", "block", "kind", "family")  # texts that end up in other files


@dataclass(frozen=True)
class _List:
    """A path and what it says of its prompts by being given.

    Attributes:
        path: The path of a file, a folder, a pattern or a hub dataset.
        stem: What its prompts are numbered and called by.
        label: The label of all prompts, where the place gives it.
    """

    path: str
    stem: str
    label: str | None = None


def load(
    path: str | None = None,
    memorized: str | None = None,
    others: str | None = None,
    name: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    split: str = "train",
    revision: str | None = None,
    config: str | None = None,
) -> PromptSet:
    """Prompts with labels from one table, or from two lists of prompts.

    A table needs the columns ``prompt`` and ``label`` (words as in
    :data:`anisomem.datasets.labels.WORDS`; prompts labelled partial are left out). It may have
    ``id`` (else the row's number), ``cluster`` (else near-duplicates share one), ``block`` (else
    the file's name), ``kind`` and the columns of :data:`OPTIONAL`; other columns are not read. In
    these a cell may be empty or a key missing: such a prompt is its own cluster, and of unknown
    kind. Published files with other headings are read as they are, see
    :mod:`anisomem.datasets.layouts`.

    Arguments:
        path: A file that ends in .csv (comma, semicolon or tab), .tsv, .jsonl, .ndjson, .json or
            .parquet, all but the last also with .gz behind it; a folder of such files or a
            pattern, ``parts/*.parquet``; or a hub dataset as OWNER/NAME, or its folder.
        memorized, others: Instead of it, two text files with one prompt a line, or two tables.
        name: The name of the set; the file's own if not given.
        columns: The file's name of a column where it is another.
        split, revision, config: Of a hub dataset.

    Raises:
        UserError: No such file or one that cannot be read, a missing or repeated column, an empty
            line, a label that means nothing, or a column of the wrong type; the line is named.
    """
    if path and not (memorized or others):
        lists = [_List(path, places.stem(path))]
    elif memorized and others and not path:
        lists = _two(memorized, others)
    else:
        raise UserError(
            "give either dataset.path=FILE, or dataset.memorized=FILE and dataset.others=FILE"
        )
    named = _named(columns or {})
    rows: list[Row] = []
    present: dict[str, None] = {}
    for some in lists:
        some_rows, has = _rows(some, named, split, revision, config)
        rows += some_rows
        present.update(dict.fromkeys(has))
    return _made(rows, present, lists[0].path, places.stem(lists[0].path), name)


def of_rows(rows: Iterable[Mapping[str, Any]], name: str) -> PromptSet:
    """Prompts with labels of a table in memory, whose columns are those of :func:`load`.

    Arguments:
        rows: Its rows.
        name: The name of the set, which messages call it by, too.

    Raises:
        UserError: What :func:`load` refuses; the row is named.
    """
    table, columns = RawTable(), Columns({column: column for column in COLUMNS})
    for number, cells in enumerate(rows, 1):
        where = f"{name}, row {number}"
        if not table.headings:
            table.headings.update(dict.fromkeys(map(str, cells)))
            table.chosen.update(columns.chosen(list(table.headings), name))
        named = {str(theirs): cell for theirs, cell in cells.items()}
        table.add(where, {ours: named[theirs] for ours, theirs in table.chosen.items()})
    if not table.rows:
        raise UserError(f"{name} has no prompts")
    if lacking := [column for column in ("prompt", "label") if column not in table.chosen]:
        raise UserError(f"{name} lacks columns {', '.join(lacking)}; it has {table.heading()}")
    said = [cells["label"] for _, cells in table.rows]
    labels.require_one_reading(name, table.chosen["label"], said)
    for number, (where, cells) in enumerate(table.rows, 1):
        _settle(where, cells, _List(name, name), number, True)
    return _made(table.rows, dict.fromkeys(["id", *table.chosen]), name, name, name)


def _made(
    rows: Sequence[Row], present: Mapping[str, None], source: str, block: str, name: str | None
) -> PromptSet:
    """The set of some rows."""
    table = _table(rows, present)
    texts, more = table["prompt"], optional(source, table)
    return PromptSet(
        name or block,
        table["id"],
        texts,
        np.array(table["label"], np.int8),
        clusters_of(table["cluster"])
        if "cluster" in table
        else clusters.near_duplicates(texts, more.get("urls")),
        texts_of(table.get("block", [block] * len(texts)), UNKNOWN),
        texts_of(table.get("kind", [""] * len(texts)), UNKNOWN),
        cautions=[
            *labels.left_out([cells["label"] for _, cells in rows]),
            *_contradictions(texts, table["label"]),
        ],
        **more,
    )


def texts(path: str) -> list[str]:
    """The prompts of a file without regard to labels, but those that a table calls memorized.

    Raises:
        UserError: What :func:`load` refuses.
    """
    rows, _ = _rows(_List(path, places.stem(path), LABELS[0]), {}, "train", None, None, False)
    return [cells["prompt"] for _, cells in rows if cells["label"] == 0]


def _two(memorized: str, others: str) -> list[_List]:
    """Two lists, told apart where their files have one name."""
    given = [(path, places.stem(path)) for path in (memorized, others)]
    if os.path.realpath(memorized) == os.path.realpath(others):
        raise UserError(f"dataset.memorized and dataset.others are one file, {memorized!r}")
    same = given[0][1] == given[1][1]
    return [
        _List(path, f"{stem}-{place}" if same else stem, label)
        for (path, stem), place, label in zip(
            given, ("memorized", "others"), reversed(LABELS), strict=True
        )
    ]


def _named(columns: Mapping[str, str | None]) -> dict[str, str]:
    """The columns that have another name in the file.

    Raises:
        UserError: No column of ours.
    """
    if not isinstance(columns, Mapping):
        raise UserError(
            f"dataset.columns maps our names to the file's, got {columns!r}; write "
            "dataset.columns.prompt=NAME"
        )
    for column, given in columns.items():
        if column not in COLUMNS:
            raise unknown("column", column, COLUMNS)
        if given is not None and not isinstance(given, str):
            raise UserError(f"dataset.columns.{column} must be a heading, got {given!r}")
    return {column: given for column, given in columns.items() if given is not None}


def _rows(
    some: _List,
    named: Mapping[str, str],
    split: str,
    revision: str | None,
    config: str | None,
    strict: bool = True,
) -> tuple[list[Row], list[str]]:
    """The rows of a list with settled labels, ids and blocks, and the columns that it has.

    Arguments:
        strict: Whether a label that contradicts the place is refused; else it is taken.
    """
    if some.label and not places.is_table(places.expanded(some.path)) and _is_file(some.path):
        table = _lines(places.expanded(some.path))
    else:
        table = _tabular(some, named, split, revision, config)
    for number, (where, cells) in enumerate(table.rows, 1):
        _settle(where, cells, some, number, strict)
    return table.rows, ["block" if some.label else "id", "id", *table.chosen]


def _is_file(path: str) -> bool:
    """Whether a list is to be read line by line: a folder or a pattern has tables."""
    return not os.path.isdir(places.expanded(path)) and not (
        set("*?[") & set(path) and not os.path.lexists(path)
    )


def _lines(file: Path) -> RawTable:
    """One prompt a line."""
    table = RawTable(chosen={"prompt": "prompt"})
    for number, line in enumerate(bounded.lines(file), 1):
        if number == 1 and heads(line):
            raise UserError(
                f"{file}, line 1 is no prompt but a heading or JSON: {line[:40]!r}; a table's "
                f"name ends in {places.FORMATS}"
            )
        table.add(f"{file}, line {number}", {"prompt": line})
    if not table.rows:
        raise UserError(f"{file} has no prompts")
    return table


def heads(line: str) -> bool:
    """Whether a line is one of a table."""
    cells = {cell.strip().strip('"').lower() for cell in re.split(r"[,;\t]", line)}
    known = {"prompt", "prompts", "caption", "captions"}
    return line.lstrip().startswith('{"') or (
        bool(cells & known) and cells <= known | {*COLUMNS, "url", "index", "text", "type", ""}
    )


def _tabular(
    some: _List,
    named: Mapping[str, str],
    split: str,
    revision: str | None,
    config: str | None,
) -> RawTable:
    """The rows of a table with the columns that count.

    Raises:
        UserError: No rows, or a column that is not there.
    """
    needed = ["prompt"] if some.label else ["prompt", "label"]
    names = {column: named.get(column, column) for column in COLUMNS}
    columns = Columns(names, frozenset({*needed, *named}))
    files = places.files(some.path)
    if files is None:
        table = tables.hub(str(places.expanded(some.path)), columns, split, revision, config)
    elif config or revision or split != "train":
        raise UserError(f"{some.path} is no hub dataset: it has no split, revision or config")
    else:
        table = tables.read(files, columns)
    lacking = [names[c] for c in needed if c not in table.chosen and c not in named]
    if lacking == ["label"] and (known := layouts.known(table.headings)):
        raise UserError(
            f"{some.path} is {known}, which says of no prompt whether it is memorized; give"
            " dataset.memorized=FILE and dataset.others=FILE in place of dataset.path"
        )
    if lacking:
        raise UserError(
            f"{some.path} lacks columns {', '.join(lacking)}; it has {table.heading()} "
            f"({_override(table, needed)} names another)"
        )
    if absent := [given for column, given in named.items() if column not in table.chosen]:
        raise UserError(f"{some.path}: no column named {absent[0]!r}; it has {table.heading()}")
    if not table.rows:
        raise UserError(f"{some.path} has no prompts")
    for where, cells in table.rows:
        if lacking := [names[column] for column in needed if column not in cells]:
            raise UserError(f"{where} lacks {', '.join(lacking)}")
    if "label" in table.chosen:
        said = [cells.get("label") for _, cells in table.rows]
        labels.require_one_reading(some.path, table.chosen["label"], said)
    return table


def _override(table: RawTable, needed: Sequence[str]) -> str:
    """What to type for the columns that are not found, with a heading that may be meant."""
    lacking = [column for column in needed if column not in table.chosen]
    usual = [h for h in table.headings if h.lower() in ("caption", "captions", "text", "prompts")]
    return " ".join(
        f"dataset.columns.{column}={usual[0] if usual and column == 'prompt' else 'NAME'}"
        for column in lacking
    )


def _settle(where: str, cells: dict[str, Any], some: _List, number: int, strict: bool) -> None:
    """Checks a row, and says what it leaves open.

    Raises:
        UserError: A prompt that is none, a label that means nothing or contradicts the place.
    """
    cells["prompt"] = prompt_of(where, cells["prompt"])
    for column in WRITTEN:
        require_text(where, column, cells.get(column))
    if empty(cells.get("id")):
        cells["id"] = f"{some.stem}-{number}"
    if some.label:
        cells.setdefault("block", some.stem)
        cells["label"] = _label_of_place(where, cells.get("label"), some.label, strict)
    elif empty(cells["label"]):
        raise UserError(f"{where}: no label; expected {labels.EXPECTED}")
    else:
        cells["label"] = labels.meaning(where, cells["label"])


def prompt_of(where: str, cell: object) -> str:
    """The prompt in a cell.

    Raises:
        UserError: It holds none, or something else.
    """
    if empty(cell):
        raise UserError(f"{where}: empty prompt")
    if not isinstance(cell, str):
        what = "a list" if isinstance(cell, list | tuple) else f"{str(cell)[:40]!r}"
        more = "; a row has one prompt" * isinstance(cell, list | tuple)
        raise UserError(f"{where}: expected a text as prompt, got {what}{more}")
    return cell


def require_text(where: str, column: str, cell: object) -> None:
    """Checks that a text can be written to files.

    Raises:
        UserError: It holds half a character, or NUL.
    """
    try:
        plain = "\0" not in str(cell).encode().decode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])[1:-1]
        raise UserError(f"{where}: {column} has half a character, {half}") from None
    if not plain:
        raise UserError(f"{where}: {column} has a NUL character")


def _label_of_place(where: str, cell: object, place: str, strict: bool) -> int | None:
    """What the place says, unless the row itself is settled otherwise."""
    expected = labels.meaning(where, place)
    try:
        own = expected if empty(cell) else labels.meaning(where, cell)
    except UserError:  # a column of that name about something else
        return expected
    if strict and own is not None and own != expected:
        raise UserError(f"{where} is labelled {str(cell)!r}, and its file is given as {place}")
    return own


def _table(rows: Sequence[Row], present: Mapping[str, None]) -> dict[str, list[Any]]:
    """The columns of all rows with a settled label.

    Raises:
        UserError: A repeated id, with the line.
    """
    seen: dict[str, str] = {}
    for where, cells in rows:
        key = cells["id"] = str(cells["id"])
        if key in seen:
            raise UserError(f"{where} repeats an id of {seen[key]}: {key!r}; ids are unique")
        seen[key] = where
    kept = [cells for _, cells in rows if cells["label"] is not None]
    return {column: [cells.get(column) for cells in kept] for column in (*present, "label")}


def _contradictions(texts: Sequence[str], values: Sequence[int]) -> list[str]:
    """A caution where one text has both labels; blanks and capitals do not count."""
    said = {(" ".join(text.split()).casefold(), v) for text, v in zip(texts, values, strict=True)}
    both = sum(count > 1 for count in Counter(text for text, _ in said).values())
    if not both:
        return []
    return [f"{both} text{'s' * (both > 1)} labelled both memorized and not memorized"]
