"""Sweeps on a tiny pipeline: identities with the detectors they stand for, and the command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.complete import complete
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.detection.weighted import PUBLISHED
from anisomem.evaluation import Evaluation, auc, fit_in_folds, folds, tpr_at_fpr
from anisomem.sweep import command, figures, gamma, grids, transfer
from anisomem.sweep.result import Line
from anisomem.sweep.transfer import Components, unrelated

N = 120  # one false positive in 60 negatives is below 2%


@pytest.fixture(scope="module")
def setting(save_pipeline, tmp_path_factory):
    """Overrides that choose the tiny pipeline and a few prompts."""
    folder = tmp_path_factory.mktemp("sweeps")
    columns = {
        "id": [f"p{i}" for i in range(N)],
        "prompt": [f"{'red cat' if i % 4 < 2 else 'dog'} {i // 3}" for i in range(N)],
        "label": ["memorized" if i % 4 < 2 else "not_memorized" for i in range(N)],
        "cluster": [i // 2 for i in range(N)],
        "block": [("seen", "unseen")[i % 8 < 4] for i in range(N)],
        "kind": ["ordinary"] * N,
    }
    pq.write_table(pa.table(columns), folder / "prompts.parquet")
    return [
        "model=diffusers_folder",
        f"model.path={save_pipeline()}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={folder / 'prompts.parquet'}",
        "fpr_targets=[0.05]",
        "draws=100",
        "workers=1",
        f"runs={folder / 'runs'}",
    ]


def sweep(name, setting):
    """The command's folder and its table."""
    assert main(["sweep", name, *setting]) == 0
    runs = Path(next(o for o in setting if o.startswith("runs=")).removeprefix("runs="))
    (folder,) = runs.glob(f"*-sweeps/{name}")  # after the model and its prompts
    return folder, pd.read_csv(folder / "table.csv")


def direct(setting, **settings):
    """AUC and TPR of the metric with these settings, recorded and scored by a run of its own."""
    (composed,) = compose.cases([*setting, "timing_repeats=0", "gallery=0"])
    composed.detector = {"one": grids.metric(**settings)}
    complete(Case(composed, "direct"))
    case = Results(Case(composed, "direct"))
    (scores,) = case.scores.values()
    areas = [auc(row, case.prompts.labels) for row in scores]
    return np.mean(areas), np.mean([tpr_at_fpr(row, case.prompts.labels, 0.05) for row in scores])


def test_gamma_marks_and_curve_equal_the_detectors_of_those_weights(setting):
    folder, table = sweep("gamma", setting)
    named = table.set_index("weights")
    expected = {
        "published, sd14 (its own)": "published",
        "published, sd20": [1.0, 0.1],
        "published, realvis51": [PUBLISHED["realvis51"].norm, 1.0],
        "(1, 1)": [1.0, 1.0],
        "norm alone": [1.0, 0.0],
        "cosine alone": [0.0, 1.0],
        "equal": "equal",
        "fitted": "fitted",
    }
    for name, weights in expected.items():
        row = named.loc[name, ["auc", "tpr_at_fpr_0.05"]].tolist()
        assert row == pytest.approx(direct(setting, weights=weights), abs=1e-12), name
    assert named.loc["minus cosine alone", "auc"] == pytest.approx(
        1 - named.loc["cosine alone", "auc"]
    )

    curve = pd.read_csv(folder / "curve.csv").set_index("cos/norm")
    assert curve.loc[0.0, "auc"] == named.loc["norm alone", "auc"]
    assert curve.loc[np.inf, "auc"] == named.loc["cosine alone", "auc"]
    ratios = curve.index.tolist()
    assert ratios == sorted(ratios) and -0.001 in ratios and 1000.0 in ratios
    own = named.loc["published, sd20"]
    assert own["auc_minus_reference"] == pytest.approx(own["auc"] - named["auc"].iloc[0])
    assert {f.suffix for f in folder.glob("gamma-prompts.*")} == {".svg", ".png"}


