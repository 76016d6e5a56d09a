"""What a comparison has found, as an object that shows itself.

Its tables, figures and page are those of :mod:`anisomem.report`.
"""

from __future__ import annotations

import html
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from anisomem.benchmark.results import Results
from anisomem.config.overrides import path
from anisomem.errors import UserError, unknown
from anisomem.report import compare, report, scores, tables
from anisomem.report.compared import compared
from anisomem.report.table import Table
from anisomem.report.warnings import warnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE = ("a", "b")  # columns of pairs where there is none


class Report:
    """Tables and figures of detectors on labelled prompts.

    In a notebook it shows its table, and as text the table that ``anisomem run`` prints. What its
    reader must know before the numbers is also said on stderr, once.

    Arguments:
        results: The scores of all prompts and what they achieve.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._tables: Sequence[Table] = report.headline([results], results.table)
        for line in self.warnings:
            print(f"anisomem: warning: {line}", file=sys.stderr)

    @cached_property
    def warnings(self) -> list[str]:
        """What puts scores in doubt; what limits the numbers stands below the table.

        Detectors without a score, constant or reversed ones, controls that do as well as any.
        """
        return warnings([self._results])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each detector and n: AUC and TPR, intervals, notes and cost, unrounded."""
        return pd.DataFrame(tables.records(self._results.table))

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """A row for each pair: differences in AUC and TPR, intervals, p values and verdicts.

        A verdict is after Holm's adjustment over all pairs; ``a`` is better or worse.
        """
        if len(detectors := self._results.detectors) < 2:
            return pd.DataFrame(columns=list(NONE))
        found = compared(self._results, detectors)
        return pd.DataFrame(compare.records(self._results.model, compare.ALL, found))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row for each prompt: its score and rank by each detector."""
        return scores.frame([self._results])

    @cached_property
    def figures(self) -> list[str]:
        """The names of figures; some do not apply to all prompts and detectors."""
        with _own_settings():
            from anisomem.report.figures import FIGURES, OF_PAIRS

        return [*FIGURES, *(OF_PAIRS if len(self._results.detectors) > 1 else ())]

    def figure(self, name: str = "roc") -> Figure:
        """A figure of the page, which shows itself in a notebook.

        Arguments:
            name: One of :attr:`figures`.

        Raises:
            UserError: There is none of that name, or it does not apply here.
        """
        with _own_settings():
            from matplotlib import pyplot

            from anisomem.report import style
            from anisomem.report.colours import colours_of
            from anisomem.report.figures import OF_PAIRS, compared_of, figures_of

            if name not in self.figures:
                raise unknown("figure", name, self.figures)
            pairs = compared_of(self._results) if name in OF_PAIRS else None
            draw = figures_of(self._results, pairs, colours_of([self._results])).get(name)
            if draw is None or (figure := draw()) is None:
                raise UserError(f"the figure {name} does not apply to these prompts and detectors")
            pyplot.close(figure)  # or a notebook would show it twice
            style.prepare(figure)
            figure.draw_without_rendering()  # its ticks are made by our settings
        vars(figure)["_repr_png_"] = partial(_png, figure)
        return figure

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Writes what ``anisomem run`` leaves: tables, scores, figures and ``report.html``.

        Arguments:
            folder: Where to; what an earlier report has left there goes.

        Returns:
            The page.

        Raises:
            UserError: It cannot be written there.
        """
        place = Path(path(os.fspath(folder), "folder"))
        with _own_settings():
            report.write([self._results], place)
        return place / "report.html"

    def __str__(self) -> str:
        return report.printed([self._results])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = [f"<p><b>{html.escape(line)}</b></p>" for line in self.warnings]
        return "".join([*said, *(table.html() for table in self._tables)])


@contextmanager
def _own_settings() -> Iterator[None]:
    """Figures are drawn by settings of ours, and the user's own are as they were."""
    import matplotlib as mpl

    with mpl.rc_context():
        from anisomem.report import style

        mpl.rcParams.update(style.SETTINGS)
        yield


def _png(figure: Figure) -> bytes:
    """A figure as a notebook shows it."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()
