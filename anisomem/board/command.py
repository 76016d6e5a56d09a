"""From a folder of results to its board.

What is found is in ``gather``, what is written in ``page`` and ``listed``.
"""

from __future__ import annotations

from pathlib import Path

from anisomem.board import listed, page
from anisomem.board.gather import PACKET, TABLE, Gathered, gather
from anisomem.console.progress import phase
from anisomem.errors import UserError
from anisomem.report.folder import Folder

PAGE, LIST = "index.html", "board.md"


def board(results: Path, out: Path) -> Gathered:
    """Writes the board of a folder; what it was made of.

    Arguments:
        results: The folder.
        out: Where the page and the Markdown are written.

    Raises:
        UserError: There is no card, or the folder cannot be read.
    """
    found = gather(results)
    if not found.cards:
        why = "; ".join(reason for _, reason in found.refused[:3])
        raise UserError(
            f"no card below {results} (expected {TABLE}, which anisomem run writes, or {PACKET})"
            + (f": {why}" if why else "")
        )
    with Folder(out, "board") as written, phase("writing the board"):
        written.text(LIST, listed.markdown(found.cards))
        written.text(PAGE, page.html(found.cards))
    return found
