"""What labels mean, and that no message turns one into its opposite."""

import pytest

from anisomem.datasets.labels import WORDS, meaning, require_one_reading
from anisomem.errors import UserError


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (("1", 1, 1.0, "1.0", " +1 ", True, "TRUE", "yes", "Pos", "mem", "Memorised"), 1),
        (("0", 0, 0.0, "0.00", "-0", False, "false", "No", "NEG", "nmem"), 0),
        ((-1, "-1", "-1.0", "\u22121"), 0),
        (("unmemorized", "Not Memorized", "not_memorized", "non-memorized", "un-memorised"), 0),
        (("notmemorized", "non mem", "negative", "not-mem"), 0),
        (("partial",), None),
    ],
)
def test_words_of_both_classes(cells, value):
    assert [meaning("here", cell) for cell in cells] == [value] * len(cells)


@pytest.mark.parametrize(
    "cell", ["umemorized", "memorizd", "not", "2", "-2", "0.5", "10", "- 1", "nan", "memоrized"]
)
def test_what_means_nothing_is_refused_without_a_guess(cell):
    with pytest.raises(UserError, match="no label named") as caught:
        meaning("here", cell)
    said = str(caught.value)
    assert "did you mean" not in said and "\n" not in said
    assert "unmemorized" in said and "-1" in said  # the words that it may be


def test_every_word_of_the_message_is_one():
    assert {WORDS[word] for word in ("memorized", "unmemorized", "partial")} == {1, 0, None}


@pytest.mark.parametrize(
    ("heading", "cells", "message"),
    [
        ("label", ["1", "0", "-1"], "the labels 0 and -1"),
        ("unmemorized", [1, 0], "seems to say the opposite"),
        ("is_unmemorized", [True, False], "seems to say the opposite"),
        ("not_memorized", ["yes", "no"], "seems to say the opposite"),
    ],
)
def test_a_column_has_one_reading(heading, cells, message):
    with pytest.raises(UserError, match=message):
        require_one_reading("file", heading, cells)


def test_words_need_no_heading():
    require_one_reading("file", "unmemorized", ["memorized", "unmemorized"])
    require_one_reading("file", "is_memorized", [1, 0])
    require_one_reading("file", "label", [1, -1])
