"""Brings chosen cases to a printed table, and to the exit code that says how it went.

``run``, ``sweep`` and ``released`` end here. Completing a case is ``benchmark``, the table
``report``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anisomem.cli.command import typed
from anisomem.errors import concerning

if TYPE_CHECKING:
    from anisomem.benchmark.case import Case
    from anisomem.benchmark.results import Results
    from anisomem.config.schema import Config
    from anisomem.report.standing import Printed
    from anisomem.report.wandb_logger import WandbLogger

log = logging.getLogger(__name__)


def show_plan(configs: Sequence[Config], experiment: str) -> int:
    """Prints what would run and what it costs, and starts nothing; the exit code."""
    from anisomem.report.plan import plan

    print(plan(configs, experiment).printed_turned())
    return 0


def finish(cases: Sequence[Case], folder: Path, logger: WandbLogger | None = None) -> int:
    """Records what is missing, writes and prints the table, and returns the exit code.

    Arguments:
        cases: All of one table.
        folder: Where the report is written.
        logger: Where the finished run is also sent.
    """
    from anisomem.report import standing

    if logger is None and (printed := standing.printed(cases, folder)):
        _say(printed, folder)
        return 0
    code = standing.code()

    from anisomem.benchmark.complete import complete
    from anisomem.report import report
    from anisomem.report.attempt import attempt, left
    from anisomem.report.warnings import warnings
    from anisomem.storage.atomic import CannotWriteError

    completed = []
    for case in cases:
        log.info("%s: records into %s", case.name, case.folder)
        with concerning(str(case.folder)):
            completed.append(complete(case))
    all_results = [one.results for one in completed]
    if failed(all_results):
        return 1
    lost, of = len(left), standing.made_of(cases, code)
    try:
        with concerning(str(folder)):
            drawn = report.write(all_results, folder, typed())
            printed = standing.Printed(report.printed(all_results), warnings(all_results))
            if len(left) == lost:  # what was left out is tried again, and said again
                standing.keep(printed, cases, folder, of)
    except CannotWriteError as error:
        print(report.printed(all_results))
        if any(one.worked for one in completed) or not error.forbidden:
            raise
        print(f"anisomem: the report is as it was: {error}", file=sys.stderr)
        return 0
    _say(printed, folder)
    if logger:
        attempt("the run on Weights & Biases", partial(logger.log, all_results, folder, drawn))
    return 0


def _say(printed: Printed, folder: Path) -> None:
    """Prints a report's table, what its reader must know, and where the report is."""
    print(printed.table)
    _warn(printed.warnings)
    print(f"Report: {folder}/ (tables, figures; components in a folder per model)")


def warn(all_results: Sequence[Results]) -> None:
    """Says what a reader must know before the numbers."""
    from anisomem.report.warnings import warnings

    _warn(warnings(all_results))


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"anisomem: warning: {line}", file=sys.stderr)


def failed(all_results: Sequence[Results]) -> bool:
    """Whether prompts of a case failed and the user did not allow it, which is said."""
    failing = [results for results in all_results if results.ends_in_failure]
    for results in failing:
        first, reason = next(iter(results.failures.items()))
        print(
            f"anisomem: {results.name}: {len(results.failures)} of {len(results.case.prompts)} "
            f"prompts failed, first {first!r} ({reason}); on_failure=keep makes the table without "
            "them, on_failure=retry evaluates them again",
            file=sys.stderr,
        )
    return bool(failing)