def test_gamma_and_transfer_share_what_is_recorded(setting, monkeypatch):
    sweep("gamma", setting)
    monkeypatch.setattr("anisomem.models.diffusers_unet.DiffusersUNet.load", None)
    folder, table = sweep("transfer", setting)
    rows = table.set_index("weights")
    assert rows.loc["fitted on prompts", "auc"] == pytest.approx(
        direct_scores(setting, "fitted"), abs=1e-12
    )
    assert (folder / "matrix-auc.md").read_text().count("\n| published") == 3


def direct_scores(setting, weights):
    configs = command.composed("transfer", setting)
    case = command.recorded(configs, command.parent(setting, configs))[0]
    detector = replace(gamma.metric(case), weights=weights)
    return auc(detector.combine(case.recorded(42)), case.prompts.labels)


@pytest.mark.slow
def test_a_cell_of_the_map_equals_the_detector_at_those_steps(setting, capsys):
    folder, table = sweep("timesteps", setting)
    cells = pd.read_csv(folder / "map.csv").set_index(["weights", "norm step", "cosine step"])
    assert len(cells) == 2 * 50 * 50
    for weights, i, j in (("published", 0, 47), ("equal", 12, 30), ("published", 49, 3)):
        found = cells.loc[(weights, i, j), ["auc", "tpr"]].tolist()
        at = {"norm_at": f"step:{i}", "cos_at": f"step:{j}"}
        assert found == pytest.approx(direct(setting, weights=weights, **at), abs=1e-12)
    released = table[(table["steps"] == "released") & (table["weights"] == "published")].iloc[0]
    assert released["auc"] == cells.loc[("published", 0, 47), "auc"]
    terms = pd.read_csv(folder / "terms.csv").set_index(["term", "step"])
    at = {"cos_at": "step:-1", "weights": [0.0, 1.0]}
    assert terms.loc[("cosine", 49), "auc"] == pytest.approx(direct(setting, **at)[0])


def test_finished_sweep_loads_no_model_and_prints_the_same(setting, monkeypatch, capsys):
    sweep("mode", setting)
    first = capsys.readouterr().out
    monkeypatch.setattr("anisomem.models.diffusers_unet.DiffusersUNet.load", None)
    sweep("mode", setting)
    assert capsys.readouterr().out == first
    assert r"x\|c,c\|x" in first  # the bar would end the cell


def test_a_sweep_leaves_a_page_and_a_readme(setting):
    folder, _ = sweep("gamma", setting)
    text, page = ((folder / name).read_text() for name in ("README.md", "report.html"))
    assert text.startswith("# Weights: ") and "what every ratio g of its weights" in text
    assert (folder / "table.md").read_text().partition("\n\n")[0] in text
    assert "](gamma-prompts.png)" in text and "[curve.csv](curve.csv)" in text
    assert "anisomem sweep gamma model=diffusers_folder " in text
    assert "<h1>Weights: " in page and page.count('<img src="data:image/png') == 1
    (folder / "README.md").unlink()
    sweep("gamma", setting)
    assert (folder / "README.md").read_text() == text


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("n", 25),
        ("normalisation", 30),
        ("mode", 12),
        pytest.param("latents", 24, marks=pytest.mark.slow),
    ],
)
def test_variants_are_compared_with_the_first_of_their_kind(setting, name, lines):
    _, table = sweep(name, setting)
    assert len(table) == lines
    last = list(table.columns[: table.columns.get_loc("auc")])[-2]
    references = table[table["auc_minus_reference"].isna()]
    assert set(references[last]) == {table[last][0]}
    keys = [c for c in table.columns[: table.columns.get_loc("auc")] if c != last]
    merged = table.merge(references, on=keys, suffixes=("", "_first")).dropna(
        subset="auc_minus_reference"
    )
    assert len(merged) == lines - len(references)
    assert merged["auc_minus_reference"].to_numpy() == pytest.approx(
        (merged["auc"] - merged["auc_first"]).to_numpy()
    )


