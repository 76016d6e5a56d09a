"""``anisomem geometry``: the claims about the log-probability's geometry, with verdicts.

The evaluation and the report are :mod:`anisomem.geometry`.
"""

from collections.abc import Sequence

import click

from anisomem.cli.command import Command, overrides, typed
from anisomem.config import catalog


@click.command(
    "geometry",
    cls=Command,
    short_help="Measure claims about the log-probability's geometry.",
    settings=["experiment", "model", "dataset", "limit", "draws", "dry_run", "runs"],
    usual={"experiment": catalog.GEOMETRY},
    examples=["anisomem geometry", "anisomem geometry experiment=geometry_sd14 dry_run=true"],
)
@overrides("As of anisomem run, without detectors.")
def command(overrides: Sequence[str]) -> None:
    """Measure the claims about the log-probability's geometry, with verdicts."""
    from anisomem.geometry.command import geometry

    print(geometry(overrides, command=typed()))
