"""Which cards lie in a folder of results, and what lies there besides.

The numbers of a run's own folder are taken as its files say them. Those of a packet are computed
again, and one that is not verified has no card. Below a folder ``cards`` lie those of others, of
which packets alone count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anisomem.board import cards
from anisomem.board.cards import Card
from anisomem.console import progress
from anisomem.errors import UserError
from anisomem.evidence.verify import verify
from anisomem.storage import foreign

TABLE, PACKET = "table.json", "packet.zip"
OF_OTHERS = "cards"  # the folder whose folders hold packets
DEEPEST, MOST_FOLDERS = 6, 10_000  # that are looked through


@dataclass(frozen=True)
class Gathered:
    """What a folder has for a board.

    Attributes:
        cards: The cards, in the order of their folders.
        empty: Folders below which there is no card.
        refused: What was no card though it lay in the place of one: where, and why.
    """

    cards: Sequence[Card] = field(default_factory=list)
    empty: Sequence[Path] = field(default_factory=list)
    refused: Sequence[tuple[Path, str]] = field(default_factory=list)


def gather(folder: Path) -> Gathered:
    """Reads all cards below a folder; no link is followed.

    Arguments:
        folder: E.g. ``results``.

    Raises:
        UserError: It is no folder, or holds more folders than are looked through.
    """
    if not folder.is_dir():
        raise UserError(f"no folder at {str(folder)!r} (expected one with results, results/)")
    files, empty = _found(folder)
    found: list[Card] = []
    refused = []
    for file in progress.over(files, "reading cards", "card"):
        try:
            found += _read(file, file.parent.relative_to(folder.parent).as_posix())
        except UserError as error:
            refused.append((file, str(error)))
    return Gathered(found, empty, refused)


def _read(file: Path, place: str) -> list[Card]:
    """The cards of a run's table, or of a packet that is verified."""
    if file.name == TABLE:
        return cards.read(foreign.read_json(file), place)
    verified = verify(file)
    if not verified.made.card:
        raise UserError(f"{file} is of a scan, which has no table of detectors")
    packet = [("sha256 of the packet", verified.sha256)]
    return cards.read(verified.made.card, place, packet, verified.unchecked())


def _found(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of cards, and the uppermost folders below which there is none."""
    files: list[Path] = []
    empty: list[Path] = []
    left = MOST_FOLDERS

    def look(place: Path, depth: int, of_others: bool) -> bool:
        """Whether there is a card in a folder or below it."""
        nonlocal left
        left -= 1
        if left < 0:
            raise UserError(f"{folder} has more than {MOST_FOLDERS:,} folders; give one of them")
        names = (PACKET,) if of_others else (PACKET, TABLE)
        if here := [place / name for name in names if _is_file(place / name)]:
            files.append(here[0])
            return True
        if depth == DEEPEST:
            return False
        lacking, has = [], False
        for below in _folders(place):
            if look(below, depth + 1, of_others or place.name == OF_OTHERS):
                has = True
            else:
                lacking.append(below)
        if has or depth == 0:  # else the folder itself is named by who asked
            empty.extend(lacking)
        return has

    look(folder, 0, False)
    return sorted(files), sorted(empty)


def _folders(place: Path) -> Iterator[Path]:
    with os.scandir(place) as entries:
        names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    yield from (place / name for name in sorted(names) if not name.startswith("."))


def _is_file(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()
