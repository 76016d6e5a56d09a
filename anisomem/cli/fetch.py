"""``anisomem fetch``: a published prompt set, downloaded and verified.

The download is :mod:`anisomem.datasets.fetch`, of pictures :mod:`anisomem.datasets.pictures`.
"""

from collections.abc import Sequence

import click

from anisomem.cli.command import Command, Named, overrides


@click.command(
    "fetch",
    cls=Command,
    short_help="Download a published prompt set and verify it.",
    settings=["paths.data"],
    examples=["anisomem fetch sd14_webster500", "anisomem fetch all paths.data=FOLDER"],
)
@click.argument(
    "name",
    metavar="NAME",
    type=Named("dataset", more=["all"]),
    help="A published set as anisomem list datasets names it, or all.",
)
@overrides("E.g. paths.data=FOLDER.")
@click.option("--pictures", is_flag=True, help="Also the training pictures that it names.")
def command(name: str, overrides: Sequence[str], pictures: bool) -> None:
    """Download a published prompt set and verify it."""
    from anisomem.config import compose
    from anisomem.datasets.fetch import fetch
    from anisomem.datasets.pictures import fetch_pictures

    data = compose.cases(overrides)[0].paths.data
    for line in fetch(name, data):
        print(line)
    for line in fetch_pictures(name, data) if pictures else ():
        print(line)
