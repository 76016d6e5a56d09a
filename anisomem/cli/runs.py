"""Finished runs by their folders, for the commands that read what is stored.

A stored configuration is checked in :mod:`anisomem.run.stored` before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from anisomem.console.progress import phase
from anisomem.errors import UserError

if TYPE_CHECKING:
    from anisomem.benchmark.case import Case
    from anisomem.benchmark.results import Results

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

    Raises:
        UserError: No run lies there, it is not complete, or prompts of it failed.
    """
    from anisomem.benchmark.results import Results

    all_results = [Results(case) for case in stored(runs, allowed)]
    for results in all_results:
        results.require_complete()
        if results.ends_in_failure:
            raise UserError(f"{results.folder}: prompts failed; run it again with on_failure=keep")
    return all_results


def stored(runs: Sequence[Path], allowed: Sequence[str] = ()) -> list[Case]:
    """The cases of some runs as they are.

    Arguments:
        runs: Folders of cases, or of experiments with several.
        allowed: Detectors and classes of the user's own that a configuration may name.

    Raises:
        UserError: No run lies there.
    """
    with phase("reading the runs", brief=True):
        from anisomem.benchmark.case import stored_cases

        return stored_cases([file for run in runs for file in _configurations(run)], allowed)


def _configurations(run: Path) -> list[Path]:
    """The stored configurations of a case's folder, or of an experiment's with several."""
    configurations = sorted([*run.glob("config.yaml"), *run.glob("*/config.yaml")])
    if not configurations:
        raise UserError(
            f"no run at {str(run)!r} (expected a folder that anisomem run has written)"
        )
    return configurations
