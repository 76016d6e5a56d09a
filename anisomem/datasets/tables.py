"""Reads rows of CSV, JSON and parquet from elsewhere, within bounds; ``files`` judges them."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anisomem.datasets import bounded, delimited, layouts
from anisomem.errors import UserError

DOCUMENT = 256 << 20  # bytes of a .json file, which is parsed as a whole
ROWS = 1_000_000  # of a table
SHOWN = 12  # headings in a message
DELIMITERS = ",;\t"
CLASSES = "ClassLabel"  # as the datasets library calls numbers that stand for names

REPEATED = {"label", "block", "kind", "family"}  # texts that many rows share

Row = tuple[str, dict[str, Any]]  # where it stands, and its cells by our names of the columns


@dataclass(frozen=True)
class Columns:
    """Which columns are read.

    Attributes:
        names: Our names to the file's.
        sought: Ours among them that are found in other capitals too, where nothing else fits.
    """

    names: Mapping[str, str]
    sought: frozenset[str] = frozenset()

    def chosen(self, headings: Sequence[str], where: object) -> dict[str, str]:
        """Ours to the headings that stand for them; the others are not read.

        Blanks around a heading do not count, nor how its accents are encoded. In a table of a
        published layout its own headings stand for what they say.

        Raises:
            UserError: Two headings stand for one of ours.
        """
        theirs_by_ours = {}
        published = layouts.of([_plain(heading) for heading in headings])
        for ours, named in self.names.items():
            theirs = published.get(ours, named) if named == ours else named
            same = [h for h in headings if _plain(h) == _plain(theirs)]
            if not same and ours in self.sought:
                same = [h for h in headings if _plain(h).casefold() == _plain(theirs).casefold()]
            if len(same) > 1:
                raise UserError(
                    f"{where} has {len(same)} columns named {theirs!r}, and only one can be meant"
                )
            if same:
                theirs_by_ours[ours] = same[0]
        return theirs_by_ours


@dataclass
class RawTable:
    """The rows that were read, with what is known of their columns.

    Attributes:
        rows: The rows with the cells that count, by our names.
        headings: All that the table has, in order.
        chosen: Our names to the headings that stand for them.
        unread: Rows that cannot be read, where and why; None where one is an error.
    """

    rows: list[Row] = field(default_factory=list)
    headings: dict[str, None] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    unread: list[str] | None = None

    @property
    def strict(self) -> bool:
        """Whether a row that cannot be read is an error."""
        return self.unread is None

    def refuse(self, error: UserError) -> None:
        """Notes a row that cannot be read, or raises the error."""
        if self.unread is None:
            raise error
        self.unread.append(str(error))

    def add(self, where: str, cells: dict[str, Any]) -> None:
        """Appends a row.

        Raises:
            UserError: They are too many.
        """
        if len(self.rows) == ROWS:
            raise UserError(f"{where}: more than {ROWS:,} rows; no run takes so many")
        self.rows.append((where, cells))

    def heading(self) -> str:
        """Its headings in a few words; what is not ASCII also as it is encoded."""
        names = [
            name[:40] if name.isascii() else f"{name[:40]} ({ascii(name[:40])[1:-1]})"
            for name in self.headings
        ]
        more = ["..."] * (len(names) > SHOWN)
        return ", ".join(name or "''" for name in names[:SHOWN] + more)


Reader = Callable[[Path, Columns, RawTable], None]


def read(files: Sequence[Path], columns: Columns) -> RawTable:
    """The rows of some files, one after another.

    Raises:
        UserError: A file cannot be read, is too large, or is no table; the line is named.
    """
    table = RawTable()
    for file in files:
        bounded.require_file(file)
        READERS[bounded.suffix(file)](file, columns, table)
    return table


def _plain(heading: str) -> str:
    return unicodedata.normalize("NFC", heading).strip()


def _csv(file: Path, columns: Columns, table: RawTable) -> None:
    """Rows under a heading.

    The delimiter is the one by which the heading has most of the columns that are sought, of
    these the one that it has most of.
    """

    def columns_by(delimiter: str) -> tuple[int, int]:
        with closing(bounded.lines(file)) as content:
            first = next(content, "")
        try:
            with closing(delimited.records(file, delimiter)) as records:
                cells = next(records, (0, [""]))[1]
        except UserError:  # by another delimiter it may be a heading
            cells = []
        plain = {_plain(cell).casefold() for cell in cells}
        sought = {_plain(name).casefold() for name in columns.names.values()}
        return len(plain & sought), first.count(delimiter)

    delimiter = "\t" if bounded.suffix(file) == ".tsv" else max(DELIMITERS, key=columns_by)
    blanks = delimited.blanks_before_quotes(file, delimiter)
    records = delimited.records(file, delimiter, blanks, None if table.strict else table.refuse)
    _, header = next(records, (0, [""]))
    table.headings.update(dict.fromkeys(map(_plain, header)))
    chosen = columns.chosen(header, file)
    table.chosen.update(chosen)
    at = {ours: header.index(theirs) for ours, theirs in chosen.items()}
    for line, cells in records:
        where = f"{file}, line {line}"
        if len(cells) != len(header):
            table.refuse(
                UserError(f"{where}: {len(cells)} cells, expected {len(header)} as in its header")
            )
            continue
        table.add(where, {ours: cells[i] for ours, i in at.items()})


class _Object(dict[str, Any]):
    """A JSON object that knows its repeated keys."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs)
        self.repeated = {key for key, count in counts.items() if count > 1}


