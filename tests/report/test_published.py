"""Published numbers stand beside the rows they were reported for, and nowhere else."""

from dataclasses import replace

import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.report import published, report


def test_cards_hold_fractions_and_rules():
    found = published.published()
    assert {one.rule for one in found} <= {"nearest", "strict", "at_most"}
    assert {one.model for one in found} == {"sd14", "sd15", "sd20", "sd21", "realvis51"}
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


def test_numbers_of_the_first_steps_are_for_the_settings_they_were_reported_for():
    found = {
        (one.detector, one.settings.get("step")): (
            one.values["auc"],
            one.values["tpr_at_fpr_0.01"],
        )
        for one in published.published()
        if one.model == "sd15" and one.prompts == "sd14_webster500"
    }
    assert found == {
        ("early_metric_2", None): (0.9759, 0.828),
        ("early_dsm", None): (0.9745, 0.858),
        ("early_dsm", 0): (0.9647, 0.834),
        ("jeon", None): (0.9642, 0.806),
        ("wen", None): (0.9406, 0.734),
        (None, None): (0.9621, 0.79),
    }


def test_a_model_is_found_by_its_name_and_a_note_is_printed(run, monkeypatch):
    monkeypatch.setattr(run, "config", replace(run.config, model_listed="sd15"))
    run.config.model["stands_for"] = None
    try:
        table = published.comparison([run], run.table)
    finally:
        run.config.model["stands_for"] = "sd14"
    lines = [dict(zip(table.headings, cells, strict=True)) for cells in table.rows]
    (line,) = (
        one for one in lines if (one["detector"], one["n"], one["number"]) == ("wen", "1", "AUC")
    )
    assert line["published"] == "0.941" and line["source"].endswith("2026, summary.txt, step 0")
    (rate,) = (
        one
        for one in lines
        if (one["detector"], one["n"], one["number"]) == ("wen", "1", "TPR@1%FPR")
    )
    (row,) = (r for r in run.table if (r.detector, r.n) == ("wen", 1))
    assert rate["difference"] == f"{row.summary.tpr[0.01].value - 0.734:+.3f}"
    assert any("differ by up to .05 in AUC" in note for note in table.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": 60},
        {"model_listed": "testbed_epsilon"},  # which stands for the model
        {"model": {"adapters": ["mine.safetensors"]}},
    ],
)
def test_numbers_are_of_the_model_itself_and_all_its_prompts(run, monkeypatch, changes):
    assert run.config.stands_for == "sd14" and run.config.model_listed == ""
    if "model" in changes:
        changes = {"model": {**run.config.model, **changes["model"]}}
    monkeypatch.setattr(run, "config", replace(run.config, **changes))
    assert published.comparison([run], run.table) is None
    (table,) = report.headline([run], run.table)
    assert table.notes[-1] == "Nothing is published of these rows."


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
