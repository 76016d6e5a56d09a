"""Numbers as a packet prints them, and whether computed ones agree with them in every digit."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any

from anisomem.report import escape

DIGITS = 6  # significant ones, of numbers that no table rounds
SLACK = 1e-4  # of half a unit, by which other machines may round the other way


@dataclass(frozen=True)
class Sheet:
    """Cells of a CSV file under headings, numbers as they are computed."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def printed(self) -> str:
        """The file; numbers have six digits."""
        rows = ([rounded(value) for value in row] for row in self.rows)
        return escape.comma_separated([self.headings, *rows])


def rounded(value: Any) -> Any:
    """A number at its first significant digits; anything else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if isfinite(value) else None


def agree(printed: float, computed: float) -> bool:
    """Whether a number is what another is printed as.

    Where the digit behind the last lies at the edge, either of the two is.
    """
    if rounded(printed) != printed:
        return False  # it has more digits than are printed
    if printed == rounded(computed):
        return True
    if computed == 0 or not isfinite(computed):
        return False
    unit = 10.0 ** (floor(log10(abs(computed))) - DIGITS + 1)
    return abs(printed - computed) <= unit / 2 * (1 + SLACK)


def difference_of_texts(given: str, now: str) -> str | None:
    """Where a text is another than it should be: the first line; None where it is not."""
    if given == now:
        return None
    pairs = zip([*given.split("\n"), None], [*now.split("\n"), None], strict=False)
    for number, (a, b) in enumerate(pairs, 1):
        if a != b:
            return f"line {number} is {_shown(a)}, and its rows make {_shown(b)}"
    return "it has other line ends"


def difference_of_sheets(given: str, now: Sheet) -> str | None:
    """Where a CSV file is another than it should be: the first cell; None where it is not."""
    printed = now.printed()
    if given == printed:
        return None
    was, should = _cells(given), _cells(printed)
    raw = [now.headings, *now.rows]
    if was is None or len(was) != len(raw):
        count = "no CSV" if was is None else f"{len(was):,} lines"
        return f"it has {count}, and its rows make {len(raw):,}"
    for number, (line, expected, values) in enumerate(zip(was, should or [], raw, strict=True), 1):
        if len(line) != len(expected):
            return f"line {number} has {len(line)} cells, and its rows make {len(expected)}"
        for heading, a, b, value in zip(now.headings, line, expected, values, strict=True):
            if a != b and not (isinstance(value, float) and agree(_number(a), value)):
                return f"line {number}, {heading}: {_shown(a)}, and its rows make {_shown(b)}"
    normal = [
        [_as_written(cell) if isinstance(value, float) else cell for cell, value in pairs]
        for pairs in (
            zip(line, values, strict=True) for line, values in zip(was, raw, strict=True)
        )
    ]
    if escape.comma_separated(normal) != given:
        return "it is written otherwise than pack writes"
    return None


def _cells(text: str) -> list[list[str]] | None:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None


def _as_written(cell: str) -> Any:
    """A number in its shortest form."""
    number = _number(cell)
    return number if isfinite(number) and "." in cell else cell


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _shown(text: str | None) -> str:
    if text is None:
        return "missing"
    return repr(text if len(text) <= 100 else f"{text[:97]}...")
