"""Pages that need no network: one file each, with one look and one way to sort tables."""

import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

SIDE = 256  # pixels at most: larger pictures are made smaller for the page


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
