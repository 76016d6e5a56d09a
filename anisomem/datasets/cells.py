"""Reads the cells of a prompt table: what a column holds, and what an empty cell means."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anisomem.datasets import clusters
from anisomem.datasets.images import require_picture
from anisomem.errors import UserError

LITERAL = 1 << 16  # characters of a printed list
COSINE = 1.001  # the largest, as rounded products of half precision give it
#: How programs write that a prompt is in no cluster; -1 is what DBSCAN and HDBSCAN say.
UNCLUSTERED = frozenset(("", "nan", "na", "n/a", "<na>", "none", "null", "-1"))

Reader = Callable[[Sequence[Any]], Any]


def empty(cell: object) -> bool:
    """Whether a cell says nothing: blank, null, or the NaN of a table program."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _numbers(low: float, high: float) -> Reader:
    """Reads numbers from ``low`` to ``high``; one that is missing is NaN."""

    def read(cells: Sequence[Any]) -> npt.NDArray[np.float64]:
        numbers = np.array([math.nan if empty(cell) else float(cell) for cell in cells])
        if ((numbers < low) | (numbers > high)).any():
            raise ValueError
        return numbers

    return read


def _counts(cells: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Whole numbers, as pandas writes them too where some are missing."""
    counts = np.array([0 if empty(cell) else _integer(cell) for cell in cells], np.int64)
    if (counts < 0).any():
        raise ValueError
    return counts


def _integer(cell: Any) -> int:
    if isinstance(cell, int):
        return cell
    if not (value := float(cell)).is_integer():
        raise ValueError
    return int(value)


def _pictures(cells: Sequence[Any]) -> list[bytes | None]:
    """Encoded pictures; one that only names a file is not read from there."""
    contents = [None if empty(cell) else cell["bytes"] for cell in cells]
    for cell, content in zip(cells, contents, strict=True):
        if not (isinstance(content, bytes) or (content is None and not (cell or {}).get("path"))):
            raise TypeError
    return contents


def texts_of(cells: Sequence[Any], default: str = "") -> list[str]:
    """Texts; an empty cell says ``default``."""
    return [default if empty(cell) else str(cell) for cell in cells]


#: Column that a file need not have: the field it fills, what it holds, and how it is read.
OPTIONAL: Mapping[str, tuple[str, str, Reader]] = {
    "repetitions": ("repetitions", "integers from 0", _counts),
    "reproduction_rate": ("reproduction_rates", "fractions from 0 to 1", _numbers(0, 1)),
    "picture": ("pictures", "pictures as {bytes, path}, with bytes", _pictures),
    "family": ("families", "texts", texts_of),
    "urls": ("urls", "lists of texts", lambda cells: [_list(cell) for cell in cells]),
    "mean_sscd": ("mean_sscd", "numbers from -1 to 1", _numbers(-COSINE, COSINE)),
    "max_sscd": ("max_sscd", "numbers from -1 to 1", _numbers(-COSINE, COSINE)),
}


def clusters_of(codes: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Clusters by their names; a prompt without one is its own."""
    if all(type(code) is int and code != -1 and abs(code) < 2**63 for code in codes):
        return np.array(codes, np.int64)
    names = [_cluster(code) for code in codes]
    return clusters.in_order(
        [("", row) if name in UNCLUSTERED else (name, -1) for row, name in enumerate(names)]
    )


def _cluster(code: Any) -> str:
    """A cluster's name: pandas writes 3 as 3.0 where other cells are empty."""
    name = "" if empty(code) else str(code).strip()
    return name.lower() if name.lower() in UNCLUSTERED else re.sub(r"^(-?\d+)\.0+$", r"\1", name)


def _list(cell: object) -> list[str]:
    """A list of texts; a single one may stand alone, and a list as Python prints it.

    Raises:
        ValueError: A list printed otherwise.
    """
    if empty(cell):
        return []
    if isinstance(cell, str):
        if not (cell.strip().startswith("[") and cell.strip().endswith("]")):
            return [cell]
        if len(cell) > LITERAL or re.search(r"""['"]\s+['"]""", cell):  # numpy has no commas
            raise ValueError
        try:
            cell = ast.literal_eval(cell.strip())
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError from None
    if not isinstance(cell, list | tuple) or not all(isinstance(text, str) for text in cell):
        raise ValueError
    return list(cell)


def optional(source: str, table: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The fields of a prompt set that the columns of :data:`OPTIONAL` fill.

    Raises:
        UserError: A column of something else than expected.
    """
    return {
        field: _read(source, column, table[column], expected, read)
        for column, (field, expected, read) in OPTIONAL.items()
        if column in table
    }


def _read(source: str, column: str, cells: Sequence[Any], expected: str, read: Reader) -> Any:
    try:
        values = read(cells)
    except (TypeError, ValueError, KeyError, OverflowError, AttributeError):
        raise UserError(f"{source}: column {column} must hold {expected}") from None
    for number, content in enumerate(values if column == "picture" else (), 1):
        if content is not None:
            require_picture(content, f"{source}, picture {number}")
    return values
