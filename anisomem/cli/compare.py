"""``anisomem compare``: detectors of finished runs, pair by pair.

The comparison is :mod:`anisomem.report.compare`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli import runs as finished_runs
from anisomem.cli.command import FOLDER, Command, Named
from anisomem.cli.outcome import warn
from anisomem.cli.settings import defaults

QUICKSTART = Path(defaults()["runs"].default, defaults()["experiment"].default)


@click.command(
    "compare",
    cls=Command,
    short_help="Compare detectors of finished runs pair by pair.",
    examples=[
        "anisomem compare wen jeon anisotropy",
        "anisomem compare wen,n=1 wen,n=4 --in runs/quickstart --out compared",
    ],
)
@click.argument(
    "detectors",
    nargs=-1,
    required=True,
    metavar="DETECTOR...",
    type=Named("detector"),
    help="A name, at its largest n, or a row: wen,n=1.",
)
@click.option(
    "--in",
    "runs",
    multiple=True,
    type=FOLDER,
    metavar="RUN",
    default=[QUICKSTART],
    show_default=True,
    help="A finished run; may be given several times.",
)
@click.option("--out", type=FOLDER, metavar="FOLDER", help="Also write tables and a figure there.")
@finished_runs.allow
def command(
    detectors: Sequence[str], runs: Sequence[Path], out: Path | None, allowed: Sequence[str]
) -> None:
    """Compare detectors of finished runs pair by pair, on parts of the prompts too."""
    from anisomem.config import registry
    from anisomem.report.compare import compare

    # A detector that the command names is one that it allows, as the user has configured it.
    named = {name.partition(",")[0] for name in detectors}
    named &= {one.name for one in registry.not_built_in()}
    cases = finished_runs.finished(runs, [*allowed, *named])
    print(compare(cases, detectors, out))
    warn(cases)
