"""``anisomem check-detector``: whether a detector keeps what every detector has to.

The rules are in :mod:`anisomem.conformance`; here they are printed with their verdicts.
"""

from collections.abc import Sequence

import click

from anisomem.cli.command import Command, Named


@click.command(
    "check-detector",
    cls=Command,
    short_help="Check that a detector keeps what every detector has to.",
    examples=["anisomem check-detector wen", "anisomem check-detector wen steps=5"],
)
@click.argument(
    "target", metavar="TARGET", type=Named("detector"), help="E.g. wen, or a class: mine.Mine."
)
@click.argument(
    "settings", nargs=-1, metavar="[NAME=VALUE]...", help="Settings of the detector, e.g. steps=5."
)
def command(target: str, settings: Sequence[str]) -> int:
    """Check that a detector keeps what every detector has to; the exit code is 1 if not."""
    from anisomem.detection.configured import named

    detector = named(target, settings)
    from anisomem.conformance import check

    kept = True
    for finding in check(detector):
        print(finding, flush=True)
        kept &= finding.ok
    return 0 if kept else 1
