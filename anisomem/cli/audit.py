"""``anisomem audit``: what is wrong with a prompt set.

The findings are made in :mod:`anisomem.report.audit`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli.command import FILE, Command, Named, overrides
from anisomem.console.progress import phase


@click.command(
    "audit",
    cls=Command,
    short_help="Show what is wrong with a prompt set, in tables.",
    settings=["paths.data"],
    examples=["anisomem audit testbed_epsilon", "anisomem audit all --out audit.md"],
)
@click.argument(
    "name",
    metavar="NAME",
    type=Named("dataset", more=["all"]),
    help="As anisomem list datasets names it, or all.",
)
@overrides("E.g. dataset.variant=head.")
@click.option("--out", type=FILE, metavar="FILE", help="Keep the tables as Markdown.")
def command(name: str, overrides: Sequence[str], out: Path | None) -> None:
    """Show a prompt set's duplicates, and what its text alone gives away, in tables."""
    with phase("loading the libraries", brief=True):
        from anisomem.report.audit import audit

    print(audit(name, overrides, out))
