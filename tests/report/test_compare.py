"""Comparisons of chosen detectors, on all prompts and on parts."""

import csv

import numpy as np
import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.errors import UserError
from anisomem.evaluation import Evaluation, effective_clusters, enough_draws
from anisomem.report import compare, compared, escape


@pytest.fixture(scope="module")
def case(gallery_run):
    (file,) = gallery_run[1].glob("*/config.yaml")
    return Results(Case.stored(file))


def test_a_name_is_its_largest_n_and_a_row_is_itself(case):
    def keys(*names):
        return [detector.key for detector in compare.named(case, names)]

    assert keys("random", "wen") == ["random", "wen, n=4"]
    assert keys("wen, n=1", "anisotropy", "wen") == ["wen, n=1", "anisotropy, n=4", "wen, n=4"]
    assert keys("wen,n=1", "wen,n=4") == ["wen, n=1", "wen, n=4"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["wen", "anisotrpy"], "no detector in prompts named 'anisotrpy'; did you mean 'aniso"),
        (["wen, n=3", "random"], "did you mean 'wen, n="),
        (["wen", "wen, n=4"], "'wen' and 'wen, n=4' are the same detector, 'wen, n=4'"),
        (["wen"], "compare needs two detectors or more, got wen"),
    ],
)
def test_wrong_names(case, names, message):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        compare.compare([case], names)
    assert message in str(error.value)


def test_equal_parts_are_shown_once_by_all_names(case):
    parts = compare.named_parts(case)
    # the run has one block, one kind and pairs of equal labels as clusters
    assert list(parts) == ["all prompts; against unseen; ordinary", "one per cluster"]
    assert [len(rows) for rows in parts.values()] == [240, 120]


def test_numbers_are_those_of_the_evaluation_of_each_part(case, tmp_path):
    printed = compare.compare([case], ["wen", "random", "anisotropy,n=1"], tmp_path)
    written = (tmp_path / "compare-prompts.md").read_text()
    assert printed.startswith(f"Comparison of {case.title}\n\npart all prompts; against unseen; ")
    assert all(escape.width(line) <= 100 for line in printed.splitlines())
    assert printed.count("| wen, n=4 ") == written.count("| wen, n=4 ") == 2 * 2  # parts, pairs
    assert (tmp_path / "compare-prompts.tex").read_text().startswith(r"\begin{tabular}")
    pictures = {f"critical_difference-prompts.{suffix}" for suffix in ("png", "svg")}
    assert pictures < {path.name for path in tmp_path.iterdir()}

    with (tmp_path / "compare-prompts.csv").open() as file:
        lines = list(csv.DictReader(file))
    keys = ["wen, n=4", "random", "anisotropy, n=1"]
    pairs = [(keys[0], keys[1]), (keys[0], keys[2]), (keys[1], keys[2])]
    parts = compare.named_parts(case)
    assert [(li["part"], li["a"], li["b"]) for li in lines] == [
        (part, *pair) for part in parts for pair in pairs
    ]
    for part, rows in parts.items():
        scores = np.stack([case.scores[key][:, rows] for key in ("wen, n=4", "anisotropy, n=1")])
        # a random score is drawn anew for as many prompts as there are
        drawn = np.random.default_rng([0, case.config.seeds[0]]).uniform(size=len(rows))[None]
        scores = np.stack([scores[0], drawn, scores[1]])
        labels, clusters = case.prompts.labels[rows], case.prompts.clusters[rows]
        # two hundred draws could not separate three pairs
        units = min(effective_clusters(clusters[labels == k]) for k in (0, 1))
        draws = enough_draws(3, units)
        assert 239 < draws < 1000
        evaluation = Evaluation(scores, labels, clusters, [0.01], draws=draws)
        for found, line in zip(
            evaluation.comparisons(), [li for li in lines if li["part"] == part], strict=True
        ):
            assert float(line["auc_difference"]) == found.auc.difference
            assert float(line["auc_low"]) == found.auc.interval.low
            assert float(line["auc_holm_p"]) == found.holm_p
            assert float(line["auc_delong_holm_p"]) == found.delong_holm_p
            assert line["auc_verdict"] == found.auc_verdict
            if part == "one per cluster":  # sixty others
                assert line["tpr_at_fpr_0.01_difference"] == line["tpr_at_fpr_0.01_verdict"] == ""
            else:
                assert float(line["tpr_at_fpr_0.01_holm_p"]) == found.tpr_holm_p[0.01]
                assert line["tpr_at_fpr_0.01_verdict"] == found.tpr_verdict(0.01)
    assert "one per cluster, TPR@1%FPR: not resolvable at n_neg = 60" in written
    small = [line for line in written.splitlines() if line.startswith("| one per cluster")]
    assert len(small) == 3 and all("not resolvable" in line for line in small)


def test_more_draws_where_the_table_has_too_few(case, monkeypatch):
    detectors = compare.named(case, ["wen", "random"])
    assert compared.compared(case, detectors).evaluation.resampling.weights.shape[0] == 200
    monkeypatch.setattr(compared, "enough_draws", lambda pairs, units: 300 * pairs)
    found = compared.compared(case, detectors)
    assert found.evaluation.resampling.weights.shape[0] == 300
