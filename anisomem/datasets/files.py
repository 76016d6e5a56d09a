"""Prompts from a user's own file or from a hub dataset."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anisomem.datasets import clusters
from anisomem.datasets.prompts import LABELS, PromptSet
from anisomem.errors import UserError, unknown

#: What a cell of the label column may say; "partial" reproduces a picture sometimes and is left
#: out.
MEANING = {
    "memorized": 1,
    "not_memorized": 0,
    "partial": None,
    "true": 1,
    "false": 0,
    "1": 1,
    "0": 0,
    "1.0": 1,
    "0.0": 0,
}
SUFFIXES = (".csv", ".jsonl", ".parquet")
DELIMITERS = ",;\t"
UNKNOWN = "unknown"  # what the source of a prompt does not say

Reader = Callable[[Sequence[Any]], Any]
Row = tuple[str, Mapping[str, Any]]  # where it stands, and its cells by column

_numbers = partial(np.array, dtype=np.float64)

#: Column that a file need not have: the field it fills, what it holds, and how it is read.
OPTIONAL: Mapping[str, tuple[str, str, Reader]] = {
    "repetitions": ("repetitions", "integers", partial(np.array, dtype=np.int64)),
    "reproduction_rate": ("reproduction_rates", "fractions", _numbers),
    "picture": (
        "pictures",
        "pictures as {bytes, path}",
        lambda cells: [cell and cell["bytes"] for cell in cells],
    ),
    "family": ("families", "texts", lambda cells: [str(cell or "") for cell in cells]),
    "urls": ("urls", "lists of texts", lambda cells: [_texts(cell) for cell in cells]),
    "mean_sscd": ("mean_sscd", "numbers", _numbers),
    "max_sscd": ("max_sscd", "numbers", _numbers),
}
COLUMNS = ("id", "prompt", "label", "cluster", "block", "kind", *OPTIONAL)


def load(
    path: str | None = None,
    memorized: str | None = None,
    others: str | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    revision: str | None = None,
) -> PromptSet:
    """Prompts with labels from one table, or from two lists of prompts.

    A table needs the columns ``prompt`` and ``label`` (0 or 1, true or false, memorized or
    not_memorized; prompts labelled partial are left out). It may have ``id`` (else the row's
    number), ``cluster`` (else near-duplicates share one), ``block`` (else the file's name),
    ``kind`` and the columns of :data:`OPTIONAL`; other columns are ignored.

    Arguments:
        path: A file that ends in .csv (comma, semicolon or tab), .jsonl or .parquet; or a hub
            dataset as OWNER/NAME, or its folder.
        memorized, others: Instead of it, two text files with one prompt a line.
        name: Of the set; the file's own if not given.
        columns: The file's name of a column where it is another.
        split, revision: Of a hub dataset.

    Raises:
        UserError: No such file, a missing column, an empty line, a label that means nothing, or a
            column of the wrong type; the line is named.
    """
    if path and not (memorized or others):
        source, rows = path, list(_rows(path, split, revision))
    elif memorized and others and not path:
        source = memorized
        rows = [*_lines(Path(memorized), "memorized"), *_lines(Path(others), "not_memorized")]
    else:
        raise UserError(
            "give either dataset.path=FILE, or dataset.memorized=FILE and dataset.others=FILE"
        )
    stem = Path(source).stem
    table = _table(source, _renamed(source, rows, columns or {}))
    count = len(table["prompt"])
    codes = table.get("cluster")
    if codes is None:
        found = clusters.near_duplicates(table["prompt"])
    elif all(isinstance(code, int) for code in codes):
        found = np.array(codes, np.int64)
    else:
        found = clusters.in_order(codes)
    return PromptSet(
        name or stem,
        [str(key) for key in table["id"]],
        table["prompt"],
        np.array(table["label"], np.int8),
        found,
        [str(block or UNKNOWN) for block in table.get("block", [stem] * count)],
        [str(kind or UNKNOWN) for kind in table.get("kind", [UNKNOWN] * count)],
        **{
            field: _read(source, column, table[column], expected, read)
            for column, (field, expected, read) in OPTIONAL.items()
            if column in table
        },
    )


def lines(file: Path) -> list[str]:
    """The lines of a UTF-8 file, verbatim; whether the last one ends with a newline or not.

    Raises:
        UserError: No such file, or it is not UTF-8.
    """
    if not file.is_file():
        raise UserError(f"no prompt file at {str(file)!r}")
    return decoded(file.read_bytes(), file).removesuffix("\n").split("\n")


def decoded(content: bytes, file: object) -> str:
    """UTF-8 as text with newlines alone, without a byte-order mark.

    Raises:
        UserError: It is something else.
    """
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text (byte {error.start})") from None


def _lines(file: Path, label: str) -> Iterator[Row]:
    """One prompt a line."""
    for at, line in enumerate(lines(file), 1):
        yield (
            f"{file}, line {at}",
            {"id": f"{file.stem}-{at}", "prompt": line, "label": label, "block": file.stem},
        )


def _rows(path: str, split: str, revision: str | None) -> Iterator[Row]:
    """The rows of a table, by its suffix."""
    file = Path(path)
    if file.suffix == ".txt":
        raise UserError(
            f"{path} has prompts without labels; give dataset.memorized=FILE.txt and "
            "dataset.others=FILE.txt"
        )
    if file.suffix not in SUFFIXES:
        if file.is_file():
            raise UserError(f"{path} should end in {', '.join(SUFFIXES)}, or .txt for two lists")
        yield from hub(path, split, revision)
        return
    if not file.is_file():
        raise UserError(f"no prompt file at {path!r}")
    read = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[file.suffix]
    yield from read(file)


def _csv(file: Path) -> Iterator[Row]:
    """Rows under a header; the delimiter is the one that the header has most of."""
    content = lines(file)
    delimiter = max(DELIMITERS, key=content[0].count)
    reader = csv.reader((line + "\n" for line in content), delimiter=delimiter, strict=True)
    try:
        header = next(reader)
        for cells in reader:
            where = f"{file}, line {reader.line_num}"
            if len(cells) != len(header):
                raise UserError(
                    f"{where}: {len(cells)} cells, expected {len(header)} as in its header"
                )
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from None


def _jsonl(file: Path) -> Iterator[Row]:
    """One JSON object a line."""
    for at, line in enumerate(lines(file), 1):
        try:
            cells = json.loads(line)
        except json.JSONDecodeError:
            cells = None
        if not isinstance(cells, dict):
            raise UserError(f"{file}, line {at}: expected a JSON object, got {line[:40]!r}")
        yield f"{file}, line {at}", cells


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except pa.ArrowException as error:
        raise UserError(f"{file}: {str(error).splitlines()[0]}") from None
    for at, cells in enumerate(table.to_pylist(), 1):
        yield f"{file}, row {at}", cells


def hub(repository: str, split: str, revision: str | None) -> Iterator[Row]:
    """The rows of a dataset in the Hugging Face hub, or in a folder laid out like one.

    Raises:
        UserError: It cannot be had.
    """
    from datasets import load_dataset

    try:
        table = load_dataset(repository, split=split, revision=revision)
    except Exception as error:  # the hub's client raises anything from OSError to ValueError
        reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
        raise UserError(f"no prompt file or hub dataset {repository!r}: {reason}") from None
    for at, cells in enumerate(table.with_format("arrow")[:].to_pylist(), 1):
        yield f"{repository}, row {at}", cells


def _renamed(source: str, rows: Sequence[Row], names: Mapping[str, str]) -> list[Row]:
    """Rows with only the columns that are read, under our names.

    Raises:
        UserError: No rows, or a column that is not there.
    """
    if not rows:
        raise UserError(f"{source} has no prompts")
    for column in names:
        if column not in COLUMNS:
            raise unknown("column", column, COLUMNS)
    has = list(dict.fromkeys(key for _, cells in rows for key in cells))
    for given in names.values():
        if given not in has:
            raise UserError(f"{source}: {unknown('column', given, has)}")
    theirs = {column: names.get(column, column) for column in COLUMNS}
    if lacking := [theirs[c] for c in ("prompt", "label") if theirs[c] not in has]:
        raise UserError(
            f"{source} lacks columns {', '.join(lacking)}; it has {', '.join(has)} "
            "(dataset.columns={prompt: NAME, label: NAME} names others)"
        )
    present = {column: name for column, name in theirs.items() if name in has}
    renamed: list[Row] = []
    for where, cells in rows:
        if lacking := [name for name in present.values() if name not in cells]:
            raise UserError(f"{where} lacks {', '.join(lacking)}")
        renamed.append((where, {column: cells[name] for column, name in present.items()}))
    return renamed


def _table(source: str, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The columns of all rows with a settled label.

    Raises:
        UserError: An empty prompt, a label that means nothing, or a repeated id, with the line.
    """
    seen: dict[str, str] = {}
    kept = []
    for number, (where, cells) in enumerate(rows, 1):
        text = cells["prompt"]
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where}: empty prompt")
        label = _label(where, cells["label"])
        key = str(cells.get("id", f"{Path(source).stem}-{number}"))
        if key in seen:
            raise UserError(f"{where} repeats an id of {seen[key]}: {key!r}; ids are unique")
        seen[key] = where
        if label is not None:
            kept.append({**cells, "id": key, "label": label})
    return {column: [cells[column] for cells in kept] for column in {**rows[0][1], "id": None}}


def _label(where: str, cell: object) -> int | None:
    """1, 0, or None for a prompt that is left out."""
    given = str(cell).strip().lower()
    if given not in MEANING:
        raise UserError(f"{where}: {unknown('label', str(cell), [*LABELS, 'partial', '0', '1'])}")
    return MEANING[given]


def _texts(cell: object) -> list[str]:
    """A list of texts; a single one may stand alone."""
    if isinstance(cell, str):
        return [cell] if cell else []
    return [str(text) for text in list(cell or [])]  # type: ignore[call-overload]


def _read(source: str, column: str, cells: Sequence[Any], expected: str, read: Reader) -> Any:
    """What a column holds.

    Raises:
        UserError: Something else than expected.
    """
    try:
        return read(cells)
    except (TypeError, ValueError, KeyError):
        raise UserError(f"{source}: column {column} must hold {expected}") from None
