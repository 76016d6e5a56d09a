"""``anisomem verify``: whether every number of a packet follows from its rows.

What is checked is in :mod:`anisomem.evidence.verify`.
"""

from pathlib import Path

import click

from anisomem.cli.command import FILE, Command
from anisomem.console.progress import phase


@click.command(
    "verify",
    cls=Command,
    short_help="Check a packet: hashes, and every number from its rows.",
    examples=["anisomem verify packet.zip"],
)
@click.argument("packet", metavar="PACKET", type=FILE, help="What anisomem pack has written.")
def command(packet: Path) -> None:
    """Check a packet of evidence without the model: its files, and every number of its tables.

    It says what it could not check. The exit code is 0 where everything agrees, else 2, with the
    first file that does not.
    """
    from anisomem.evidence.verify import verify

    with phase("verifying"):
        verified = verify(packet)
    print("\n".join(verified.lines(packet)))
