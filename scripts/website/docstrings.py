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
_BLOCK = re.compile(r"^ *\.\. code-block:: \w+\n", re.MULTILINE)


class Docstrings(Extension):
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
    text = _SHOWN.sub(lambda m: f"{m['indent']}{_mathml(m['tex'], 'block')}", docstring)
    text = _INLINE.sub(lambda m: _mathml(m["tex"], "inline"), text)
    text = _ROLE.sub(lambda m: f"`{m['name'].removeprefix('~')}`", text)
    text = re.sub(r"::$", ":", _BLOCK.sub("", text), flags=re.MULTILINE)
    return text.replace("``", "`")


def _mathml(tex: str, display: str) -> str:
    """A formula, with nothing in it that Markdown would take for a mark of its own."""
    mathml = convert(" ".join(tex.split()), display=display)
    return mathml.replace("*", "&#42;").replace("_", "&#95;").replace("`", "&#96;")
