"""Finished runs by their folders, for the commands that read what is stored.

A stored configuration is checked in :mod:`anisomem.run.stored` before it is believed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from anisomem.console.progress import phase
from anisomem.errors import UserError

if TYPE_CHECKING:
    from anisomem.benchmark.case import Case
    from anisomem.benchmark.results import Results

CONFIG, COMPONENTS, IDENTITY = "config.yaml", "components", "identity.json"
F = TypeVar("F", bound=Callable[..., Any])

allow: Callable[[F], F] = click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="A detector of your own, or a class, that a stored run may name: mine, mine.Mine.",
)


def finished(runs: Sequence[Path], allowed: Sequence[str] = ()) -> list[Results]:
    """The results of some runs, complete and with no failure that the user did not allow.

    Of an experiment's folder the runs that are not are left out and said, if there are others.

    Raises:
        UserError: No run lies there, it is not complete, or prompts of it failed.
    """
    from anisomem.benchmark.results import Results

    results: dict[Path, Results] = {}

    def require(case: Case) -> None:
        one = results[case.folder] = Results(case)
        one.require_finished()

    cases = stored(runs, allowed, require)
    for case in cases:  # they have names now that tell them apart
        results[case.folder].name, results[case.folder].title = case.name, case.title
    return [results[case.folder] for case in cases]


def stored(
    runs: Sequence[Path],
    allowed: Sequence[str] = (),
    require: Callable[[Case], None] | None = None,
) -> list[Case]:
    """The cases of some runs as they are.

    Arguments:
        runs: Folders of cases, or of experiments with several.
        allowed: Detectors and classes of the user's own that a configuration may name.
        require: Refuses those that cannot be used, by a UserError.

    Raises:
        UserError: No run lies there.
    """
    with phase("reading the runs", brief=True):
        from anisomem.benchmark.case import stored_cases

        files: dict[Path, bool] = {}
        for file, beside in configurations(runs):  # one that is named itself is asked for
            files[file] = beside and files.get(file, True)
        optional = [file for file, beside in files.items() if beside]
        return stored_cases(files, allowed, optional, require)


def configurations(runs: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """The stored configurations of runs, and whether each is one of several in a named folder."""
    for run in runs:
        itself, beside = sorted(run.glob(CONFIG)), _beside(run)
        if not itself and not beside:
            below = sorted({file.parents[1] for file in run.glob(f"*/*/{CONFIG}")})
            hint = f"; give {' or '.join(map(str, below[:5]))}" if below else ""
            raise UserError(
                f"no run at {str(run)!r} (expected a folder that anisomem run has written){hint}"
            )
        yield from ((file, False) for file in itself)
        yield from ((file, len(beside) > 1) for file in beside)


def _beside(run: Path) -> list[Path]:
    """Where the configurations of the runs in a folder lie, or should."""
    folders = sorted(run.iterdir()) if run.is_dir() else []
    return [
        one / CONFIG
        for one in folders
        if os.path.lexists(one / CONFIG) or (one / COMPONENTS / IDENTITY).exists()
    ]
