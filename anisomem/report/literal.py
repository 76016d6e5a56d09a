"""Texts of figures as they are: no formulas, no control characters, any script.

What is drawn, and in which colours, is in ``figures`` and ``style``.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter, LogFormatter

from anisomem.report import escape

#: Installed families that are asked first; others may draw letters as symbols.
PREFERRED = ("Noto Sans", "Source Han Sans", "WenQuanYi", "Droid Sans Fallback", "Unifont")
#: matplotlib's own that have other signs in the places of letters, or a box for everything.
UNFIT = ("Last Resort", "STIXNonUnicode", "STIXSize", "cm")

SETTINGS = {"text.parse_math": False}  # what a user calls something is no formula
mpl.rcParams.update(SETTINGS)

log = logging.getLogger(__name__)
_said: set[str] = set()


def prepare(figure: Figure) -> None:
    """Makes a finished figure's texts literal; it is not drawn to again.

    Characters that the default font lacks come from an installed font that has them. Where none
    has, squares stand for them, which is said once.
    """
    axes = [axis for a in figure.axes for axis in (a.xaxis, a.yaxis)]
    names = [name for axis in axes for name in _names(axis)]
    for axis in axes:
        for which in ("major", "minor"):
            formatter = getattr(axis, f"get_{which}_formatter")()
            if isinstance(formatter, (FixedFormatter, FuncFormatter, LogFormatter)):
                getattr(axis, f"set_{which}_formatter")(_Literal(formatter))
    texts: list[Any] = figure.findobj(Text)
    for text in texts:
        text.set_text(_shown(text.get_text()))
    lacking = {c for t in (*names, *(text.get_text() for text in texts)) for c in t} - _default()
    families = list(dict.fromkeys(f for c in sorted(lacking) if (f := _family(c))))
    if unknown := {c for c in lacking if c != "\n" and not _family(c)} - _said:
        _said.update(unknown)
        shown = "".join(sorted(unknown)[:10])
        log.warning(
            "figures show squares for %s: no installed font has them; those of Noto do", shown
        )
    if families:
        with quiet():
            figure.draw_without_rendering()  # only then are ticks' texts there
        for text in figure.findobj(Text):
            text.set_fontfamily([*text.get_fontfamily(), *families])


@contextmanager
def quiet() -> Iterator[None]:
    """Silences matplotlib's own line for every character that no font has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _shown(text: str) -> str:
    return "\n".join(map(escape.plain, text.split("\n")))


def _names(axis: Axis) -> list[str]:
    formatter = axis.get_major_formatter()
    return list(formatter.seq) if isinstance(formatter, FixedFormatter) else []


class _Literal(Formatter):
    """What another formatter says, in plain characters: on a log axis it writes formulas."""

    def __init__(self, inner: Formatter) -> None:
        self._inner = inner

    def set_axis(self, axis: Any) -> None:
        super().set_axis(axis)
        self._inner.set_axis(axis)

    def set_locs(self, locs: Any) -> None:
        super().set_locs(locs)
        self._inner.set_locs(locs)

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = self._inner(x, pos)
        return plain_power(text) if isinstance(self._inner, LogFormatter) else _shown(text)


def plain_power(formula: str) -> str:
    r"""Writes a power of ten in plain characters, ``$\mathdefault{10^{-2}}$`` as ``10⁻²``."""
    raised = str.maketrans("0123456789-−+.", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁺·")
    text = re.sub(r"\\math\w+", "", formula.strip("$")).replace(r"\times", "×")
    text = re.sub(r"\^\{([^{}]*)\}", lambda match: match[1].translate(raised), text)
    return re.sub(r"[{}$\\]", "", text)


@cache
def _default() -> frozenset[str]:
    """The characters of the default font."""
    path = font_manager.findfont(font_manager.FontProperties())
    return frozenset({*map(chr, font_manager.get_font(path).get_charmap()), "\n"})


@cache
def _family(character: str) -> str | None:
    """An installed family that has a character."""
    return next((name for name, has in _installed() if ord(character) in has), None)


@cache
def _installed() -> list[tuple[str, frozenset[int]]]:
    """Scalable families with the characters of their regular face, preferred ones first."""
    regular = {
        face.name: face
        for face in font_manager.fontManager.ttflist
        if (face.style, face.weight) == ("normal", 400) and not face.name.startswith(UNFIT)
    }
    order = sorted(regular, key=lambda name: (not name.startswith(PREFERRED), name))
    fonts = []
    for name in order:
        try:
            font = font_manager.get_font(regular[name].fname)
            if font.scalable:  # a font of bitmaps, such as of emoji, cannot be drawn
                fonts.append((name, frozenset(font.get_charmap())))
        except (OSError, RuntimeError):  # damaged, or of a kind that is not supported
            continue
    return fonts