def test_published_lines_equal_the_metric_itself(setting):
    expected = direct(setting, weights="published")[0]
    for name, place in (
        ("n", {"n": 1}),
        ("normalisation", {"convention": "released", "normalisation": "none"}),
        ("mode", {"mode": "x,c|x"}),
        ("latents", {"cosine at": "step:-3", "cosine on": "noise"}),
    ):
        table = sweep(name, setting)[1].set_index("weights").loc[["published"]]
        for heading, value in place.items():
            table = table[table[heading] == value]
        assert table["auc"].tolist() == pytest.approx([expected])


def test_seeds_have_a_spread_beside_the_interval(setting):
    folder, table = sweep("seeds", [*setting, "seeds=[42,1,2]"])
    single = pd.read_csv(folder / "by_seed.csv")
    for _, row in table.iterrows():
        areas = single[single["weights"] == row["weights"]]["auc"]
        assert len(areas) == 3
        assert row["auc"] == pytest.approx(areas.mean())
        assert row["auc_seed_std"] == pytest.approx(areas.std())
    assert f"{areas.min():.3f}–{areas.max():.3f}" in (folder / "table.md").read_text()


def test_negatives_are_taken_block_by_block(setting):
    _, table = sweep("negatives", setting)
    rows = table.set_index(["negatives (memorized/other)", "detector"])
    blocks = list(dict.fromkeys(table["negatives (memorized/other)"]))
    assert blocks == ["all (60/60)", "unseen (60/30)", "seen (60/30)"]
    for detector in dict.fromkeys(table["detector"]):  # Mann-Whitney counts pairs
        areas = [rows.loc[(block, detector), "auc"] for block in blocks]
        assert areas[0] == pytest.approx(np.mean(areas[1:]))


def test_wrong_names_and_detectors_are_refused(setting, capsys):
    assert main(["sweep", "gama", *setting]) == 2
    assert "did you mean 'gamma'?" in capsys.readouterr().err
    assert main(["sweep", "gamma", "detector=[wen]"]) == 2
    assert "chooses its detectors" in capsys.readouterr().err


