"""``anisomem pack``: a finished run or scan as one file that a stranger can verify.

What it holds is :mod:`anisomem.evidence`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from anisomem.cli import runs
from anisomem.cli.command import FILE, FOLDER, Command
from anisomem.console.progress import phase


@click.command(
    "pack",
    cls=Command,
    short_help="Pack a finished run or scan as evidence.",
    examples=[
        "anisomem pack runs/quickstart --out packet.zip",
        "anisomem pack runs/scan --out packet.zip --redact",
    ],
)
@click.argument(
    "run", metavar="RUN", type=FOLDER, help="A finished run or scan, e.g. runs/quickstart."
)
@click.option(
    "--out", type=FILE, metavar="FILE", required=True, help="The packet; it must not be there yet."
)
@click.option(
    "--redact",
    is_flag=True,
    help="Hide prompts: their salted hashes stand there, and no picture.",
)
@runs.allow
def command(run: Path, out: Path, redact: bool, allowed: Sequence[str]) -> None:
    """Pack a finished run or scan: scores, settings, identity, hashes, tables.

    anisomem verify computes every number of it again, without the model.
    """
    from anisomem.evidence.pack import pack

    files = [file for file, _ in runs.configurations([run])]
    with phase("packing"):
        lines = pack(files, out, redact, allowed)
    print("\n".join(lines))
