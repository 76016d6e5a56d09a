"""The table of costs on a tiny pipeline: its counts and its shape, never its times."""

import json
import re

import pytest

from anisomem.bench import bench as benches
from anisomem.bench import cases, commands, evaluations, growth, scoring, table
from anisomem.bench.commands import answer
from anisomem.benchmark.record import record
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.models.diffusers_unet import DiffusersUNet

SMALL = benches.Amounts(
    turns=1, growth=(3, 40), large=(40,), evaluated=34, finished=30, scored=40, pairs=5, draws=100
)


@pytest.fixture
def model(save_pipeline):
    return ["model=diffusers_folder", f"model.path={save_pipeline()}", "model.stands_for=sd14"]


@pytest.mark.slow
def test_command_prints_and_keeps_every_line(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benches, "Amounts", lambda *_: SMALL)
    monkeypatch.setattr(evaluations, "LARGEST", "ablation_gamma_testbed")  # one set of components
    out = tmp_path / "results" / "costs"
    assert main(["bench", *model, "--turns", "1", "--growth", "3,40", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert out.with_suffix(".md").read_text() == printed.removesuffix("\n")
    card = json.loads(out.with_suffix(".json").read_text())
    lines = card["lines"]
    assert [line["target"] for line in lines] == [
        "2 × 34 × 2 + 2 × 2 = 140",
        *["≤ 1.03"] * 2,
        *["< 1"] * 2,
        *["flat"] * 6,
        "≤ 0.1 s",
        "≤ 0.3 s",
        "≤ 1.5 s, without torch",
        "≤ 2.5 s",
        "≤ 8 s",
        "≤ 3 s",
        *("≤ 2 s", "≤ 0.3 s", "–"),
        "≤ 20 s at 100,000",
    ]
    assert printed.count("\n|") == 1 + len(lines)  # under the headings: the rule and the lines
    assert all(line["machine"] in printed and line["measured"] in printed for line in lines)
    assert card["packages"]["torch"] and card["device_name"] in printed

    counts = lines[0]["values"]
    assert counts["counted"] == counts["rows"] == 140
    assert not any(line["values"]["torch"] for line in lines[11:16])
    for line in lines[5:11]:
        assert list(line["values"]) == (["3", "40"] if line in lines[5:8] else ["40"])
    assert len(re.findall(r"\d \[\d", lines[4]["measured"])) == 2


def test_random_weights_are_timed_alone(model, tmp_path, capsys):
    out = tmp_path / "costs"
    options = ["weights=random", "--turns", "2", "--growth", "1,3", "--out", str(out)]
    assert main(["bench", *model[:2], *options]) == 0  # without stands_for
    assert "evaluations" in capsys.readouterr().out
    parameters, forward, *detectors, peak = json.loads(out.with_suffix(".json").read_text())[
        "lines"
    ]
    network = DiffusersUNet.load(model[1].partition("=")[2])
    modules = (network.denoiser, network.pipeline.text_encoder, network.pipeline.vae)
    expected = [sum(p.numel() for p in module.parameters()) for module in modules]
    assert list(parameters["values"].values()) == expected
    assert list(forward["values"]["seconds"]) == ["1", "2"]
    assert peak["values"]["megabytes"] > 50

    counted = {line["cost"].partition(":")[0]: line for line in detectors}
    for name, each, shared, jvps in (("anisotropy", 2, 2, 0), ("wen", 1, 1, 0), ("jeon", 1, 1, 2)):
        values = counted[name]["values"]
        for n in (1, 3):
            assert values["nfe_shared_nfe_jvps"][str(n)] == [n * each + shared, shared, n * jvps]
            assert len(values["seconds"][str(n)]) == 2
    assert "anisotropy_norm" not in counted  # a term of the metric


@pytest.mark.parametrize("mistake", [["--turns", "0"], ["--growth", "100;200"]])
def test_mistakes_in_options(mistake, capsys):
    assert main(["bench", *mistake]) == 2
    assert "expected" in capsys.readouterr().err


def test_growth_records_every_prompt(model, tmp_path):
    case = cases.case(tmp_path, model, 40, *cases.METRIC)
    assert len(set(case.prompts.texts)) == 40
    grown = growth._in_a_process(case)
    assert case.missing() == []
    assert len(list(case.store.folder.glob("*.parquet"))) == 1
    assert grown["peak"] > 50  # MB; an interpreter with torch has more
    assert grown["recording"] > 0 < grown["store"]


def test_growth_at_a_model_of_closed_form_takes_any_prompt(tmp_path):
    case = cases.case(tmp_path, [], 33, *cases.METRIC)
    record(case, growth.ClosedForm(), case.missing())
    assert case.missing() == []
    (norm, _) = case.samples
    assert Results(case).recorded(42).components[norm].std() > 0


def test_table_of_many_prompts_is_that_of_a_finished_run(tmp_path):
    case = table.finished(tmp_path, 40, draws=100)
    rows = Results(case).table
    assert {row.detector for row in rows} == set(table.DETECTORS)
    assert len(rows) == len(table.DETECTORS) and not any(row.refused for row in rows)
    seconds, megabytes = table.table(case.folder)
    assert seconds > 0 and megabytes > 50  # an interpreter with numpy and pandas has more
    with pytest.raises(RuntimeError, match="failed"):
        table.table(tmp_path / "none")


def test_more_prompts_than_wordings_are_distinct(model, tmp_path, monkeypatch):
    few = cases.case(tmp_path, model, 7).prompts.texts
    monkeypatch.setattr(cases, "WORDINGS", 7)
    many = cases.case(tmp_path, model, 30).prompts.texts
    assert len(set(many)) == 30
    assert many[:7] == few
    assert many[7:14] == [f"{text} 1" for text in few]


def test_sweep_scores_what_is_stored(model, tmp_path):
    case = cases.case(tmp_path, model, 40, *cases.METRIC)
    scoring.fill(case)
    assert case.missing() == []
    evaluation = scoring.sweep(case, pairs=3, draws=50)
    (metric,) = case.configured
    components = Results(case).recorded(42).components
    norm, cosine = (components[name][:, 0] for name in (metric.norm_name, metric.cos_name))
    half = 2**-0.5
    expected = [norm, half * norm + half * cosine, cosine]
    for found, scores in zip(evaluation.scores[:, 0], expected, strict=True):
        assert found == pytest.approx(scores, abs=1e-12)


@pytest.mark.slow
def test_finished_run_imports_no_torch(model, tmp_path, monkeypatch):
    run = cases.overrides(tmp_path, model, 30, "draws=100")
    assert main(["run", *run]) == 0
    assert not answer("run", *run)
    folder = next((tmp_path / "runs").iterdir())
    assert not answer("table", str(folder))
    monkeypatch.setattr(commands, "COMMAND", f"import torch\n{commands.COMMAND}")
    assert answer("--version")  # it would be seen


def test_counts_come_from_the_model_itself(model, tmp_path, monkeypatch):
    # a prompt evaluated twice shows in the count
    from anisomem.bench import evaluations

    predict = DiffusersUNet.predict

    def twice(self, *arguments):
        predict(self, *arguments)
        return predict(self, *arguments)

    monkeypatch.setattr(DiffusersUNet, "predict", twice)
    network = DiffusersUNet.load(model[1].partition("=")[2])
    case = cases.case(tmp_path, model, 34, *cases.METRIC, "seeds=[42,43]")
    calls, counted = evaluations.record(case, network)
    rows = sum(len(args[0]) for module, args, _ in calls if module is network.denoiser)
    assert counted == rows == 2 * 140
