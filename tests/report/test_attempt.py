"""What a report leaves out, and who is told of it."""

import pytest

from anisomem.report.attempt import attempt, attempts, left
from anisomem.run import forked


def fail():
    raise RuntimeError("made to fail")


@pytest.mark.parametrize("cores", [1, 2])
def test_what_is_left_out_counts_each_time(monkeypatch, cores):
    monkeypatch.setattr(forked, "_cores", lambda: cores)
    makes = {"a": lambda: attempt("table a", fail), "b": lambda: 2, "c": lambda: 3}
    before = len(left)
    for again in (1, 2):
        assert attempts(makes, "tables", "table") == {"b": 2, "c": 3}
        assert left[before:] == ["table a"] * again
    del left[before:]
