"""What each prompt scored, from a case made by hand."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from anisomem.errors import UserError
from anisomem.report import scores
from anisomem.report.scores import Filter


@pytest.fixture
def scored(case):
    """Two noise seeds; the prompt p3 failed; p1 and p2 score the same."""
    whole = case.prompts
    case.case = SimpleNamespace(prompts=whole)
    case.model, case.failures = "m", {"p3": "norm is NaN"}
    case.prompts = whole.subset([i != "p3" for i in whole.ids])
    rows = np.stack([np.arange(len(case.prompts), dtype=float)] * 2)
    rows[:, 2] = rows[:, 1]
    rows[1] += 1
    case.scores = {d.key: sign * rows for d, sign in zip(case.detectors, (1, -1), strict=True)}
    case.config.seeds = [42, 7]
    return case


def test_scores_are_means_over_seeds_and_ranks_count_from_the_largest(scored):
    found = scores.frame([scored]).set_index("id")
    n = len(scored.prompts)
    assert list(found.columns) == [
        "prompts", "model", "prompt", "label", "block", "failure",
        "first", "first, rank", "second", "second, rank",
    ]  # fmt: skip
    assert found.loc["p0", "first"] == 0.5 and found.loc["p4", "first"] == 3.5
    assert list(found.loc[["p0", "p1", "p2"], "first, rank"]) == [n, n - 2, n - 2]
    assert list(found.loc[["p0", "p1", "p2"], "second, rank"]) == [1, 2, 2]
    assert pd.isna(found.loc["p3", "first"]) and pd.isna(found.loc["p3", "first, rank"])
    assert found.loc["p3", "failure"] == "norm is NaN"
    assert found["label"].tolist() == ["other"] * 100 + ["memorized"] * 6
    assert len(found) == len(scored.case.prompts)  # nothing is dropped


def test_each_seed_has_a_row(scored):
    found = scores.by_seed([scored]).set_index(["id", "detector", "seed"])["score"]
    assert found["p0", "first", 42] == 0 and found["p0", "first", 7] == 1
    assert len(found) == 2 * 2 * len(scored.prompts)


def test_csv_is_unrounded_and_neutral_and_parquet_verbatim(scored, tmp_path):
    scored.scores["first"] = scored.scores["first"] / 3
    texts = ["=1+1", *scored.case.prompts.texts[1:]]
    object.__setattr__(scored.case.prompts, "texts", texts)
    scores.scores([scored], [], Filter(), tmp_path / "all.csv")
    scores.scores([scored], ["first"], Filter(text="=1"), tmp_path / "one.parquet")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))
    by_id = {line["id"]: line for line in lines}
    assert by_id["p0"]["prompt"] == "'=1+1" and by_id["p0"]["second, rank"] == "1"
    assert float(by_id["p5"]["first"]) == scored.scores["first"][:, 4].mean()
    assert by_id["p3"]["first"] == by_id["p3"]["first, rank"] == ""
    (one,) = pd.read_parquet(tmp_path / "one.parquet").to_dict("records")
    assert one["prompt"] == "=1+1" and "second" not in one


def test_filters(scored):
    def ids(**chosen):
        names = chosen.pop("names", ["first"])
        found = scores._filtered(scores.frame([scored], names), Filter(**chosen))
        return found["id"].tolist()

    assert ids(top=2) == ["p105", "p104"]
    assert ids(top=2, names=["second"]) == ["p0", "p1"]
    assert ids(top=1, label="other") == ["p99"]
    assert ids(text="P10")[0] == "p10"  # an id, in any case
    assert ids()[-1] == "p3"  # which failed


def test_printed_says_how_it_is_to_be_read(scored):
    text = scores.scores([scored], ["second"], Filter(top=1))
    assert "-0.5 (1)" in text and "model m, prompts made\n" in text
    assert "mean over noise seeds 42, 7" in text and "the model failed, 1 prompts" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("names", "chosen", "out", "message"),
    [
        (["frst"], Filter(), None, "did you mean 'first'?"),
        ([], Filter(text="y"), None, "no prompt contains 'y' or has it for an id"),
        ([], Filter(label="memorised"), None, "did you mean 'memorized'?"),
        ([], Filter(), "x.xlsx", "--out writes .csv or .parquet, got "),
    ],
)
def test_mistakes_are_one_line(scored, tmp_path, names, chosen, out, message):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        scores.scores([scored], names, chosen, out and tmp_path / out)
    assert message in str(error.value)
