"""``anisomem board``: all result cards of a folder as one page, and as Markdown.

Cards are gathered and shown by :mod:`anisomem.board`.
"""

import sys
from pathlib import Path

import click

from anisomem.cli.command import FOLDER, Command


@click.command(
    "board",
    cls=Command,
    short_help="Put all result cards of a folder on one page.",
    examples=["anisomem board results/ --out site/board"],
)
@click.argument(
    "results",
    metavar="RESULTS",
    type=FOLDER,
    help="A folder of finished runs, and of packets in cards/NAME/packet.zip.",
)
@click.option(
    "--out", type=FOLDER, metavar="FOLDER", required=True, help="Where the board is written."
)
def command(results: Path, out: Path) -> int:
    """Put the cards of finished runs, and of packets that are verified, side by side.

    A card is one detector on one model and prompt set. What is refused is named with its reason,
    and the exit code then is 1; the board has all the others.
    """
    from anisomem.board.command import LIST, PAGE, board
    from anisomem.board.listed import origins
    from anisomem.report.escape import plain

    found = board(results, out)
    if found.empty:
        print(f"anisomem: no card in {', '.join(map(str, found.empty))}", file=sys.stderr)
    for _, reason in found.refused:
        print(f"anisomem: refused: {plain(reason)}", file=sys.stderr)
    old = [card.origin.place for card in found.cards if card.reported is None]
    for place in dict.fromkeys(old):
        print(
            f"anisomem: {place} does not say what is published; its command again does",
            file=sys.stderr,
        )
    print(f"{len(found.cards):,} cards from {len(origins(found.cards))} cases")
    print(f"Board: {out / PAGE}, {out / LIST}")
    return 1 if found.refused else 0
