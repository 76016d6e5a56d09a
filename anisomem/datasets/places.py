"""Which files a user's path names: one, those of a pattern, or those of a folder.

Their rows are read in ``tables``, and made to prompts in ``files``.
"""

from __future__ import annotations

import glob
import os
import re
from itertools import islice
from pathlib import Path

from anisomem.datasets import bounded, tables
from anisomem.errors import UserError

MOST = 10_000  # names in a folder and below; a larger one is no data set
FORMATS = ", ".join(tables.READERS)
HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
# By these words in names of files and folders the datasets library finds the splits.
SPLIT = re.compile(
    r"(^|[^A-Za-z])(train|training|valid|validation|val|dev|test|testing|eval|evaluation)"
    r"([^A-Za-z]|$)"
)


def expanded(path: str) -> Path:
    """A path with ``~`` for the user's home.

    Raises:
        UserError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path!r}: {error}") from None


def files(path: str, with_lists: bool = False, setting: str = "dataset.path") -> list[Path] | None:
    """The tables that a path names, in the order of their names; None for a hub dataset's.

    Arguments:
        path: Of a file, a folder, a pattern or a hub dataset.
        with_lists: Whether files with a prompt a line are taken too.
        setting: The setting that names it, for messages.

    Raises:
        UserError: It names none, or what cannot be read to its end.
    """
    place = expanded(path)
    if os.path.isdir(place):
        return _folder(place, with_lists, setting)
    if not os.path.lexists(place) and glob.has_magic(path):
        matches = sorted(islice(glob.iglob(str(place)), MOST + 1))
        if not matches or len(matches) > MOST:
            raise UserError(f"{path!r} names {len(matches):,} files, expected 1 to {MOST:,}")
        return [_table(Path(file), with_lists) for file in matches]
    if os.path.lexists(place) or is_list(path):
        return [_table(place, with_lists)]
    if not HUB.fullmatch(path):
        raise UserError(f"no prompt file at {path!r}, and a hub dataset is named OWNER/NAME")
    return None


def stem(path: str) -> str:
    """What a path is called: a file's name without its suffix, for a pattern its folder's."""
    place = expanded(path)
    if glob.has_magic(path) and not os.path.lexists(place):
        return place.absolute().parent.name or "prompts"
    return bounded.stem(place)


def is_list(path: str) -> bool:
    """Whether a path is called as a file of prompts is."""
    return bounded.suffix(Path(path)) in (".txt", *tables.READERS)


def is_table(file: Path) -> bool:
    """Whether a file has rows with headings and not a prompt a line."""
    return bounded.suffix(file) in tables.READERS


def _table(file: Path, with_lists: bool) -> Path:
    bounded.require_file(file)
    if with_lists and is_list(str(file)):
        return file
    if with_lists:
        raise UserError(f"{file} should end in .txt, {FORMATS}")
    if bounded.suffix(file) == ".txt":
        raise UserError(
            f"{file} has prompts without labels; give dataset.memorized=FILE.txt and "
            "dataset.others=FILE.txt"
        )
    if not is_table(file):
        raise UserError(f"{file} should end in {FORMATS}, or .txt for two lists")
    return file


def _folder(place: Path, with_lists: bool, setting: str) -> list[Path] | None:
    """A folder's tables; None where splits or configurations of a hub dataset are to be chosen."""
    below = _below(place, setting)
    tables_below = [file for file in below if is_table(file)]
    lists = [file for file in below if with_lists and bounded.suffix(file) == ".txt"]
    if not tables_below and not lists:
        known = f".txt, {FORMATS}" if with_lists else FORMATS
        raise UserError(f"{str(place)!r} is a folder without a file in {known}")
    for file in tables_below:
        bounded.require_file(file)
    card = place / "README.md"
    if lists and not tables_below:
        return sorted(lists)
    if card in below or any(SPLIT.search(str(file.relative_to(place))) for file in tables_below):
        return None
    suffixes = sorted({bounded.suffix(file) for file in [*tables_below, *lists]})
    if len(suffixes) > 1:
        raise UserError(
            f"{str(place)!r} has files in {' and '.join(suffixes)}; name those that are meant, "
            f"such as {setting}='{place}/*{suffixes[0]}'"
        )
    return sorted(tables_below)


def _below(place: Path, setting: str) -> list[Path]:
    """Everything in a folder and its folders but what is hidden; links are not followed.

    Raises:
        UserError: It is too much, or may not be read.
    """
    below: list[Path] = []

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename!r} cannot be read: {error.strerror}")

    for folder, folders, names in os.walk(place, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below += [Path(folder, name) for name in names if not name.startswith((".", "_"))]
        if linked := [name for name in folders if os.path.islink(os.path.join(folder, name))]:
            raise UserError(
                f"{str(Path(folder, linked[0]))!r} is a link to another folder; name the files "
                "that are meant"
            )
        if len(below) + len(folders) > MOST:
            raise UserError(
                f"{str(place)!r} has more than {MOST:,} files; name those that are meant, such as "
                f"{setting}='{place}/*.parquet'"
            )
    return below
