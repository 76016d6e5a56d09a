"""Any text is shown as itself in every format, and numbers are left alone."""

import csv
import io

import pytest
from markdown_it import MarkdownIt

from anisomem.report import escape

HOSTILE = [
    "R&D | $5_x^2$ {a} 100% #1 ~ \\ ^",
    "<script>alert(1)</script> &lt;b&gt; &copy;",
    "*a* _b_ __c__ `d` ~~e~~ [f](http://g) ![h](i) <http://j>",
    "two\nlines\r\nand\ttabs\u2028here",
    "# heading",
    "- item",
    "> quote",
    "[ ] task",
    "[x]: http://reference",
    "heading ##",
    "\\foo \\_ \\\\",
    "漢字 עברית é",
]


def rendered(markdown):
    """The text that a reader of the Markdown sees, and the names of everything in it."""
    parser = MarkdownIt("gfm-like", {"linkify": False})
    tokens = [t for token in parser.parse(markdown) for t in [token, *(token.children or [])]]
    text = "".join(t.content for t in tokens if t.type in ("text", "text_special"))
    return text, {t.type for t in tokens}


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_and_nothing_else(text):
    plain = escape.plain(text)
    for line in (f"- {escape.markdown_line(text)}", f"## {escape.markdown_line(text)}"):
        shown, kinds = rendered(line)
        assert shown.strip() == plain.strip()
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open"}
        assert not kinds & {"strong_open", "code_inline", "s_open", "blockquote_open"}
    table = f"| a | b |\n|---|---|\n| {escape.markdown(text)} | x |\n"
    shown, kinds = rendered(table)
    assert shown == f"ab{plain.strip()}x"
    assert kinds & {"td_open"} and not kinds & {"html_inline", "link_open", "em_open", "image"}


def test_markdown_leaves_names_and_intervals_alone():
    for text in ("anisotropy_fitted", "0.923 [0.900, 0.943]", "E > 1", "a & b", "x,c"):
        assert escape.markdown(text) == text


def test_control_characters_reach_no_terminal():
    text = "\x1b[31mred\x07 \u202etxt.exe \ud800 a\nb"
    assert escape.plain(text) == "�[31mred� �txt.exe � a b"


def test_every_special_of_latex_is_itself():
    assert escape.latex(r"\{}$&#%_^~") == (
        r"\textbackslash{}\{\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}"
    )
    # ligatures: two hyphens are a dash, two quotes another quote
    assert escape.latex("a--b---c ''d `e`") == (
        r"a-{}-b-{}-{}-c '{}'d \textasciigrave{}e\textasciigrave{}"
    )
    assert escape.latex("± ≤ ≥ <|>") == r"$\pm$ $\le$ $\ge$ $<$\textbar{}$>$"
    assert escape.latex("a\n\nb") == "a  b"  # an empty line would end the paragraph
    # the end of the line before takes a bracket or a star for its argument
    assert escape.latex_line(["[x]", "y"]) == r"{}[x] & y \\"
    assert escape.latex_line(["*", "y"]).startswith("{}*")


def test_characters_that_need_another_engine_are_named():
    assert escape.beyond_latex("café χ ± 漢字漢") == "漢字"


def test_width_counts_columns_of_a_terminal():
    assert [escape.width(text) for text in ("abc", "漢字", "e\u0301", "ｱ")] == [3, 4, 1, 1]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "-", "+x",
     "-1 [2, 3]=cmd|' /C calc'!A0", "--1", "-1e"],
)  # fmt: skip
def test_a_formula_is_a_text_to_a_spreadsheet(text):
    assert escape.cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value",
    [-1.5, 0, None, True, "-1.5", "+.5", "-1e-05", "-inf", "-3.1%", "x", "a=b", "–", "−1", "",
     "-0.013 [-0.034, +0.005]", "+0.217 ± 0.010 [+0.051, +0.458] (0 in 95% of the draws)"],
)  # fmt: skip
def test_numbers_and_texts_stay_as_they_are(value):
    assert escape.cell(value) is value


def test_csv_reads_back_whatever_line_breaks_it_holds():
    lines = [["a", 'b"c', "d,e"], ["x\ry", "x\r\ny", "x\ny"], [-1.5, "z", "\u2028"]]
    text = escape.comma_separated(lines)
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found == [[str(cell) for cell in line] for line in lines]
    assert text.splitlines()[0] == 'a,"b""c","d,e"'
