"""Docstrings come out as Markdown: formulas as MathML, names as code, blocks as blocks."""

import pytest

pytest.importorskip("griffe", reason="needs the extra docs")
pytest.importorskip("latex2mathml", reason="needs the extra docs")


def test_formulas_are_mathml_without_marks_of_markdown():
    from scripts.website.docstrings import as_markdown

    text = as_markdown("Norm.\n\n.. math:: \\frac1k \\sum_{i<k} a_i\n    + b^*\n\nat :math:`x_T`.")
    _, shown, last = text.split("\n\n")
    assert shown.startswith("<math") and 'display="block"' in shown and shown.endswith("</math>")
    assert "\n" not in shown and not set("*_`") & set(shown)
    assert last.startswith("at <math") and 'display="inline"' in last


def test_a_simple_table_is_one_and_its_rows_are_whole():
    from scripts.website.docstrings import as_markdown

    border = "====  ===========  ====="
    lines = [border, "      ``one``      two", border, "norm  first,       b", "      second"]
    text = as_markdown("\n".join(["So:", "", *lines, "cos   :math:`|x|`  d", border, "", "End."]))
    before, table, after = text.split("\n\n")
    head, rule, norm, cos = table.splitlines()
    assert (before, after) == ("So:", "End.")
    assert head == "|  | `one` | two |" and rule == "| --- | --- | --- |"
    assert norm == "| norm | first, second | b |"
    assert cos.startswith("| cos | ") and cos.count("|") == 4


def test_roles_are_code_and_blocks_stay():
    from scripts.website.docstrings import as_markdown

    assert as_markdown("See :class:`~a.b.C` and ``x``.") == "See `a.b.C` and `x`."
    assert as_markdown("So::\n\n    run(x)\n") == "So:\n\n    run(x)\n"
    assert as_markdown(".. code-block:: python\n\n    run(x)\n") == "\n    run(x)\n"
