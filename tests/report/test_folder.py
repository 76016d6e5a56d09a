"""What a report writes into its folder."""

import csv

import pytest

from anisomem.report.folder import Folder
from anisomem.report.table import Table

TABLE = Table("Areas", ["a", "b"], [["1.23", "x|y"]], ["So it is."])


def test_a_table_is_three_files_and_its_numbers_are_unrounded(tmp_path):
    with Folder(tmp_path, "report") as folder:
        folder.table("table", TABLE, [{"a": 1.23456789, "b": "x|y"}])
        folder.table("plain", TABLE)
    assert (tmp_path / "table.md").read_text() == TABLE.markdown()
    assert (tmp_path / "table.tex").read_text() == TABLE.latex()
    with (tmp_path / "table.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"a": "1.23456789", "b": "x|y"}]
    with (tmp_path / "plain.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"a": "1.23", "b": "x|y"}]


def test_what_an_earlier_report_left_goes_unless_this_one_fails(tmp_path):
    with Folder(tmp_path, "report") as folder:
        folder.more({"first": TABLE})
    with pytest.raises(AttributeError), Folder(tmp_path, "report") as folder:
        folder.table("second", None)
    assert (tmp_path / "more" / "first.csv").exists()
    with Folder(tmp_path, "report") as folder:
        folder.numbers("third", [{"x": 1}])
    assert not (tmp_path / "more" / "first.csv").exists() and (tmp_path / "third.csv").exists()


def test_a_figure_that_fails_costs_only_itself(tmp_path, caplog):
    def fails():
        raise ValueError("no data")

    with Folder(tmp_path, "report") as folder:
        assert folder.figures({"broken": fails, "nothing": lambda: None}) == {}
        folder.table("table", TABLE)
    assert "left out: ValueError: no data" in caplog.text
    assert not list(tmp_path.glob("broken*")) and (tmp_path / "table.md").exists()
