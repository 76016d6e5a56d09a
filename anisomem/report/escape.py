"""Text from prompt files, models and detectors as each output format shows it: as text.

One function for each format. What they are given may be anything that a prompt file holds.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Marks that turn the direction of what follows, over the end of a cell.
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BREAKS = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"

_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "-": "-{}",  # before another one, else two are a dash
    "'": "'{}",  # likewise, a closing quotation mark
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "²": "$^2$",
    "√": r"$\surd$",
    "‖": r"$\|$",
    "γ": r"$\gamma$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
    "χ": r"$\chi$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
}
_SPECIAL = re.compile(r"-(?=-)|'(?=')|[" + re.escape("".join(set(_LATEX) - set("-'"))) + "]")

# Within a line. An underscore between letters is one, and brackets are no link without a target.
_MARKDOWN = re.compile(
    r"""[\\`*<$~|] | (?<![^\W_])_ | _(?![^\W_]) | &(?=\#?\w+;) | (?<=\])\(""", re.VERBOSE
)

_FORMULA = "=+-@＝＋－＠"  # a cell that begins so is one to a spreadsheet
_NUMBER = r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?"
# Numbers as tables show them: alone, or with spread and interval. Neither is a formula.
_SHOWN = re.compile(
    rf"{_NUMBER}%?|[+-]?inf|{_NUMBER}%?( ± {_NUMBER}%?)? \[{_NUMBER}%?, {_NUMBER}%?\]( \(.*\))?",
    re.IGNORECASE | re.DOTALL,
)


def plain(text: str) -> str:
    """A text on one line without control characters, which a terminal or a parser obeys."""
    if text.isprintable():  # nearly all are, and there are ten thousand cells to a report
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in _BREAKS:
        return " "
    hidden = unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTIONS
    return "\N{REPLACEMENT CHARACTER}" if hidden else character


def latex(text: str) -> str:
    """A text in LaTeX's text mode, every special character as itself."""
    return _SPECIAL.sub(lambda match: _LATEX[match.group()], plain(text))


def latex_line(cells: Sequence[str]) -> str:
    """A line of a tabular."""
    line = " & ".join(map(latex, cells))
    # The command that ends the line before would take these for its own argument.
    return ("{}" if line.startswith(("[", "*")) else "") + line + r" \\"


def beyond_latex(text: str) -> str:
    """The characters that pdfLaTeX does not know, once each."""
    known = {*map(chr, range(0x180)), *_LATEX, *"‘’“”"}
    return "".join(dict.fromkeys(c for c in plain(text) if c not in known))


def markdown(text: str) -> str:
    """A text within a line of Markdown, such as a table's cell."""
    return _MARKDOWN.sub(r"\\\g<0>", plain(text))


def markdown_line(text: str) -> str:
    """A text that begins a line, such as a note or a heading."""
    return re.sub(r"^\s*(?=[#>+=\[-])|(?=#+\s*$)", r"\\", markdown(text))


def width(text: str) -> int:
    """Columns of a terminal that a text takes: two for a wide character, none for a mark."""
    if text.isascii():
        return len(text)
    wide = {"W": 2, "F": 2}
    return sum(
        0 if unicodedata.combining(c) else wide.get(unicodedata.east_asian_width(c), 1)
        for c in text
    )


def cell(value: Any) -> Any:
    """A value for CSV: a text that a spreadsheet would take for a formula gets an apostrophe."""
    if not isinstance(value, str) or _SHOWN.fullmatch(value):
        return value
    return f"'{value}" if value.lstrip().startswith(tuple(_FORMULA)) else value


def comma_separated(lines: Iterable[Sequence[Any]]) -> str:
    """CSV; a cell with a line break of any kind is quoted."""
    parts: list[str] = []

    class Sink:
        def write(self, line: str) -> None:
            parts.append(line.removesuffix("\r\n") + "\n")

    # Only characters of the terminator are sure to be quoted.
    writer = csv.writer(Sink(), lineterminator="\r\n")
    for line in lines:
        writer.writerow([cell(value) for value in line])
    return "".join(parts)
