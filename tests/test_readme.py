"""What the README shows is what was measured."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_table_is_the_measured_one():
    readme = (ROOT / "README.md").read_text()
    measured = (ROOT / "results" / "quickstart" / "table.md").read_text().splitlines()
    shown = [line for line in readme.splitlines() if line.startswith("| testbed_")]
    assert len(shown) > 10
    assert [line for line in shown if line not in measured] == []
