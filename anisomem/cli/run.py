"""``anisomem run``: an experiment, from overrides to the printed table.

Composing is :mod:`anisomem.config`, and all that comes after it is in ``outcome``.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from anisomem.cli.command import Command, overrides
from anisomem.cli.outcome import finish, show_plan
from anisomem.cli.settings import defaults
from anisomem.console.progress import phase


@click.command(
    "run",
    cls=Command,
    short_help="Run an experiment, or continue it, and print its table.",
    settings=[
        "experiment",
        "model",
        "dataset",
        "detector",
        "seeds",
        "limit",
        "workers",
        "draws",
        "dry_run",
        "runs",
    ],
    examples=[
        "anisomem run experiment=quickstart",
        "anisomem run experiment=quickstart 'seeds=[42,51,53]' 'detector=[anisotropy,wen]'",
        "anisomem run experiment=table1_sd14 dry_run=true",
    ],
)
@overrides("Settings of the run; conf/config.yaml has all of them.")
def command(overrides: Sequence[str]) -> int:
    """Run an experiment, or continue it, and print its table.

    What is recorded is kept, so the same command again continues where it was interrupted, and
    prints the table at once where nothing is missing.
    """
    return run(overrides)


def run(overrides: Sequence[str], own_report: bool = False) -> int:
    """Runs the cases that the overrides choose, or continues them; the exit code.

    Arguments:
        overrides: The words of the command line.
        own_report: Whether every case has a report in its folder, where no other process writes.

    Raises:
        UserError: Overrides that are wrong, or choose no detector.
    """
    with phase("reading the configuration", brief=True):
        from anisomem.benchmark.case import Case, with_distinct_names
        from anisomem.config import compose
        from anisomem.config.build import build
        from anisomem.run import labelled

        composed = labelled.judged(overrides)
    name = labelled.run_name(overrides, composed, defaults()["experiment"].default, "")
    compose.require_chosen(composed[0], "detector")
    if composed[0].dry_run:
        return show_plan(composed, name)
    with phase("reading the prompts and what is recorded", brief=True):
        cases = with_distinct_names(Case(one, name) for one in composed)
    settings = cases[0].config.logger
    logger = build(settings, "logger") if settings else None
    if own_report:
        return max(finish([case], case.folder, logger) for case in cases)
    return finish(cases, cases[0].folder.parent, logger)
