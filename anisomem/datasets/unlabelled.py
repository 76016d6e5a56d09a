"""Prompts of which nobody has said whether they are memorized: a user's captions.

A row that cannot be read is listed and costs no other. Labelled sets are read in ``files``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anisomem.datasets import bounded, labels, places, tables
from anisomem.datasets.cells import empty
from anisomem.datasets.files import heads, prompt_of, require_text
from anisomem.datasets.prompts import PromptSet, plain_name
from anisomem.datasets.scored import label_of
from anisomem.datasets.tables import READERS, ROWS, Columns, RawTable
from anisomem.errors import UserError, unknown

COLUMNS = ("id", "prompt")
#: Headings that prompts have elsewhere, taken where none is called prompt.
USUAL = ("caption", "captions", "text", "prompts")


@dataclass(frozen=True)
class Unlabelled:
    """Rows of prompts in their order; equal prompts are one text.

    Attributes:
        name: What the set is called.
        ids: The name of every row, ``[R]``; the file's own, which may repeat.
        rows: The text of every row, an index into ``texts``; ``[R]``.
        texts: The distinct prompts, verbatim, in the order of their first rows; ``[N]``.
        unread: The rows that cannot be read, where they stand and why.
        labelled: How many rows have a label, which is not read.
        memorized: How many rows are left out, as they are labelled memorized.
    """

    name: str
    ids: Sequence[str]
    rows: npt.NDArray[np.int64]
    texts: Sequence[str]
    unread: Sequence[str] = ()
    labelled: int = 0
    memorized: int = 0

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """How many rows every text has, ``[N]``."""
        return np.bincount(self.rows, minlength=len(self.texts))


@dataclass(frozen=True)
class Options:
    """How a place is read.

    Attributes:
        columns: The file's name of a column where it is another, of :data:`COLUMNS`.
        split, revision, config: Of a hub dataset.
        setting: The setting that names the place, for messages.
    """

    columns: Mapping[str, str | None] = field(default_factory=dict)
    split: str = "train"
    revision: str | None = None
    config: str | None = None
    setting: str = "prompts"


@dataclass
class _Rows(RawTable):
    """Takes rows as they are read, and keeps of them what a set has.

    Attributes:
        path: What is read.
        named: The columns that have another name in the file.
        ordinary: Whether rows that are labelled memorized are left out.
        stem: What rows without an id are called by.
        number: Of the row in its file.
        ids, places, index: The rows' names and texts, and the texts' numbers.
        labelled, memorized: How many rows have a label, and how many are left out by it.
        said: The labels, each once.
    """

    path: str = ""
    named: Mapping[str, str] = field(default_factory=dict)
    ordinary: bool = False
    stem: str = ""
    number: int = 0
    ids: list[str] = field(default_factory=list)
    places: array[int] = field(default_factory=lambda: array("q"))
    index: dict[str, int] = field(default_factory=dict)
    labelled: int = 0
    memorized: int = 0
    said: dict[str, Any] = field(default_factory=dict)

    def begin(self, stem: str) -> None:
        """Says of which file the next rows are."""
        self.stem, self.number = stem, 0

    def add(self, where: str, cells: dict[str, Any]) -> None:
        self.number += 1
        if len(self.places) == ROWS:
            raise UserError(f"{where}: more than {ROWS:,} rows; no scan takes so many")
        source = self.source()
        try:
            if source not in cells:
                raise UserError(f"{where} lacks {self.chosen[source]}")
            text = _text(where, cells[source])
            key = cells.get("id")
            key = f"{self.stem}-{self.number}" if empty(key) else str(key)
            require_text(where, "id", key)
            if not empty(cells.get("label")):
                self.labelled += 1
                self.said[str(cells["label"])] = cells["label"]
                if self.ordinary and label_of(where, cells["label"]) != 0:
                    self.memorized += 1
                    return
        except UserError as error:
            super().refuse(error)
            return
        self.ids.append(key)
        self.places.append(self.index.setdefault(text, len(self.index)))

    def refuse(self, error: UserError) -> None:
        self.number += 1
        super().refuse(error)

    def absent(self, heading: str) -> UserError:
        """The error where there is no such column."""
        return UserError(f"{self.path}: no column named {heading!r}; it has {self.heading()}")

    def source(self) -> str:
        """The column that has the prompts.

        Raises:
            UserError: None has, or it is not clear which.
        """
        if "prompt" in self.chosen:
            return "prompt"
        if given := self.named.get("prompt"):
            raise self.absent(given)
        usual = [name for name in USUAL if name in self.chosen]
        if len(usual) == 1:
            return usual[0]
        meant = self.chosen[usual[0]] if usual else "NAME"
        lacks = f"has columns {' and '.join(usual)}" if usual else "lacks a column prompt"
        raise UserError(
            f"{self.path} {lacks}; it has {self.heading()} (scan.columns.prompt={meant} names one)"
        )


def load(path: str, options: Options = Options(), ordinary: bool = False) -> Unlabelled:
    """Prompts without labels.

    A table needs a column ``prompt``, or one of :data:`USUAL`, and may have ``id``; a row without
    is called by its file and number. A .txt file has a prompt a line. Labels are not read, but for
    ordinary prompts: there rows that are labelled memorized are left out.

    Arguments:
        path: A file that ends in .txt, .csv, .tsv, .jsonl, .ndjson, .json or .parquet, all but the
            last also with .gz behind it; a folder of such files or a pattern; or a hub dataset as
            OWNER/NAME, or its folder.
        options: How it is read.
        ordinary: Whether they are to be prompts that are not memorized.

    Raises:
        UserError: No such file, one that cannot be read at all, or no row that can.
    """
    for column in options.columns:
        if column not in COLUMNS:
            raise unknown("column", column, COLUMNS)
    named = {ours: theirs for ours, theirs in options.columns.items() if theirs}
    table = _Rows(unread=[], path=path, named=named, ordinary=ordinary)
    names = {"prompt": "prompt", "id": "id", "label": "label"} | named
    if "prompt" not in named:
        names |= {usual: usual for usual in USUAL}
    columns = Columns(names, frozenset(names))
    files = places.files(path, with_lists=True, setting=options.setting)
    if files is None:
        table.begin(places.stem(path))
        place = str(places.expanded(path))
        tables.hub(place, columns, options.split, options.revision, options.config, table, "scan")
    elif options.config or options.revision or options.split != "train":
        raise UserError(f"{path} is no hub dataset: it has no split, revision or config")
    for file in files or ():
        table.begin(bounded.stem(file))
        if places.is_table(file):
            READERS[bounded.suffix(file)](file, columns, table)
        else:
            _lines(file, table)
    if absent := [theirs for ours, theirs in named.items() if ours not in table.chosen]:
        raise table.absent(absent[0])
    if ordinary and table.said:
        labels.require_one_reading(path, table.chosen["label"], list(table.said.values()))
    if not table.places:
        raise UserError(_nothing(table))
    return Unlabelled(
        plain_name(places.stem(path)),
        table.ids,
        np.frombuffer(table.places, np.int64).copy(),
        list(table.index),
        table.unread or [],
        table.labelled,
        table.memorized,
    )


def of_set(prompts: PromptSet, ordinary: bool = False) -> Unlabelled:
    """A labelled set without its labels, or its prompts that are not memorized."""
    kept = [i for i, label in enumerate(prompts.labels) if not (ordinary and label)]
    index: dict[str, int] = {}
    rows = [index.setdefault(prompts.texts[i], len(index)) for i in kept]
    return Unlabelled(
        prompts.name,
        [prompts.ids[i] for i in kept],
        np.array(rows, np.int64),
        list(index),
        labelled=len(prompts),
        memorized=len(prompts) - len(kept),
    )


def _lines(file: Path, table: _Rows) -> None:
    """One prompt a line."""
    table.chosen.setdefault("prompt", "prompt")
    for number, line in enumerate(bounded.lines(file, strict=False), 1):
        if number == 1 and heads(line):
            raise UserError(
                f"{file}, line 1 is no prompt but a heading or JSON: {line[:40]!r}; a table's "
                f"name ends in {places.FORMATS}"
            )
        table.add(f"{file}, line {number}", {"prompt": line})


def _text(where: str, cell: object) -> str:
    """A prompt that can be read, and written.

    Raises:
        UserError: It is none.
    """
    text = prompt_of(where, cell)
    if not text.isascii() and re.search("[\udc80-\udcff]", text):
        raise UserError(f"{where} is not UTF-8 text")
    require_text(where, "prompt", text)
    return text


def _nothing(table: _Rows) -> str:
    """Why there is nothing to read."""
    if table.memorized and not table.unread:
        return f"{table.path}: all rows are labelled memorized"
    first = f": {table.unread[0]}" if table.unread else ""
    return f"{table.path} has no prompts that can be read{first}"
