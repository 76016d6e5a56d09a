"""Printed numbers agree with computed ones in every digit, and with no others."""

import numpy as np
import pytest

from anisomem.evidence.digits import (
    Sheet,
    agree,
    difference_of_sheets,
    difference_of_texts,
    rounded,
)


def test_every_number_agrees_with_what_it_is_printed_as_and_not_with_its_neighbours():
    generator = np.random.default_rng(0)
    for value in (generator.normal(size=300) * 10.0 ** generator.integers(-9, 9, 300)).tolist():
        printed = rounded(value)
        assert agree(printed, value)
        last = 10.0 ** (np.floor(np.log10(abs(value))) - 5)
        for other in (printed + last, printed - last):
            assert not agree(float(f"{other:.6g}"), value)


@pytest.mark.parametrize("other", [0.1234565, 0.12345650001, 0.0, -0.123457, np.nan, np.inf])
def test_more_digits_than_are_printed_do_not_agree(other):
    assert not agree(other, 0.1234568)


def test_at_the_edge_either_neighbour_agrees():
    edge = 0.1234565
    assert agree(0.123456, edge) and agree(0.123457, edge)
    assert not agree(0.123458, edge) and not agree(0.123455, edge)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1.5,x\n", None),
        ("a,b\n1.6,x\n", "line 2, a: '1.6', and its rows make '1.5'"),
        ("a,b\n1.50,x\n", "it is written otherwise than pack writes"),
        ("a,b\n 1.5,x\n", "it is written otherwise than pack writes"),
        ("a,b\r\n1.5,x\r\n", "it is written otherwise than pack writes"),
        ("a,b\n1.5,y\n", "line 2, b: 'y', and its rows make 'x'"),
        ("a,c\n1.5,x\n", "line 1, b: 'c', and its rows make 'b'"),
        ("a,b\n1.5,x\n1.5,x\n", "it has 3 lines, and its rows make 2"),
        ("a,b\n", "it has 1 lines, and its rows make 2"),
        ("a,b\n1.5\n", "line 2 has 1 cells, and its rows make 2"),
        ("a,b\n,x\n", "line 2, a: '', and its rows make '1.5'"),
        ('a,b\n"1.5,x\n', "it has no CSV, and its rows make 2"),
    ],
)
def test_the_first_cell_that_differs_is_named(text, said):
    assert difference_of_sheets(text, Sheet(["a", "b"], [[1.5, "x"]])) == said


def test_a_text_that_reads_as_a_number_stays_as_it_is():
    edge = 0.12345650000001  # of which another machine may print the neighbour
    sheet = Sheet(["id", "s"], [["1.10", edge], ["2", 1.0]])
    printed = sheet.printed()
    assert difference_of_sheets(printed, sheet) is None
    other = printed.replace("0.123457", "0.123456")
    assert other != printed and difference_of_sheets(other, sheet) is None
    assert difference_of_sheets(other.replace("1.10", "1.1"), sheet) is not None


def test_the_first_line_that_differs_is_named():
    assert difference_of_texts("a\nb", "a\nb") is None
    assert difference_of_texts("a\nc", "a\nb") == "line 2 is 'c', and its rows make 'b'"
    assert difference_of_texts("a", "a\nb") == "line 2 is missing, and its rows make 'b'"
    assert difference_of_texts("a\n", "a") == "line 2 is '', and its rows make missing"
