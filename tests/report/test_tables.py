"""Tables say what the evaluation found."""

import numpy as np
import pytest
from scipy import stats

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.report import tables


@pytest.fixture(scope="module")
def case(gallery_run):
    (file,) = gallery_run[1].glob("*/config.yaml")
    return Results(Case.stored(file))


def test_pairs_have_a_verdict_for_each_statistic(case):
    table = tables.pairs_table(case)
    pairs = case.evaluated.comparisons()
    assert len(table.rows) == len(pairs) == 5 * 4 / 2  # wen, anisotropy at n = 1 and 4, random
    heading = list(table.headings)
    assert (
        "unadjusted; the figures of pairs and anisomem compare ask for an adjusted p"
        in (table.notes[0])
    )
    for row, pair in zip(table.rows, pairs, strict=True):
        assert row[heading.index("a")] == case.detectors[pair.a].key
        assert row[heading.index("a is, by AUC (unadjusted)")] == pair.auc.verdict
        assert row[heading.index("a is, by TPR@1%FPR (unadjusted)")] == pair.tpr[0.01].verdict
        assert row[heading.index("p, TPR@3%FPR")] == f"{pair.tpr_holm_p[0.03]:.2g}"
    # every one of 200 draws on one side, by Student's distribution for so few clusters
    units = case.evaluated.resampling.units
    z = stats.norm.ppf(1 / 201) * np.sqrt((units - 1) / units)
    least = 2 * stats.t(units - 1).cdf(z)
    assert least > 2 / 201
    assert (
        f"no p value is below {least:.2g}, which the number of pairs, 10, can raise to "
        f"{10 * least:.2g};" in table.notes[1]
    )


def test_costs_are_those_of_components(case):
    table = tables.costs_table([case])
    found = {(row[2], row[3]): row for row in table.rows}
    assert found["anisotropy", "4"][4:7] == ["8", "8", "0"]
    assert found["wen", "1"][4:7] == ["1", "1", "0"]
    assert ("random", "0") not in found
    assert all(float(row[9]) > 100 for row in table.rows)  # torch alone is more


def test_the_note_on_evaluations_names_a_detector_of_the_table(case):
    rows = case.table
    (said,) = (note for note in tables.notes_of(rows) if note.startswith("NFE"))
    assert "4 for anisotropy, n=1, and 2 here" in said or "2 for wen, n=1, and 1 here" in said
    wen = [row for row in rows if row.detector == "wen"]
    (said,) = (note for note in tables.notes_of(wen) if note.startswith("NFE"))
    assert said.endswith("detectors --long: 2 for wen, n=1, and 1 here).")
    chance = [row for row in rows if row.detector == "random"]
    assert not any("anisotropy" in note for note in tables.notes_of(chance))
