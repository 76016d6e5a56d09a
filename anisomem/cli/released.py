"""``anisomem import-released`` and ``export-released``: files of the anisotropy paper's code.

The layout of those files is read and written in :mod:`anisomem.benchmark.released`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli import runs as finished_runs
from anisomem.cli.command import FOLDER, Command, overrides
from anisomem.cli.outcome import finish


@click.command(
    "import-released",
    cls=Command,
    short_help="Score tensors of the anisotropy paper's code.",
    settings=["dataset", "draws", "runs"],
    examples=[
        "anisomem import-released det_outputs",
        "anisomem import-released det_outputs dataset=sd14_webster500 model.stands_for=sd14",
    ],
)
@click.argument("folder", type=FOLDER, metavar="FOLDER", help="E.g. det_outputs.")
@overrides("E.g. runs=FOLDER, or dataset=NAME.")
def import_released(folder: Path, overrides: Sequence[str]) -> int:
    """Score tensors of the anisotropy paper's code: store and table."""
    from anisomem.benchmark import released
    from anisomem.benchmark.case import with_distinct_names

    cases = with_distinct_names(released.load(folder, overrides, "released"))
    return finish(cases, cases[0].folder.parent)


@click.command(
    "export-released",
    cls=Command,
    short_help="Write recorded scores as the anisotropy paper's code does.",
    examples=["anisomem export-released runs/quickstart --out det_outputs"],
)
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUN...", type=FOLDER, help="E.g. runs/quickstart."
)
@click.option(
    "--out", required=True, type=FOLDER, metavar="FOLDER", help="Where the tensors are written."
)
@finished_runs.allow
def export_released(runs: Sequence[Path], out: Path, allowed: Sequence[str]) -> None:
    """Write recorded scores as the anisotropy paper's code does."""
    from anisomem.benchmark import released
    from anisomem.benchmark.results import Results

    all_results = [Results(case) for case in finished_runs.stored(runs, allowed)]
    for path in released.save(all_results, out):
        print(path)
