"""Pages that need no network: one file each, with one look and one way to sort tables."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from anisomem.report.table import Table

SIDE = 256  # pixels at most: larger pictures are made smaller for the page
APART = ("prompts", "model")  # columns whose values stand above the parts of a page's table


@dataclass(frozen=True)
class Grouped:
    """A table as a page shows it: rows of one case under its name, and one column in sight.

    Attributes:
        title, notes: The table's.
        headings: Without those whose values stand above rows.
        groups: Rows by what stands above them, "" where that is nothing.
        key: The heading of the column that stays in sight; "" for none.
        rows: The number of all rows.
    """

    title: str
    headings: Sequence[str]
    groups: Mapping[str, Sequence[Sequence[str]]]
    notes: Sequence[str]
    key: str
    rows: int


def grouped(table: Table, keys: Sequence[str]) -> Grouped:
    """A table whose cases stand above their rows, which leaves its columns to the numbers.

    Arguments:
        table: The table.
        keys: Headings, of which the first that the table has stays in sight.
    """
    apart = [k for k, name in enumerate(table.headings) if name in APART]
    kept = [k for k in range(len(table.headings)) if k not in apart]
    groups: dict[str, list[list[str]]] = {}
    for row in table.rows:
        above = ", ".join(f"{table.headings[k]} {row[k]}" for k in apart)
        groups.setdefault(above, []).append([row[k] for k in kept])
    headings = [table.headings[k] for k in kept]
    key = next((name for name in keys if name in headings), "")
    return Grouped(table.title, headings, groups, table.notes, key, len(table.rows))


def rendered(package: str, name: str, **values: Any) -> str:
    """A page of a template, whose texts are made safe; ``css`` and ``script`` are those of all.

    Arguments:
        package: Where the template lies.
        name: Its file.
        values: What it shows.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    own = files("anisomem.report")
    shared = {
        key: Markup(own.joinpath(file).read_text(encoding="utf-8"))
        for key, file in (("css", "page.css"), ("script", "page.js"))
    }
    text = files(package).joinpath(name).read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True).from_string(text)
    return template.render(**shared, **values)


def embedded(file: Path) -> str:
    """A picture's file as a page holds it."""
    return base64.b64encode(file.read_bytes()).decode()


def picture(content: Image.Image) -> str:
    """A picture as a page holds it, a PNG in base64; it is made smaller in place."""
    content.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    content.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
