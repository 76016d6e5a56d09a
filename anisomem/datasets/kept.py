"""A prompt set as a run keeps it: the file that it came from may move or change.

A parquet file in the run's folder, with everything that the set holds. A user's own files are read
in ``files``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anisomem.datasets.prompts import PromptSet
from anisomem.storage import atomic

#: The fields of a prompt, as they are stored.
TYPES: Mapping[str, pa.DataType] = {
    "ids": pa.string(),
    "texts": pa.string(),
    "labels": pa.int8(),
    "clusters": pa.int64(),
    "blocks": pa.string(),
    "kinds": pa.string(),
    "repetitions": pa.int64(),
    "reproduction_rates": pa.float64(),
    "pictures": pa.binary(),
    "families": pa.string(),
    "urls": pa.list_(pa.string()),
    "mean_sscd": pa.float64(),
    "max_sscd": pa.float64(),
}
WHOLE = ("name", "cautions")  # of the set, in the file's metadata
assert {*TYPES, *WHOLE} == {field.name for field in fields(PromptSet)}


def write(prompts: PromptSet, file: Path) -> None:
    """Keeps a set; a file that says the same already is left alone.

    Raises:
        UserError: The file system refuses.
    """
    columns = {name: getattr(prompts, name) for name in TYPES}
    given = {name: column for name, column in columns.items() if column is not None}
    said = {"name": prompts.name, "cautions": list(prompts.cautions)}
    schema = pa.schema(
        {name: TYPES[name] for name in given}, {b"anisomem": json.dumps(said).encode()}
    )
    content = io.BytesIO()
    arrays = [pa.array(column, TYPES[name]) for name, column in given.items()]
    # A damaged page is found when it is read.
    pq.write_table(pa.table(arrays, schema=schema), content, write_page_checksum=True)
    atomic.write_bytes(file, content.getvalue())


def read(file: Path) -> PromptSet:
    """The set that was kept.

    Raises:
        UserError: The file is damaged.
    """
    content = io.BytesIO(atomic.read_bytes(file))
    try:
        table = pq.read_table(content, page_checksum_verification=True)
        said = json.loads(table.schema.metadata[b"anisomem"])
        columns = {name: _column(table[name]) for name in table.column_names}
        return PromptSet(name=said["name"], cautions=said["cautions"], **columns)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        raise atomic.damaged(file) from None


def _column(column: pa.ChunkedArray) -> Any:
    """Numbers as an array, all else as a list."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return np.asarray(column.to_numpy())
    if pa.types.is_string(column.type) and not column.null_count:
        encoded = column.combine_chunks().dictionary_encode()
        texts = encoded.dictionary.to_pylist()  # a block's name is one text, however many have it
        return [texts[i] for i in encoded.indices.to_pylist()]
    return column.to_pylist()
