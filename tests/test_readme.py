"""What the README and the documents show is what was measured."""

import re
from pathlib import Path

from anisomem.report.table import COLUMNS, short

ROOT = Path(__file__).parent.parent


def test_audit_table_is_the_measured_one():
    shown = (ROOT / "docs" / "datasets.md").read_text().splitlines()
    measured = (ROOT / "results" / "audit.md").read_text().splitlines()
    rows = [line for line in shown if line.startswith("| ") and " ± " in line]
    assert len(rows) > 10
    assert [row for row in rows if row not in measured] == []


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_is_the_measured_one_as_it_is_printed():
    readme = (ROOT / "README.md").read_text()
    measured = (ROOT / "results" / "quickstart" / "table.md").read_text().splitlines()
    headings, _, *rows = (cells(line) for line in measured if line.startswith("|"))
    at = [headings.index(name) for name in ("detector", "n", "AUC", "TPR@1%FPR", "TPR@3%FPR")]
    at += [headings.index("NFE"), headings.index("s alone")]
    count = 0
    for prompts in ("testbed_epsilon", "testbed_velocity"):
        part = readme.split(f"\nmodel {prompts}, prompts {prompts}\n\n")[1].split("\n\n")[0]
        first, _, *shown = map(cells, part.splitlines())
        assert first == [*(headings[k] for k in at[:-1]), "s"]
        known = [[short(row[k]) for k in at] for row in rows if row[0] == prompts]
        assert [row for row in shown if row not in known] == []
        count += len(shown)
        assert max(map(len, part.splitlines())) <= COLUMNS
    assert count > 10


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