def test_prompts_that_allow_no_fit_are_one_line(setting, tmp_path, capsys):
    path = next(o for o in setting if o.startswith("dataset.path=")).partition("=")[2]
    table = pq.read_table(path).to_pydict()
    table["cluster"] = [0] * N
    pq.write_table(pa.table(table), tmp_path / "prompts.parquet")
    assert main(["sweep", "gamma", *setting, f"dataset.path={tmp_path / 'prompts.parquet'}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_model_without_published_weights_has_equal_shares(setting):
    without = [o for o in setting if "stands_for" not in o]
    _, table = sweep("mode", [*without, "seeds=[7]"])
    assert table["weights"][0] == "(1, 1)"


def columns_of(seed, n=300, shift=0):
    """Norm and cosine, both informative, labels and clusters of two prompts."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4 < 2
    values = rng.normal(size=(1, n, 2)) + labels[:, None] * [1.0, -0.5]
    return values * [3.0, 0.1], labels, np.arange(n) // 2 + shift


def made(make_prompts, seed, shift=0, prefix="text"):
    values, labels, clusters = columns_of(seed, shift=shift)
    texts = [f"{prefix} {i}" for i in range(len(labels))]
    return Components("made", values, make_prompts(texts, labels, clusters))


def test_ticks_of_seeds_are_of_the_number_that_a_panel_shows():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [60, 200])
    evaluation = Evaluation(
        rng.normal(size=(1, 2, 260)), labels, np.arange(260), [0.01, 0.05], 100
    )
    line = Line("case", {"weights": "a"}, evaluation.summaries()[0])
    by_seed = {
        "a": [{"auc": 0.6, "tpr_at_fpr_0.05": 0.25, "tpr_at_fpr_0.01": 0.125}, {"auc": 1.0}]
    }
    figure = figures.forest("title", [line], by_seed)
    ticks = [
        [mark.get_xdata()[0] for mark in axis.lines if mark.get_marker() == "|"]
        for axis in figure.axes
    ]
    assert ticks == [[0.6, figures.on_logit(1.0)], [0.125]]


def test_transfer_to_itself_is_the_fit_in_folds(make_prompts):
    one = made(make_prompts, 0)
    expected = fit_in_folds(one.values[0], one.prompts.labels, one.prompts.clusters).scores
    assert transfer.transferred(one, one)[0] == pytest.approx(expected, rel=1e-12)


def test_no_fit_sees_the_prompts_that_it_scores(make_prompts):
    """A label that is turned moves no score of its own cluster, through either set."""
    target = made(make_prompts, 0)
    other = made(make_prompts, 1)
    for source in (other, renamed(other, shift=1000)):
        before = transfer.transferred(source, target)
        labels = source.prompts.labels.copy()
        labels[:2] = 1 - labels[:2]
        turned = replace(source, prompts=replace(source.prompts, labels=labels))
        fold = folds(target.prompts.labels, target.prompts.clusters)
        kept = fold == fold[0]
        after = transfer.transferred(turned, target)
        assert np.array_equal(before[0, kept], after[0, kept])
        assert not np.array_equal(before[0, ~kept], after[0, ~kept])


def renamed(source, shift):
    """The same texts under other cluster numbers."""
    prompts = source.prompts
    return replace(source, prompts=replace(prompts, clusters=prompts.clusters + shift))


def test_weights_transfer_between_sets_of_other_prompts(make_prompts):
    """Where both sets follow one law, weights of either order the other's prompts as well."""
    target = made(make_prompts, 0)
    source = made(make_prompts, 1, shift=5000, prefix="other")
    labels = target.prompts.labels
    own, foreign = (auc(transfer.transferred(x, target)[0], labels) for x in (target, source))
    assert foreign == pytest.approx(own, abs=0.02) and own > auc(target.values[0, :, 0], labels)


def test_near_duplicates_of_the_scored_prompts_are_not_fitted_on(make_prompts):
    texts = ["red floral phone case", "a view of the old harbour", "blue plain phone case", "dog"]
    source = make_prompts(texts, [1, 0, 1, 0], clusters=[0, 1, 0, 3])
    held = make_prompts(["red floral phone case cover", "an owl"], [1, 0], clusters=[1, 3])
    # numbers of other sets' clusters mean nothing; what texts share does, with its whole cluster
    source, held = replace(source, families=[""] * 4), replace(held, families=[""] * 2)
    assert unrelated(source, held).tolist() == [False, True, False, True]


def test_numbers_of_clusters_are_those_of_one_list(make_prompts):
    texts = ["red floral phone case", "a view of the old harbour", "dog", "blue lamp"]
    source = make_prompts(texts, [1, 0, 1, 0], clusters=[0, 1, 2, 0])
    own = make_prompts(texts[:2], [1, 0], clusters=[0, 1])
    assert unrelated(source, own).tolist() == [False, False, True, False]
    # Another list counts from 0 as well; one of its prompts is a near-duplicate.
    other = make_prompts(["an owl", "red floral phone case cover"], [1, 0], clusters=[1, 2])
    assert unrelated(source, other).tolist() == [False, True, True, False]


def test_dry_run_of_a_sweep_records_nothing(setting, tmp_path, capsys):
    runs = tmp_path / "none"
    assert main(["sweep", "gamma", *setting, "dry_run=true", f"runs={runs}"]) == 0
    assert "Memory and time" in capsys.readouterr().out and not runs.exists()


def test_fit_with_a_negative_norm_weight_is_not_on_the_axis(make_prompts):
    rng = np.random.default_rng(0)
    prompts = make_prompts([f"prompt {i}" for i in range(N)], np.arange(N) % 2)
    columns = rng.normal(size=(1, N, 2))
    columns[0, :, 0] -= 2 * prompts.labels  # memorized prompts have the smaller norm
    *_, fitted = gamma._learnt(columns, prompts)
    assert np.isnan(fitted.ratio) and auc(fitted.scores[0], prompts.labels) > 0.8
    *_, fitted = gamma._learnt(-columns, prompts)
    assert np.isfinite(fitted.ratio)
