"""Prompts as a program gives them: texts, a table in memory, a file, or the name of a set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from glob import has_magic
from typing import Any, TypeAlias

import pandas as pd

from anisomem.api.models import base, member
from anisomem.api.plain import literal
from anisomem.config import catalog, compose
from anisomem.config.overrides import path
from anisomem.datasets import files, places, unlabelled
from anisomem.datasets.files import prompt_of, require_text
from anisomem.datasets.prompts import PromptSet
from anisomem.datasets.unlabelled import Options, Unlabelled
from anisomem.errors import UserError
from anisomem.run import labelled

Texts: TypeAlias = Iterable[str] | pd.Series | pd.DataFrame | str | os.PathLike[str]
Labelled: TypeAlias = pd.DataFrame | PromptSet | str | os.PathLike[str]
COLUMN = "prompt"
NAME = "prompts"  # of a table in memory


def texts(given: Texts, what: str = NAME) -> tuple[list[str], pd.Index]:
    """Distinct prompts, verbatim, and how their rows are called.

    Arguments:
        given: Texts, a series of them, a frame with a column ``prompt``, or the path of a file as
            :func:`anisomem.datasets.unlabelled.load` reads it, or the name of a prompt set.
        what: What messages call them.

    Raises:
        UserError: There are none, or one is empty, no text, or there twice.
    """
    if isinstance(given, str | os.PathLike):
        listed = _listed(os.fspath(given), what)
        if listed.unread:
            more = f", and {len(listed.unread) - 1} more rows" * (len(listed.unread) > 1)
            raise UserError(f"{listed.unread[0]}{more}")
        return list(listed.texts), pd.RangeIndex(len(listed.texts))
    if isinstance(given, Mapping):
        raise UserError(f"{what} must be a list of texts, a column of them, or a file; got a dict")
    if isinstance(given, pd.DataFrame):
        given = _column(given, what)
    index = given.index if isinstance(given, pd.Series) else None
    try:
        cells = list(given)
    except TypeError:
        raise UserError(
            f"{what} must be a list of texts, a column of them, or a file; got {given!r:.60}"
        ) from None
    if not cells:
        raise UserError(f"{what}: there are none")
    rows: dict[str, int] = {}
    for row, cell in enumerate(cells):
        where = f"{what}[{row}]"
        text = prompt_of(where, None if cell is pd.NA else cell)
        require_text(where, COLUMN, text)
        if (first := rows.setdefault(text, row)) != row:
            raise UserError(
                f"{where} is {what}[{first}] once more, {text[:40]!r}; give each once, "
                f"list(dict.fromkeys({what}))"
            )
    return [str(cell) for cell in cells], pd.RangeIndex(len(cells)) if index is None else index


def _column(frame: pd.DataFrame, what: str) -> pd.Series:
    require_distinct(frame, what)
    if COLUMN not in frame.columns:
        raise UserError(
            f"{what}: the frame has no column {COLUMN!r}; it has "
            f"{', '.join(map(str, frame.columns[:12])) or 'none'}"
        )
    return frame[COLUMN]


def require_distinct(frame: pd.DataFrame, what: str) -> None:
    """Checks that a heading means one column.

    Raises:
        UserError: It means two.
    """
    if not frame.columns.is_unique:
        again = frame.columns[frame.columns.duplicated()][0]
        raise UserError(f"{what}: the frame has several columns named {str(again)!r}")


def references(given: Texts | None) -> list[str]:
    """Ordinary prompts that others are scored relative to.

    Raises:
        UserError: As :func:`texts`, or one alone.
    """
    found = [] if given is None else texts(given, "references")[0]
    if len(found) == 1:
        raise UserError("references has one prompt; expected two or more ordinary ones")
    return found


def require_apart(references: Iterable[str], judged: Iterable[str]) -> None:
    """Checks that no reference is scored itself.

    Raises:
        UserError: One is.
    """
    if both := set(references) & set(judged):
        raise UserError(f"references hold a prompt that is scored, {sorted(both)[0][:40]!r}")


def _listed(given: str, what: str) -> Unlabelled:
    if given in catalog.names("dataset") and not os.path.lexists(given):
        return unlabelled.of_set(_named(given))
    named = os.path.lexists(places.expanded(given)) or places.is_list(given) or has_magic(given)
    if not named and (" " in given or "/" not in given):
        raise UserError(f"{what} is one text, {given[:40]!r}; give a list, [{given[:40]!r}]")
    return unlabelled.load(path(given, what), Options(setting=what))


def _named(name: str) -> PromptSet:
    return labelled.whole(compose.given({**base(), "dataset": member("dataset", name)}))


def dataset(given: Labelled) -> dict[str, Any]:
    """The settings of labelled prompts; of a table in memory, which has no place, its name."""
    if not isinstance(given, str | os.PathLike):
        name = given.name if isinstance(given, PromptSet) else NAME
        return member("dataset", "prompts_file") | {"name": name}
    if (name := os.fspath(given)) in catalog.names("dataset") and not os.path.lexists(name):
        return member("dataset", name)
    return member("dataset", "prompts_file") | {"path": literal(path(name, NAME), NAME)}


def labelled_prompts(given: Labelled, limit: int | None) -> PromptSet | None:
    """Prompts with labels that are in memory; None of those that :func:`dataset` names.

    Arguments:
        given: A frame with the columns ``prompt`` and ``label`` and perhaps more, as of
            :func:`anisomem.datasets.files.load`; or a place.
        limit: How many, which is for places.

    Raises:
        UserError: They lack labels, or are to be limited.
    """
    if isinstance(given, str | os.PathLike):
        return None
    if isinstance(given, pd.DataFrame | PromptSet) and limit is not None:
        raise UserError("limit is for a file or a named set; give the part of the frame itself")
    if isinstance(given, PromptSet):
        return given
    if isinstance(given, pd.DataFrame):
        require_distinct(given, NAME)
        return files.of_rows(given.to_dict("records"), NAME)
    raise UserError(
        "prompts must be a frame with the columns prompt and label, a file, or the name of a "
        f"prompt set; got {type(given).__name__}"
    )
