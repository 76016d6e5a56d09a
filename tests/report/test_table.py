"""A table as a terminal shows it: narrow, and no digit of what it shows is lost."""

import pytest

from anisomem.report import escape
from anisomem.report.table import COLUMNS, Table, cut, short


@pytest.mark.parametrize(
    ("long", "expected"),
    [
        ("0.923 [0.900, 0.943]", ".923 [.900,.943]"),
        ("1.000 [0.999, 1.000]", "1.000 [.999,1.000]"),
        ("0.923 ± 0.010 [0.900, 0.943]", ".923 ± .010 [.900,.943]"),
        ("-0.013 [-0.034, +0.005]", "-.013 [-.034,+.005]"),
        ("+0.1 [+0.0, +0.2] (note 0.5, x)", "+.1 [+.0,+.2] (note .5, x)"),
        ("10.0% [9.5%, 20.3%]", "10.0% [9.5%,20.3%]"),
        ("1 + 2 JVP", "1+2 JVP"),
        ("0.040", ".040"),
        ("10.5", "10.5"),
        ("wen, n=4", "wen, n=4"),
        ("–", "–"),
    ],
)
def test_numbers_lose_zeros_and_blanks_only(long, expected):
    assert short(long) == expected


def wide(detector="d" * 17, more=()):
    cells = ["p" * 40, "m" * 40, detector, "4"]
    cells += ["0.983 ± 0.011 [0.974, 0.989]"] * 3 + ["4 + 8 JVP", "0.642", "0.315", *more]
    headings = ["prompts", "model", "detector", "n", "AUC", "T1", "T3", "NFE", "s alone", "s"]
    headings += [f"x{k}" for k in range(len(more))]
    return Table(
        "t",
        headings,
        [cells],
        ["a note of many words " * 20],
        above=("model", "prompts"),
        optional=("s", "s alone", "NFE"),
    )


def test_printed_fits_and_says_what_is_left_out():
    text = wide().printed()
    assert max(map(escape.width, text.splitlines())) <= COLUMNS
    assert text.startswith(f"model {'m' * 40}, prompts {'p' * 40}\n\n| detector ")
    assert ".983 [.974,.989]" in text and "±" not in text.split("\n\n")[1]
    assert text.endswith("- Left out to fit 100 columns: ±, s, s alone.\n")
    assert "0.983 ± 0.011 [0.974, 0.989]" in wide().markdown()  # the file has all


def test_printed_cuts_texts_and_never_a_number():
    text = wide(detector="漢" * 60, more=["y" * 50]).printed()
    assert max(map(escape.width, text.splitlines())) <= COLUMNS
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert "…" in rows[1] and rows[1].count(".983 [.974,.989]") == 3
    many = Table("t", [f"h{k}" for k in range(20)], [["0.983 [0.974, 0.989]"] * 20]).printed()
    assert "…" not in many and many.count(".983 [.974,.989] |") == 5
    assert many.endswith("h8, h7, h6, h5.\n")


def test_what_is_said_of_a_number_lets_it_not_be_cut():
    paired = ["+0.091 [+0.071, +0.112]", "+0.000 [+0.000, +0.000] (every draw is equal)"]
    rows = [[f"a{k} against b", cell, ".049", "y" * 60] for k, cell in enumerate(paired)]
    text = Table("t", ["pair", "difference", "p", "more"], rows).printed()
    assert "+.091 [+.071,+.112]" in text and "(every draw is equal)" in text and ".049" in text
    assert max(map(escape.width, text.splitlines())) <= COLUMNS and "…" in text


def test_columns_without_anything_are_not_printed():
    table = Table("t", ["a", "s"], [["x", "–"], ["y", "–"]], optional=("s",))
    assert table.printed() == "| a |\n|---|\n| x |\n| y |\n\n"


def test_what_is_optional_need_not_be_there_and_rows_neither():
    assert Table("t", ["a"], [], optional=("b",)).printed() == "| a |\n|---|\n\n"


def test_parts_stand_apart_in_columns_of_one_width():
    table = Table("t", ["p", "a"], [["1", "x"], ["2", "long"], ["1", "y"]], above=("p",))
    assert table.printed().split("\n\n")[:4] == [
        "p 1",
        "| a    |\n|------|\n| x    |\n| y    |",
        "p 2",
        "| a    |\n|------|\n| long |",
    ]


def test_cut_counts_what_it_takes_once_escaped():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
    assert escape.width(escape.markdown(cut("|" * 50, 9))) <= 9


def test_headings_and_titles_are_texts_too():
    table = Table("*t*", ["a|b", "$x$"], [["c", "d"]], ["_n_"])
    assert table.markdown().startswith(r"| a\|b | \$x\$ |")
    assert table.section().startswith("## \\*t\\*\n\n") and table.section().endswith("- \\_n\\_\n")
    assert r"a\textbar{}b & \$x\$ \\" in table.latex()
    assert Table("t", ["漢"], []).latex().startswith("% needs XeLaTeX or LuaLaTeX")


def test_few_rows_of_many_columns_are_turned_and_none_is_left_out():
    names = [f"heading {i}" for i in range(12)]
    rows = [[f"{i} of the {who}" for i in range(12)] for who in ("first", "second")]
    text = Table("t", names, rows, ["note " * 40]).printed_turned()
    lines = text.splitlines()
    assert max(map(escape.width, lines)) <= 100
    assert lines[0] == "| heading 0  | 0 of the first  | 0 of the second  |"
    assert len([line for line in lines if line.startswith("| heading")]) == 12


@pytest.mark.parametrize("long", ["x" * 300, "漢" * 150, "|" * 120, " ".join(["word"] * 60)])
def test_turned_cells_that_are_too_long_go_on_in_the_next_line(long):
    text = Table(
        "t", ["model", "b"], [["a/b", long], ["c", "0.500 [0.400, 0.600]"]]
    ).printed_turned()
    lines = text.splitlines()
    assert max(map(escape.width, lines)) <= 100 and "…" not in text
    assert (
        "".join(line[10:-2] for line in lines if line[2:4] in ("b ", "  "))
        .replace(" ", "")
        .startswith(escape.markdown(long).replace(" ", ""))
    )
    assert "| b     | .500 [.400,.600] |" in lines


def test_a_page_gets_the_whole_table_and_no_markup_of_its_texts():
    table = Table("A < B", ["<i>", "b"], [["&", "0.5 [0.4, 0.6]"]], ["a <note>"], above=("b",))
    assert table.html() == (
        "<table><caption>A &lt; B</caption><thead><tr><th>&lt;i&gt;</th><th>b</th></tr></thead>"
        "<tbody><tr><td>&amp;</td><td>0.5 [0.4, 0.6]</td></tr></tbody></table>"
        "<ul><li>a &lt;note&gt;</li></ul>"
    )
