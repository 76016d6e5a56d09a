"""Reads a packet's files within bounds, of which nothing is believed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from anisomem.errors import UserError
from anisomem.evidence.rows import SAID
from anisomem.run import stored

MOST_CELLS = 2**27  # of a table, which is held in memory
MOST_UNPACKED = 2**32  # bytes of a table's texts and pictures
BATCH = 10_000  # rows that are looked at together


def require_sound(file: Path) -> None:
    """Checks that a file can be read without filling the memory.

    Raises:
        UserError: It is damaged, or larger once it is read than anything that pack writes.
    """
    if file.suffix != ".parquet":
        if file.stat().st_size > stored.LARGEST * 100:
            raise UserError(f"{file} is larger than any that pack writes")
        return
    try:
        with pq.ParquetFile(file) as content:
            shape = content.metadata
            texts = [f.name for f in content.schema_arrow if not _is_number(f.type)]
            groups = (shape.row_group(i).total_byte_size for i in range(shape.num_row_groups))
            large = shape.num_rows * max(1, shape.num_columns) > MOST_CELLS
            large = large or sum(groups) > MOST_UNPACKED
        if large or _unpacked(file, texts) > MOST_UNPACKED:
            raise UserError(f"{file} is larger, once it is read, than any that pack writes")
    except (pa.ArrowException, OSError, ValueError, MemoryError):
        raise broken(file) from None


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_primitive(kind)


def _unpacked(file: Path, columns: Sequence[str]) -> int:
    """Bytes of the texts of a file, of which the same one may stand in it but once."""
    total = 0
    if not columns:
        return 0
    with pq.ParquetFile(file, read_dictionary=list(columns)) as content:
        for batch in content.iter_batches(BATCH, columns=list(columns)):
            for column in batch.columns:
                if pa.types.is_dictionary(column.type):
                    lengths = pc.binary_length(column.dictionary).take(column.indices)
                    total += pc.sum(lengths).as_py() or 0
                else:
                    total += column.nbytes
            if total > MOST_UNPACKED:
                return total
    return total


def table(
    file: Path, kinds: Mapping[str, pa.DataType], optional: Collection[str] = ()
) -> pa.Table:
    """A table of these columns, complete but for the optional ones.

    Raises:
        UserError: It has others.
    """
    require_sound(file)
    try:
        content = pq.read_table(file, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError):
        raise broken(file) from None
    held = dict(zip(content.column_names, content.schema.types, strict=True))
    lacking = any(content[name].null_count for name in held if name not in optional)
    if held != dict(kinds) or lacking or not content.num_rows:
        raise broken(file)
    return content


def said(rows: pa.Table, name: str, file: Path) -> str:
    """What a file says beside its rows."""
    try:
        said = json.loads((rows.schema.metadata or {})[SAID])[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise broken(file) from None
    if not isinstance(said, str):
        raise broken(file)
    return said


def broken(file: Path) -> UserError:
    """An error for a file that no packet has."""
    return UserError(f"{file} is not what pack writes")
