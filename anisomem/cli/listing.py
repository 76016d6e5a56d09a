"""``anisomem list``: what can be run, by name.

What is listed are configuration files and installed detectors; :mod:`anisomem.config` knows them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from anisomem.cli.command import Choice, Command
from anisomem.config import catalog
from anisomem.errors import UserError

if TYPE_CHECKING:
    from anisomem.report.table import Table

WHAT = ("detectors", "mitigations", "measures", "models", "datasets", "experiments")


@click.command(
    "list",
    cls=Command,
    short_help="Name what can be run.",
    examples=["anisomem list detectors", "anisomem list detectors --long"],
)
@click.argument(
    "what", metavar="WHAT", type=Choice("list", WHAT), help=f"One of {', '.join(WHAT)}."
)
@click.option("--long", is_flag=True, help="Of detectors: sources, needs and costs, in Markdown.")
def command(what: str, long: bool) -> None:
    """Name what can be run, each with a line that says what it is."""
    if long:
        if what != "detectors":
            raise UserError(f"--long is of detectors, not of {what}")
        print(described().markdown())
        return
    titles = detectors() if what == "detectors" else _members(what.removesuffix("s"))
    for name, title in titles:
        print(f"{name:{max(len(name) for name, _ in titles)}}  {title}")


def _members(group: str) -> list[tuple[str, str]]:
    folder = catalog.folder() / group
    return [(name, catalog.title(folder / f"{name}.yaml")) for name in catalog.names(group)]


def detectors() -> list[tuple[str, str]]:
    """Every detector that can be named, and what it is or what is wrong with it, in a line."""
    from anisomem.config import registry

    every = registry.known()
    counts = Counter(one.name for one in every)
    lines = []
    for one in every:
        try:
            text = one.title()
        except UserError as error:
            text = f"broken: {error}"
        if counts[one.name] > 1:
            text = f"{one.where}: several detectors have this name"
        lines.append((one.name, text))
    return lines


def described() -> Table:
    """Where every detector comes from, what it reads and what that costs."""
    from anisomem.config import compose, registry
    from anisomem.detection.configured import detectors as build_all
    from anisomem.report.table import Table

    broken, lines = {}, []
    names = dict.fromkeys(one.name for one in registry.known())
    for name in names:
        try:
            registry.offer(name)
        except UserError as error:
            broken[name] = str(error)
    chosen = [name for name in names if name not in broken]
    nodes = compose.cases([f"detector=[{','.join(chosen)}]"])[0].detector
    for name in chosen:
        try:
            detector = build_all({name: nodes[name]})[0]
        except Exception as error:  # whatever a class does while it is made
            broken[name] = f"{name}: {' '.join(str(error).split()) or type(error).__name__}"
            continue
        info = detector.info
        if info is None:
            lines.append([name, registry.find(name).title(), *["–"] * 11])
            continue
        paper, cost = info.paper, detector.cost()
        cells = [paper.authors, paper.venue, str(paper.year), paper.arxiv, paper.code]
        cells += [paper.licence, info.reads, str(detector.n), str(cost.nfe), str(cost.jvps)]
        lines.append([name, paper.title, *(cell or "–" for cell in cells), info.orientation])
    headings = ["detector", "title", "authors", "venue", "year", "arXiv", "code", "licence"]
    headings += ["reads", "n", "NFE alone", "JVPs alone", "orientation"]
    notes = [
        "NFE and JVPs (directional derivatives) alone: of one prompt on its own with n noise"
        " samples; what prompts or detectors share is evaluated once, and NFE in a run's table"
        " leaves out what prompts share.",
        "Licence: of the released code; – where none is given.",
    ]
    return Table("Detectors", headings, lines, [*notes, *broken.values()])
