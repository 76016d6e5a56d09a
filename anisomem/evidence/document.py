"""The page of a finished run or scan as a document to hand on.

WeasyPrint lays it out by the page's own print style. It is three megabytes beside Pango, a
browser three hundred, and it opens what stands behind a click.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from anisomem.errors import UserError
from anisomem.run.base import CONFIG
from anisomem.scan.written import PAGE as SCANNED
from anisomem.storage import atomic
from anisomem.storage.manifest import Manifest

REPORTED = "report.html"
#: The reports that write a page of a name.
KINDS = {REPORTED: ("report", "sweep", "geometry", "mitigate"), SCANNED: ("scan",)}
INSTALL = (
    "a PDF is made by WeasyPrint: pip install 'anisomem[pdf]', and its library Pango by the"
    " system's packages (apt-get install libpango-1.0-0 libpangoft2-1.0-0)"
)


def page_of(run: Path) -> Path:
    """The page that a finished run, scan, sweep or trial has written, as it was written.

    Arguments:
        run: Its folder, or that of its experiment.

    Raises:
        UserError: There is none, there are several, or a file of it has changed.
    """
    if not run.is_dir():
        raise UserError(f"no run at {str(run)!r} (expected a folder)")
    places = [run, *([run.parent] if (run / CONFIG).exists() else sorted(run.iterdir()))]
    pages = [place / name for place in places for name in KINDS]
    found = [page for page in pages if page.is_file()]
    itself = [page for page in found if page.parent == run]
    if not found:
        raise UserError(
            f"{run} has no page; anisomem table {run} --out FOLDER writes that of a finished run,"
            " and its command again that of a scan"
        )
    if len(chosen := itself or found) > 1:
        raise UserError(
            f"{run} has several pages; give {' or '.join(str(p.parent) for p in chosen[:5])}"
        )
    (page,) = chosen
    if not any(Manifest(page.parent, kind).standing() for kind in KINDS[page.name]):
        raise UserError(
            f"{page} or a file beside it is not as it was written; its command again writes it"
        )
    return page


def printed(page: Path, out: Path) -> Path:
    """Prints a page as PDF and returns where it is.

    Nothing but the page itself is read, which holds its pictures.

    Arguments:
        page: The page.
        out: The PDF, which must not be there.

    Raises:
        UserError: It is there, or what prints is not installed.
    """
    if os.path.lexists(out):
        raise UserError(f"{out} is there already; remove it, or give another --out")
    weasyprint = library()
    for name in ("weasyprint", "fontTools"):  # what screens alone understand is no news
        logging.getLogger(name).setLevel(logging.CRITICAL)

    text = page.read_text(encoding="utf-8")
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=["data"])
    atomic.write_bytes(out, weasyprint.HTML(string=text, url_fetcher=fetcher).write_pdf())
    return out


def library() -> Any:
    """WeasyPrint, without its letting the whole process take damaged pictures for whole ones.

    Raises:
        UserError: It is not installed, or Pango is not.
    """
    from PIL import ImageFile

    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        import weasyprint
    except (ImportError, OSError):  # the latter where Pango lacks
        raise UserError(INSTALL) from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
    return weasyprint
