"""A report's folder while it is written: tables, unrounded numbers, figures.

What earlier reports left is known by :mod:`anisomem.storage.manifest`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anisomem.report.attempt import attempt, attempts
from anisomem.report.table import Table
from anisomem.report.tables import comma_separated
from anisomem.storage.manifest import Manifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

Draw = Callable[[], "Figure | None"]


class Folder:
    """What a report writes; when left without an error, what an earlier one left is removed.

    Arguments:
        path: The folder's path.
        kind: The kind of the report, see :class:`anisomem.storage.manifest.Manifest`.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self._manifest = path, Manifest(path, kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._manifest.close()

    def text(self, name: str, content: str) -> None:
        """A file of text."""
        self._manifest.text(name, content)

    def add(self, *paths: Path) -> None:
        """Files that were written into the folder."""
        self._manifest.add(*paths)

    def table(
        self, stem: str, table: Table, records: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """A table as Markdown, LaTeX and CSV.

        Arguments:
            stem: The stem of the files' names.
            table: The table to be written.
            records: The same with unrounded numbers, for the CSV.
        """
        self.text(f"{stem}.md", table.markdown())
        self.text(f"{stem}.tex", table.latex())
        self.text(f"{stem}.csv", comma_separated(records) if records else table.comma_separated())

    def readme(self, make: Callable[[Sequence[str]], str]) -> None:
        """The README.md, unless one stands there that is no report's, which is said.

        Arguments:
            make: Its text, by the names of the files that were written.
        """
        if not self._manifest.may_write("README.md"):
            log.warning("%s is not a report's, and stays as it is", self.path / "README.md")
        elif (content := attempt("README.md", partial(make, self._manifest.names()))) is not None:
            self.text("README.md", content)

    def numbers(self, stem: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Unrounded numbers as CSV, one mapping a line."""
        self.text(f"{stem}.csv", comma_separated(records))

    def more(self, tables: Mapping[str, Table]) -> None:
        """Further tables by name: ``more.md`` holds all, ``more/`` each as CSV and LaTeX."""
        self.text("more.md", "\n".join(table.section() for table in tables.values()))
        for name, table in tables.items():
            self.text(f"more/{name}.csv", table.comma_separated())
            self.text(f"more/{name}.tex", table.latex())

    def figures(self, draws: Mapping[str, Draw]) -> dict[str, Path]:
        """Figures by name, as SVG and PNG; the PNG's path of each that could be drawn.

        They are drawn in several processes. One that fails is left out, which is said; it costs
        no table.
        """
        from anisomem.report import style

        makes = {
            name: partial(style.attempt, draw, self.path / name) for name, draw in draws.items()
        }
        saved = attempts(makes, "figures", "figure")
        for picture in saved.values():
            self.add(*style.files(picture))
        return saved
