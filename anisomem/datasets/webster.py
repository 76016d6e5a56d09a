"""Webster's own labels of the prompts that his attack has extracted, where the file is at hand.

Each of the prompts was tried again on several seeds, and is labelled by what came out: ``TV`` a
template, ``MV`` its own training picture, ``RV`` another training picture, ``N`` none of these.
The last are hard negatives: training captions that an attack has taken for memorized. By the
released code (onestep-extraction) the labels are thresholds on squared distances; that code calls
its threshold relaxed, and an ``N`` has not been shown to be no memorization.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anisomem.datasets import clusters, tables
from anisomem.datasets.cards import UnpinnedFile
from anisomem.datasets.files import require_text
from anisomem.errors import UserError

NEGATIVE = "N"
KINDS = ("TV", "MV", "RV", NEGATIVE)
COLUMNS = {"prompt": "caption", "urls": "url", "kind": "overfit_type"}


@dataclass(frozen=True)
class Labelled:
    """A prompt with Webster's label.

    Attributes:
        row: The number of its row, from 1.
        text, url, kind: The caption, the address of its picture, and its label.
    """

    row: int
    text: str
    url: str
    kind: str


def read(source: UnpinnedFile, folder: Path, name: str) -> list[Labelled]:
    """The rows of the file.

    Arguments:
        source: What a card says of it.
        folder: Where it is looked for.
        name: The set that it is read for, for messages.

    Raises:
        UserError: It is not at hand, or has other rows than its card says.
    """
    file = source.find(folder)
    if file is None:
        raise UserError(
            f"{name} has its hard negatives from {Path(source.path).name}, which is not below"
            f" {folder}; download {source.url} into it, or point paths.data or ANISOMEM_DATA to it"
        )
    table = tables.read([file], tables.Columns(COLUMNS))
    if lacking := [COLUMNS[ours] for ours in COLUMNS if ours not in table.chosen]:
        raise UserError(f"{file} lacks columns {', '.join(lacking)}; it has {table.heading()}")
    rows = []
    for number, (where, cells) in enumerate(table.rows, 1):
        text, url, kind = (cells[ours] for ours in COLUMNS)
        if not all(isinstance(cell, str) and cell.strip() for cell in (text, kind)):
            raise UserError(f"{where}: expected texts in caption and overfit_type")
        require_text(where, "caption", text)
        if kind not in KINDS:
            raise UserError(f"{where}: overfit_type is {kind[:40]!r}, expected {', '.join(KINDS)}")
        rows.append(Labelled(number, text, url if isinstance(url, str) else "", kind))
    negatives = sum(row.kind == NEGATIVE for row in rows)
    if (len(rows), negatives) != (source.rows, source.negatives):
        raise UserError(
            f"{file} has {len(rows)} rows and {negatives} labelled {NEGATIVE}, its card says"
            f" {source.rows} and {source.negatives}"
        )
    return rows


class Labels:
    """What Webster's file says of captions; one whose words alone are equal is the same.

    Arguments:
        rows: The rows of the file.
    """

    def __init__(self, rows: Sequence[Labelled]) -> None:
        self._equal = {row.text: row.kind for row in rows}
        self._similar = {tuple(clusters.words(row.text)): row.kind for row in rows}

    def of(self, text: str) -> str | None:
        """The label of a caption; None where the file does not have it."""
        return self._equal.get(text) or self._similar.get(tuple(clusters.words(text)))

    def counted(self, texts: Sequence[str]) -> str:
        """How many of some captions have which label, in words."""
        counts = Counter(self.of(text) or "not in the file" for text in texts)
        return ", ".join(f"{kind} {counts[kind]}" for kind in (*KINDS, "not in the file"))
