"""``anisomem scores``: what every prompt of a finished run scored.

The rows are chosen and written in :mod:`anisomem.report.scores`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli import runs
from anisomem.cli.command import FILE, FOLDER, Checked, Choice, Command, Named, positive


@click.command(
    "scores",
    cls=Command,
    short_help="Print what every prompt of a finished run scored.",
    examples=[
        "anisomem scores runs/quickstart wen --top 20",
        "anisomem scores runs/quickstart --label memorized --out scores.csv",
    ],
)
@click.argument("run", metavar="RUN", type=FOLDER, help="A finished run, e.g. runs/quickstart.")
@click.argument(
    "detectors",
    nargs=-1,
    metavar="[DETECTOR]...",
    type=Named("detector"),
    help="A name, at its largest n, or a row: wen,n=1 (default: the metric, in files all).",
)
@click.option(
    "--top",
    type=Checked(positive),
    metavar="N",
    help="The largest scores of the first detector (default: all).",
)
@click.option("--prompt", metavar="TEXT", help="Prompts that contain it, or of this id.")
@click.option(
    "--label",
    type=Choice("label", ("memorized", "other")),
    metavar="LABEL",
    help="Of one class alone: memorized or other (default: both).",
)
@click.option("--out", type=FILE, metavar="FILE", help="Write them, as FILE.csv or FILE.parquet.")
@runs.allow
def command(
    run: Path,
    detectors: Sequence[str],
    top: int | None,
    prompt: str | None,
    label: str | None,
    out: Path | None,
    allowed: Sequence[str],
) -> None:
    """Print what every prompt of a finished run scored, with its rank."""
    from anisomem.report.scores import Filter, scores

    cases = runs.finished([run], allowed)
    print(scores(cases, detectors, Filter(prompt, label, top), out))