def _jsonl(file: Path, columns: Columns, table: RawTable) -> None:
    """One JSON object a line."""
    for number, line in enumerate(bounded.lines(file, table.strict), 1):
        where = f"{file}, line {number}"
        try:
            cells = _parsed(line, where)
        except ValueError:
            cells = None
        except UserError as error:
            table.refuse(error)
            continue
        _add_object(where, cells, line, columns, table)


def _json(file: Path, columns: Columns, table: RawTable) -> None:
    """A list of objects, or one object a line."""
    with bounded.one_line(file), bounded.opened(file) as stream:
        content = stream.read(DOCUMENT + 1)
    if len(content) > DOCUMENT:
        raise UserError(f"{file} has more than {DOCUMENT >> 20} MiB; .jsonl may be larger")
    try:
        rows = _parsed(bounded.decoded(content, file), file)
    except ValueError:
        return _jsonl(file, columns, table)
    if not isinstance(rows, list):
        raise UserError(
            f"{file}: expected a list of objects, one a prompt (pandas writes it by "
            "to_json(orient='records'))"
        )
    for number, cells in enumerate(rows, 1):
        _add_object(f"{file}, row {number}", cells, repr(cells), columns, table)
    return None


def _parsed(text: str, where: object) -> Any:
    """Parses JSON; what cannot be parsed is one line.

    Raises:
        ValueError: It is none.
        UserError: It is too deep to be a row.
    """
    try:
        return json.loads(text, object_pairs_hook=_Object)
    except RecursionError:
        raise UserError(f"{where}: JSON within JSON, too deep to be a row") from None


def _add_object(where: str, cells: Any, text: str, columns: Columns, table: RawTable) -> None:
    if isinstance(cells, str) and not table.strict:  # a prompt and nothing else
        table.chosen.setdefault("prompt", "prompt")
        table.add(where, {"prompt": cells})
        return
    if not isinstance(cells, _Object):
        table.refuse(UserError(f"{where}: expected a JSON object, got {text[:40]!r}"))
        return
    table.headings.update(dict.fromkeys(cells))
    chosen = columns.chosen(list(cells), where)
    if repeated := [key for key in chosen.values() if key in cells.repeated]:
        table.refuse(UserError(f"{where} has the key {repeated[0]!r} several times"))
        return
    table.chosen.update(chosen)
    table.add(where, {ours: cells[theirs] for ours, theirs in chosen.items()})


