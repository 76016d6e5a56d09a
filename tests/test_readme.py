"""What the README and the documents show is what was measured."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_audit_table_is_the_measured_one():
    shown = (ROOT / "docs" / "datasets.md").read_text().splitlines()
    measured = (ROOT / "results" / "audit.md").read_text().splitlines()
    rows = [line for line in shown if line.startswith("| ") and " ± " in line]
    assert len(rows) > 10
    assert [row for row in rows if row not in measured] == []


def test_table_is_the_measured_one():
    readme = (ROOT / "README.md").read_text()
    measured = (ROOT / "results" / "quickstart" / "table.md").read_text().splitlines()
    shown = [line for line in readme.splitlines() if line.startswith("| testbed_")]
    assert len(shown) > 10
    assert [line for line in shown if line not in measured] == []


def test_every_detector_has_a_line():
    documented = (ROOT / "docs" / "detectors.md").read_text().partition("## Where")[0]
    first = [line.split("|")[1] for line in documented.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(first)))
    assert named == {file.stem for file in (ROOT / "conf" / "detector").glob("*.yaml")}


def test_every_mitigation_has_a_line():
    documented = (ROOT / "docs" / "mitigation.md").read_text()
    first = [line.split("|")[1] for line in documented.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(first)))
    assert named == {file.stem for file in (ROOT / "conf" / "mitigation").glob("*.yaml")}
