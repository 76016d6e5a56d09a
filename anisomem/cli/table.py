"""``anisomem table``: the table of finished runs, from what they have stored.

It needs no model; the table is made in :mod:`anisomem.report.report`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli import runs as finished_runs
from anisomem.cli.command import FOLDER, Command, typed
from anisomem.cli.outcome import warn
from anisomem.console.progress import phase


@click.command(
    "table",
    cls=Command,
    short_help="Print the table of finished runs from what is stored.",
    examples=[
        "anisomem table runs/quickstart",
        "anisomem table runs/a runs/b --out merged",
    ],
)
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUN...", type=FOLDER, help="E.g. runs/quickstart."
)
@click.option(
    "--out", type=FOLDER, metavar="FOLDER", help="Also write tables, figures and report there."
)
@finished_runs.allow
def command(runs: Sequence[Path], out: Path | None, allowed: Sequence[str]) -> None:
    """Print the table of finished runs from their stores."""
    from anisomem.report import report

    cases = finished_runs.finished(runs, allowed)
    if out:
        report.write(cases, out, typed())
    with phase("statistics", brief=bool(out)):
        text = report.printed(cases)
    print(text)
    warn(cases)
