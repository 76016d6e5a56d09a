"""Published numbers stand beside the rows they were reported for, and nowhere else."""

import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.report import published


def test_cards_hold_fractions_and_rules():
    found = published.published()
    assert {one.rule for one in found} <= {"nearest", "strict"}
    assert {one.model for one in found} == {"sd14", "sd20", "realvis51"}
    fractions = [v for one in found for k, v in one.values.items() if k != published.SECONDS]
    assert all(0 <= value <= 1 for value in fractions)
    # the digits of one row, from the table it was read in
    (row,) = (
        o for o in found if (o.model, o.detector, o.n) == ("sd20", "jeon", 1) and "auc" in o.values
    )
    assert (row.values["auc"], row.values["tpr_at_fpr_0.01"]) == (0.959, 0.740)


@pytest.fixture(scope="module")
def run(gallery_run, tmp_path_factory):
    """The tiny model in the place of SD v1.4, on 120 + 120 prompts."""
    runs = tmp_path_factory.mktemp("published")
    overrides = [o for o in gallery_run[0] if not o.startswith(("runs=", "gallery="))]
    named = [*overrides, "dataset.name=sd14_webster500", f"runs={runs}"]
    assert main(["run", *named]) == 0
    (file,) = runs.glob("quickstart/*/config.yaml")
    return Results(Case.stored(file))


def test_differences_are_by_the_rule_of_the_source(run):
    rows = run.table
    table = published.comparison([run], rows)
    lines = [dict(zip(table.headings, cells, strict=True)) for cells in table.rows]
    (row,) = (r for r in rows if (r.detector, r.n) == ("anisotropy", 4))
    found = {
        line["number"]: line
        for line in lines
        if (line["detector"], line["n"]) == ("anisotropy", "4")
    }
    assert found["AUC"]["published"] == "0.999 ± 0.001"
    assert found["AUC"]["difference"] == f"{row.summary.auc.value - 0.999:+.3f}"
    rate = row.summary.released_tpr[0.01]
    assert found["TPR@1%FPR"]["difference"] == f"{rate - 0.984:+.3f}"
    interval = row.summary.tpr[0.01].interval
    inside = "yes" if interval.low <= 0.984 <= interval.high else "no"
    agree = rate == row.summary.tpr[0.01].value
    assert found["TPR@1%FPR"]["in our interval"] == (inside if agree else "–")
    assert found["s"]["published"] == "3.40" and float(found["s"]["measured"]) > 0
    # the ablation reports the same row otherwise, and nobody reports a random score
    sums = [line for line in lines if (line["detector"], line["n"]) == ("anisotropy", "1")]
    assert [line["published"] for line in sums if line["number"] == "AUC"] == [
        "0.994 ± 0.001",
        "0.992",
    ]
    (random,) = (line for line in lines if line["detector"] == "random")
    assert random["published"] == "not published"


def test_other_settings_of_a_detector_are_not_what_was_published(gallery_run, tmp_path):
    named = [o for o in gallery_run[0] if not o.startswith(("runs=", "gallery="))]
    named += ["dataset.name=sd14_webster500", f"runs={tmp_path}", "detector=[anisotropy,wen]"]
    assert main(["run", *named, "detector.anisotropy.mode='x,x|c'"]) == 0
    (file,) = tmp_path.glob("quickstart/*/config.yaml")
    case = Results(Case.stored(file))
    found = {(row.detector, bool(published.published_beside(case, row))) for row in case.table}
    assert found == {("anisotropy", False), ("wen", True)}


def test_other_prompts_have_no_such_table(gallery_run):
    (file,) = gallery_run[1].glob("*/config.yaml")
    case = Results(Case.stored(file))
    assert published.comparison([case], case.table) is None