def _parquet(file: Path, columns: Columns, table: RawTable) -> None:
    import pyarrow.parquet as pq

    if file.suffix.lower() == ".gz":
        raise UserError(f"{file}: parquet is compressed in itself; unpack it")
    with bounded.one_line(file), pq.ParquetFile(file) as content:
        schema, size = content.schema_arrow, content.metadata.num_rows
        table.headings.update(dict.fromkeys(schema.names))
        chosen = columns.chosen(schema.names, file)
        table.chosen.update(chosen)
        if size > ROWS:
            raise UserError(f"{file} has {size:,} rows; no run takes more than {ROWS:,}")
        if chosen:
            batches = content.iter_batches(1024, columns=list(dict.fromkeys(chosen.values())))
            _add_batches(str(file), batches, schema, chosen, table)


def _add_batches(
    name: str, batches: Iterable[Any], schema: Any, chosen: Mapping[str, str], table: RawTable
) -> None:
    """Rows of Arrow; numbers that stand for names become these."""
    classes = {
        ours: names
        for ours, theirs in chosen.items()
        if (names := _class_names(schema, theirs)) is not None
    }
    number = 0
    same: dict[str, str] = {}  # a block's name is one text, however many rows have it
    for batch in batches:
        for cells in batch.to_pylist():
            number += 1
            row = {ours: cells[theirs] for ours, theirs in chosen.items()}
            for ours in REPEATED & row.keys():
                if isinstance(cell := row[ours], str):
                    row[ours] = same.setdefault(cell, cell)
            for ours, names in classes.items():
                if type(row[ours]) is int:  # one below 0 stands for none
                    row[ours] = names[row[ours]] if 0 <= row[ours] < len(names) else None
            table.add(f"{name}, row {number}", row)


def _class_names(schema: Any, heading: str) -> list[str] | None:
    """What the numbers of a column stand for, where the datasets library wrote it down."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][heading]
        return list(map(str, said["names"])) if said["_type"] == CLASSES else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def hub(
    repository: str,
    columns: Columns,
    split: str,
    revision: str | None,
    config: str | None = None,
    table: RawTable | None = None,
    group: str = "dataset",
) -> RawTable:
    """The rows of a dataset in the Hugging Face hub, or in a folder laid out like one.

    Arguments:
        table: Where they are added; a new table if not given.
        group: Of the settings that choose its split and configuration, for messages.

    Raises:
        UserError: It cannot be had, or has several configurations and none is chosen.
    """
    if "/" not in repository and not Path(repository).exists():
        # The hub's client would ask for it at length.
        raise UserError(
            f"no prompt file or hub dataset {repository!r}; the latter is OWNER/NAME, and anisomem"
            " list datasets names the prompt sets"
        )
    from datasets import Dataset, load_dataset

    try:
        rows = load_dataset(repository, config, split=split, revision=revision)
    except Exception as error:  # the hub's client raises anything from OSError to ValueError
        raise UserError(
            f"no prompt file or hub dataset {repository!r}: {_reason(error, group)}"
        ) from None
    if not isinstance(rows, Dataset):
        raise UserError(f"{repository}: {split!r} is no one split ({group}.split=NAME)")
    table = RawTable() if table is None else table
    table.headings.update(dict.fromkeys(rows.column_names))
    table.chosen.update(columns.chosen(rows.column_names, repository))
    if len(rows) > ROWS:
        raise UserError(f"{repository} has {len(rows):,} rows; no run takes more than {ROWS:,}")
    if table.chosen:
        schema = rows.features.arrow_schema
        kept = rows.select_columns(list(dict.fromkeys(table.chosen.values())))
        with bounded.one_line(repository):
            batches = kept.with_format("arrow").iter(1024)
            _add_batches(repository, batches, schema, table.chosen, table)
    return table


def _reason(error: Exception, group: str) -> str:
    """Why a dataset cannot be had, and what to type where that is known."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = said[0] if said else type(error).__name__
    hint = ""
    if "onfig" in first:  # ours is named otherwise than in its example of usage
        first, hint = " ".join(said[:2]), f" ({group}.config=NAME chooses one)"
    elif "split" in first:
        hint = f" ({group}.split=NAME chooses one)"
    return first + hint


READERS: Mapping[str, Reader] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
