"""Tables of text, in Markdown, LaTeX and CSV, and as a terminal shows them.

Which tables there are is in ``tables`` and in the rooms above; text is made safe in ``escape``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import fill

from anisomem.report import escape

COLUMNS = 100  # of a terminal
LEAST = 8  # columns that a cell keeps when it is cut

_NUMBER = r"[+-]?(?:\d+\.?\d*|inf|nan)%?"
_NUMBERS = re.compile(r"([-+−–±.,:/%()\[\]\s\d]|JVP|inf|nan|e[+-]?\d)*")  # a cell of nothing else
_SHORT = re.compile(r"[+-−]?\.?\d[\d.]*%?( ± \S+)? \[[^\[\]]*\]")  # an estimate, short or not
_ESTIMATE = re.compile(rf"({_NUMBER})( ± {_NUMBER})? (\[{_NUMBER}), ({_NUMBER}\])(.*)", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """Text cells under headings, with notes below.

    Attributes:
        title: Above it.
        headings, rows: The cells, any text.
        notes: Below it.
        above: Headings whose values stand above the parts of the table where it is printed.
        optional: Headings to leave out, the first one first, where it would be too wide in print.
        shorter: Headings that are others in print.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    above: Sequence[str] = ()
    optional: Sequence[str] = ()
    shorter: Mapping[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """A pipe table, columns aligned."""
        notes = "".join(f"- {escape.markdown_line(note)}\n" for note in self.notes)
        return "\n".join(_piped(_escaped([self.headings, *self.rows]))) + "\n\n" + notes

    def section(self) -> str:
        """The Markdown table under its title."""
        return f"## {escape.markdown_line(self.title)}\n\n{self.markdown()}"

    def printed(self) -> str:
        """Markdown that fits a terminal: cells are shorter, and columns may be left out."""
        table, left_out = self._narrowed()
        cells = _escaped([table.headings, *table.rows])
        lines = _piped(cells)
        blocks = []
        for place, rows in self._rows_by_group().items():
            above = ", ".join(f"{name} {value}" for name, value in place)
            heading = [fill(escape.markdown_line(above), COLUMNS), ""] if above else []
            blocks.append("\n".join([*heading, *lines[:2], *(lines[2 + row] for row in rows)]))
        notes = [
            *self.notes,
            *([f"Left out to fit {COLUMNS} columns: {', '.join(left_out)}."] if left_out else []),
        ]
        return "\n\n".join(blocks) + "\n\n" + _listed(notes)

    def printed_turned(self) -> str:
        """The same with a line for every heading, for few rows of many columns; none left out.

        Rows stand beside each other, the first cell of each as its heading, or below each other
        where they do not fit.
        """
        cells = [self.headings, *_map_cells(self.rows, short)]
        turned = self._columns_of(cells)
        if turned._width() <= COLUMNS:
            return turned.printed()
        blocks = [self._columns_of([cells[0], row])._wrapped() for row in cells[1:]]
        return "\n\n".join(blocks) + "\n\n" + _listed(self.notes)

    def _columns_of(self, cells: Sequence[Sequence[str]]) -> Table:
        heading, *lines = map(list, zip(*cells, strict=True))
        return Table(self.title, heading, lines, self.notes)

    def _wrapped(self) -> str:
        """A name and a text a line, where a text goes on in the next one if it is too long."""
        lines = [[escape.markdown(cell) for cell in line] for line in (self.headings, *self.rows)]
        room = COLUMNS - max(escape.width(name) for name, _ in lines) - len("|  |  |") - 1
        parts = [(name, _folded(text, room)) for name, text in lines]
        return "\n".join(
            _piped(
                [["" if i else name, one] for name, texts in parts for i, one in enumerate(texts)]
            )
        )

    def html(self) -> str:
        """The whole table under its title, notes below, for a page or a notebook."""

        def line(tag: str, cells: Sequence[str]) -> str:
            return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f"<table><caption>{html.escape(self.title)}</caption>"
            f"<thead>{line('th', self.headings)}</thead>"
            f"<tbody>{''.join(line('td', row) for row in self.rows)}</tbody></table>"
            f"<ul>{notes}</ul>"
        )

    def latex(self) -> str:
        r"""A booktabs table; needs ``\\usepackage{booktabs}``."""
        lines = [
            rf"\begin{{tabular}}{{{'l' * len(self.headings)}}}",
            r"\toprule",
            escape.latex_line(self.headings),
            r"\midrule",
            *map(escape.latex_line, self.rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par{{\footnotesize {escape.latex(note)}\par}}" for note in self.notes),
        ]
        if other := escape.beyond_latex("".join(lines)):
            lines.insert(0, f"% needs XeLaTeX or LuaLaTeX, and a font that has {other}")
        return "\n".join(lines) + "\n"

    def comma_separated(self) -> str:
        """The cells as they are shown, without the notes."""
        return escape.comma_separated([self.headings, *self.rows])

    def _rows_by_group(self) -> dict[tuple[tuple[str, str], ...], list[int]]:
        """Rows by what stands above them."""
        columns = [(name, list(self.headings).index(name)) for name in self.above]
        rows: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for i, row in enumerate(self.rows):
            rows.setdefault(tuple((name, row[k]) for name, k in columns), []).append(i)
        return rows or {(): []}

    def _narrowed(self) -> tuple[Table, list[str]]:
        """A table of the columns that fit, and the names of those left out."""
        optional = [name for name in self.optional if name in self.headings]
        empty = [name for name in optional if set(self._column(name)) <= {"–"}]
        table = self._without_columns([*self.above, *empty])
        headings = [self.shorter.get(name, name) for name in table.headings]
        table = replace(table, headings=headings, rows=_map_cells(table.rows, short))
        left_out = []
        if table._width() > COLUMNS and any(" ± " in c for row in self.rows for c in row):
            table = replace(table, rows=_map_cells(table.rows, _without_spread))
            left_out.append("±")
        for name in (name for name in optional if name not in empty):
            if table._width() <= COLUMNS:
                break
            table = table._without_columns([self.shorter.get(name, name)])
            left_out.append(name)
        while table._width() > COLUMNS and len(table.headings) > 1:
            widths = table._cuttable()
            if not widths:
                left_out.append(table.headings[-1])
                table = table._without_columns(table.headings[-1:])
            else:
                widest = max(widths, key=lambda k: widths[k])
                room = max(LEAST, widths[widest] - (table._width() - COLUMNS))
                table = table._cut(widest, room)
        return table, left_out

    def _cuttable(self) -> dict[int, int]:
        """Width by column of texts that have more than the least; half a number is a wrong one."""
        widths = _widths(_escaped([self.headings, *self.rows]))
        texts = {k for row in self.rows for k, cell in enumerate(row) if not _is_number(cell)}
        return {k: widths[k] for k in texts if widths[k] > LEAST}

    def _column(self, name: str) -> list[str]:
        return [row[list(self.headings).index(name)] for row in self.rows]

    def _width(self) -> int:
        return escape.width(_piped(_escaped([self.headings, *self.rows]))[0])

    def _without_columns(self, names: Sequence[str]) -> Table:
        kept = [k for k, name in enumerate(self.headings) if name not in names]
        rows = [[row[k] for k in kept] for row in self.rows]
        return replace(self, headings=[self.headings[k] for k in kept], rows=rows)

    def _cut(self, column: int, room: int) -> Table:
        """A column's cells, and its heading, cut where they are wider than there is room for."""
        first, *rows = (
            [
                cut(cell, room) if k == column and not _is_number(cell) else cell
                for k, cell in enumerate(line)
            ]
            for line in (self.headings, *self.rows)
        )
        return replace(self, headings=first, rows=rows)


def _is_number(cell: str) -> bool:
    """Whether a cell is numbers, or an estimate with what is said of it."""
    return bool(_NUMBERS.fullmatch(cell) or _SHORT.match(cell))


def short(text: str) -> str:
    """``0.923 [0.900, 0.943]`` as ``.923 [.900,.943]``; other cells as they are."""
    if estimate := _ESTIMATE.fullmatch(text):
        value, spread, low, high, more = estimate.groups()
        text = f"{value}{spread or ''} {low},{high}{more}"
        return re.sub(r"(?<![\d.])0\.(?=\d)", ".", text)
    if re.fullmatch(r"\S+ \+ \S+ JVP", text):
        return text.replace(" + ", "+")
    return text[1:] if re.fullmatch(r"0\.\d+", text) else text


def _listed(notes: Sequence[str]) -> str:
    """Notes one by one, as a terminal shows them."""
    return "".join(
        fill(
            f"- {escape.markdown_line(note)}",
            COLUMNS,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
        for note in notes
    )


def _folded(text: str, room: int) -> list[str]:
    """A text in lines of at most so many columns, broken at blanks where it can be."""
    lines, rest = [], text
    while escape.width(rest) > room:
        end = len(rest)
        while escape.width(rest[:end]) > room:
            end -= 1
        end = max(1, rest.rfind(" ", 1, end + 1) if " " in rest[1 : end + 1] else end)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*lines, rest]


def _without_spread(text: str) -> str:
    return re.sub(rf"^({_NUMBER}|\.\d+) ± \S+", r"\1", text)


def cut(text: str, room: int) -> str:
    """A text of at most so many columns once it is escaped, with … where it was cut."""
    if escape.width(escape.markdown(text)) <= room:
        return text
    kept = text
    while kept and escape.width(escape.markdown(kept)) > room - 1:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def _map_cells(rows: Sequence[Sequence[str]], change: Callable[[str], str]) -> list[list[str]]:
    return [[change(cell) for cell in row] for row in rows]


def _escaped(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    return _map_cells(lines, escape.markdown)


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(escape.width, column)) for column in zip(*lines, strict=True)]


def _piped(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a pipe table, the first one its heading; cells are escaped."""
    widths = _widths(lines)

    def line(cells: Sequence[str]) -> str:
        padded = [c + " " * (w - escape.width(c)) for c, w in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [line(lines[0]), rule, *map(line, lines[1:])]
