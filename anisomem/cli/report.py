"""``anisomem report``: where the page of a finished run or scan is, and the page as a PDF.

Printing it is :mod:`anisomem.evidence.document`.
"""

from pathlib import Path

import click

from anisomem.cli.command import FILE, FOLDER, Command


@click.command(
    "report",
    cls=Command,
    short_help="Print the page of a finished run or scan as PDF.",
    examples=["anisomem report runs/quickstart --pdf", "anisomem report runs/scan --pdf"],
)
@click.argument(
    "run", metavar="RUN", type=FOLDER, help="A finished run or scan, e.g. runs/quickstart."
)
@click.option("--pdf", is_flag=True, help="Write the page as a PDF, which needs anisomem[pdf].")
@click.option(
    "--out",
    type=FILE,
    metavar="FILE",
    help="Where the PDF is written; it must not be there yet (default: beside the page).",
)
def command(run: Path, pdf: bool, out: Path | None) -> None:
    """Say where the page of a finished run or scan is; with --pdf, print it as a document."""
    from anisomem.console.progress import phase
    from anisomem.evidence import document

    page = document.page_of(run)
    if not pdf and out is None:
        print(f"Page: {page}")
        return
    with phase("printing"):
        print(f"PDF: {document.printed(page, out or page.with_suffix('.pdf'))}")
