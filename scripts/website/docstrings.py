"""Docstrings as Markdown: formulas as MathML, and the roles that they mark names with as code.

mkdocstrings reads docstrings as Markdown; this package writes them as Sphinx reads them. MathML is
drawn by the browser itself, so that pages need neither a script nor a network.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object
from latex2mathml.converter import convert

_SHOWN = re.compile(
    r"^(?P<indent> *)\.\. math:: *(?P<tex>.*(?:\n(?P=indent) +\S.*)*)", re.MULTILINE
)
_INLINE = re.compile(r":math:`(?P<tex>[^`]+)`")
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`~?(?P<name>[^`]+)`")
_BORDER = r"^=+(?: +=+)+$"
_TABLE = re.compile(
    rf"{_BORDER}\n(?P<head>.*\n){_BORDER}\n(?P<body>(?:.+\n)+?){_BORDER}", re.MULTILINE
)
_BLOCK = re.compile(r"^ *\.\. code-block:: \w+\n", re.MULTILINE)


class Docstrings(Extension):  # type: ignore[misc]
    """Rewrites every docstring once it has been read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrites the docstring of an object, if it has one."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """A docstring as Markdown.

    Arguments:
        docstring: It, in the markup of Sphinx.
    """
    text = _TABLE.sub(_table, docstring)
    text = _SHOWN.sub(lambda m: f"{m['indent']}{_mathml(m['tex'], 'block')}", text)
    text = re.sub(r"::$", ":", _BLOCK.sub("", text), flags=re.MULTILINE)
    return _in_line(text)


def _in_line(text: str) -> str:
    """A text with the formulas and names that stand in its lines as Markdown has them."""
    text = _INLINE.sub(lambda m: _mathml(m["tex"], "inline"), text)
    text = _ROLE.sub(lambda m: f"`{m['name']}`", text)
    return text.replace("``", "`")


def _table(found: re.Match[str]) -> str:
    """A simple table of reStructuredText, whose columns stand below the marks of its border."""
    starts = [mark.start() for mark in re.finditer("=+", found[0].partition("\n")[0])]
    columns = [slice(a, b) for a, b in zip(starts, [*starts[1:], None], strict=True)]
    rows: list[list[str]] = []
    for line in [found["head"].rstrip("\n"), *found["body"].splitlines()]:
        cells = [line[column].strip() for column in columns]
        if len(rows) > 1 and not cells[0]:  # it goes on with the row above
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    rows = [[_in_line(cell).replace("|", "&#124;") for cell in row] for row in rows]
    rows.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _mathml(tex: str, display: str) -> str:
    """A formula, with nothing in it that Markdown would take for a mark of its own."""
    mathml = convert(" ".join(tex.split()), display=display)
    return mathml.replace("*", "&#42;").replace("_", "&#95;").replace("`", "&#96;")
