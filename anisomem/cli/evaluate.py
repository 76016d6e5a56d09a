"""``anisomem evaluate``: the table, figures and page of scores from anywhere.

The file is read in :mod:`anisomem.datasets.scored`, and judged in :mod:`anisomem.benchmark.given`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli.command import FILE, FOLDER, Command, overrides, typed
from anisomem.cli.outcome import warn
from anisomem.console.progress import phase
from anisomem.errors import unknown


@click.command(
    "evaluate",
    cls=Command,
    short_help="Evaluate scores from anywhere, without a model.",
    settings=["draws", "fpr_targets", "bootstrap_seed"],
    examples=[
        "anisomem evaluate scores.csv",
        "anisomem evaluate scores.csv --score mine --score theirs --out evaluated",
    ],
)
@click.argument(
    "file",
    type=FILE,
    metavar="FILE",
    help="A table (.csv, .tsv, .jsonl, .json, .parquet) with the columns label (1 = memorized) and"
    " one or more of scores, and perhaps cluster, id and prompt.",
)
@click.option(
    "--score",
    "names",
    multiple=True,
    metavar="COLUMN",
    help="A column of scores (default: all that mean nothing else).",
)
@click.option(
    "--out", type=FOLDER, metavar="FOLDER", help="Also write tables, figures and report there."
)
@overrides("E.g. draws=1000.")
def command(file: Path, names: Sequence[str], out: Path | None, overrides: Sequence[str]) -> None:
    """Evaluate scores from anywhere: larger ones must mean more memorized; no sign is changed.

    A column whose AUC is far below 0.5 is shown as it is: it points the wrong way.
    """
    with phase("reading the scores", brief=True):
        from dataclasses import replace

        from anisomem.benchmark import given
        from anisomem.config import compose
        from anisomem.datasets import scored

        settings = {}
        for one in compose.checked(overrides):
            if one.key not in given.SETTINGS:
                raise unknown("setting of evaluate", one.key, given.SETTINGS)
            settings[one.key] = one.value
        read = scored.load(file, names)
        prompts = read.prompts
        if not read.clustered:
            prompts = replace(prompts, cautions=[*prompts.cautions, given.INDEPENDENT])
        results = given.results(prompts, read.scores, settings, read.model)
    from anisomem.report import report

    if out:
        report.write([results], out, typed())
    with phase("statistics", brief=bool(out)):
        text = report.printed([results])
    print(text)
    warn([results])
    if out:
        print(f"Report: {out}/ (tables, figures, report.html)")
