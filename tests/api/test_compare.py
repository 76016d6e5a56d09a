"""Tables are those of ``anisomem run``, of the same numbers, and nothing is written unasked."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from anisomem.baselines.huang import BrokenMemories
from anisomem.baselines.wen import WenNorm

import anisomem
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.detection.base import Component, Detector, squared_score_difference
from anisomem.detection.needs import NOISE, At, Conditional
from anisomem.detection.of_baseline import OfBaseline
from anisomem.run import labelled

DETECTORS = ["anisotropy", WenNorm("wen", 4), "text_only"]


class Second(Detector):
    """How far the predictions on noise of two models are apart."""

    def components(self):
        need = Conditional(At("step:0"), NOISE)
        return [Component("second", [need, OfBaseline(need)], squared_score_difference)]


class Mine(Detector):
    """Larger where the prompt is longer, of a class that only this test knows."""

    def components(self):
        return WenNorm("wen", self.n).components()


@pytest.fixture(scope="module")
def report(model, recorded):
    return anisomem.compare(model, recorded / "prompts.csv", DETECTORS, draws=300)


def test_the_table_is_what_the_run_and_table_print(report, recorded, capsys):
    capsys.readouterr()
    assert main(["table", str(recorded / "runs" / "quickstart")]) == 0
    assert capsys.readouterr().out == f"{report}\n"


def test_numbers_are_those_that_the_run_has_written(report, recorded):
    place = recorded / "runs" / "quickstart"
    table = pd.read_csv(place / "table.csv")
    for column in ("detector", "n", "auc", "auc_low", "auc_high", "nfe_per_prompt"):
        assert list(report.frame[column].dropna()) == list(table[column].dropna()), column
    scores = pd.read_csv(place / "scores.csv")
    for column in ("anisotropy, n=1", "anisotropy, n=4", "wen, n=4", "text_only"):
        assert np.array_equal(report.scores[column], scores[column]), column


def test_a_frame_is_a_file_in_memory(model, frame, report):
    in_memory = anisomem.compare(model, frame, DETECTORS, draws=300)
    assert in_memory.frame.equals(report.frame)
    words = frame.assign(label=np.where(frame["label"], "memorized", "not_memorized"))
    assert anisomem.compare(model, words, DETECTORS, draws=300).frame.equals(report.frame)


def test_a_named_set_is_limited_as_a_run_limits_it(model):
    report = anisomem.compare(model, "testbed_epsilon", "prompt_length", limit=12, draws=100)
    whole = labelled.whole(compose.cases(["dataset=testbed_epsilon"])[0])
    rows = labelled.limited(whole, 12, 0)
    assert list(report.scores["id"]) == [whole.ids[i] for i in rows]
    assert "labels were established on testbed_epsilon" in str(report)


def test_pairs_have_differences_and_verdicts(report):
    pairs = report.pairs
    assert len(pairs) == 6 and set(pairs["auc_verdict"]) <= {"better", "worse", "not separable"}
    auc = {
        f"{r.detector}, n={r.n}" if r.n else r.detector: r.auc for r in report.frame.itertuples()
    }
    for pair in pairs.itertuples():
        assert pair.auc_difference == pytest.approx(auc[pair.a] - auc[pair.b])


def test_nothing_is_written_unless_asked(model, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    anisomem.compare(model, frame, "wen", n=1, draws=100)
    assert not os.listdir(tmp_path)


def test_what_is_kept_continues_and_is_a_run(model, frame, tmp_path, capsys, monkeypatch):
    first = anisomem.compare(model, frame, ["wen", "anisotropy"], draws=100, runs=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("anisomem.engine.engine.Engine.evaluate", None)  # nothing is evaluated
        again = anisomem.compare(model, frame, ["wen", "anisotropy"], draws=100, runs=tmp_path)
    assert str(again) == str(first)
    unkept = anisomem.compare(model, frame, ["wen", "anisotropy"], draws=100)
    assert str(unkept) == str(first)
    capsys.readouterr()
    assert main(["table", str(tmp_path / "compare")]) == 0
    assert capsys.readouterr().out == f"{first}\n"


def test_weights_that_were_edited_in_memory_are_another_run(folder, frame, tmp_path):
    own = anisomem.load_model(folder)
    anisomem.compare(own, frame, "wen", n=1, draws=100, runs=tmp_path)
    with torch.no_grad():
        own.pipeline.unet.conv_out.weight.mul_(2)
    edited = anisomem.compare(own, frame, "wen", n=1, draws=100, runs=tmp_path)
    assert len(list(tmp_path.glob("compare/*"))) == 2
    expected = anisomem.compare(own, frame, "wen", n=1, draws=100)
    assert edited.scores.equals(expected.scores)


def test_detectors_of_ones_own_are_rows_like_others(model, frame, tmp_path, one_line):
    report = anisomem.compare(model, frame, ["wen", Mine("mine")], n=1, draws=100)
    assert list(report.frame["detector"]) == ["wen", "mine"]
    assert report.frame["auc"].nunique() == 1

    class Local(Mine):
        pass

    local = anisomem.compare(model, frame, [Local("local")], draws=100)
    assert local.frame["auc"][0] == report.frame["auc"][0]
    one_line(anisomem.compare, model, frame, [Local("local")], draws=100, runs=tmp_path)


def test_a_second_model_and_references_are_given(model, folder, frame, save_pipeline, one_line):
    earlier = anisomem.load_model(save_pipeline(seed=3))
    report = anisomem.compare(model, frame, Second("second"), baseline=earlier, draws=100)
    tuned = anisomem.load_model(folder, stands_for="sd14")
    with torch.no_grad():
        tuned.pipeline.unet.conv_out.bias[0] += 0.1
    moved = anisomem.compare(model, frame, Second("second"), baseline=tuned, draws=100)
    assert moved.scores["second, n=1"].gt(0).all()
    assert report.scores["second, n=1"].gt(0).all() and model.baseline is None
    assert "is the second model of second" in str(report)
    said = one_line(anisomem.compare, model, frame, "earlier_checkpoint")
    assert "give baseline=" in said
    anchored = BrokenMemories("b")
    for scored, said in ((["a dog"], "one prompt"), (list(frame["prompt"][:2]), "is scored")):
        assert said in one_line(anisomem.compare, model, frame, anchored, references=scored)
    for unused in ({"baseline": earlier}, {"references": ["a dog", "a cat"]}):
        assert "a use for" in one_line(anisomem.compare, model, frame, "wen", **unused)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"detectors": []}, "no detectors are given"),
        ({"detectors": ["wen", "wen"]}, "two detectors fill the row 'wen, n=1'"),
        ({"detectors": ["wem"]}, "did you mean 'wen'?"),
        ({"seeds": []}, "seeds must be distinct integers"),
        ({"draws": 5}, "draws must be an integer from 100"),
        ({"draws": "many"}, "draws"),
        ({"fpr_targets": [1]}, "fpr_targets must be distinct fractions"),
        ({"on_failure": "keeep"}, "did you mean 'keep'?"),
        ({"runs": ""}, "runs is empty"),
        ({"prompts": "missing.csv"}, "no prompt file at 'missing.csv'"),
        ({"prompts": ["a", "b"]}, "got list"),
        ({"limit": 8}, "give the part of the frame itself"),
    ],
)
def test_mistakes_are_one_line(model, frame, changes, said, one_line):
    arguments = {"prompts": frame, "detectors": ["wen"]} | changes
    assert said in one_line(anisomem.compare, model, **arguments)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="label"), "prompts lacks columns label; it has prompt, cluster"),
        (lambda f: f.assign(label=1), "has no other prompts"),
        (lambda f: f.assign(label="perhaps"), "prompts, row 1: no label named 'perhaps'"),
        (lambda f: f.assign(label=None), "prompts, row 1: no label"),
        (lambda f: f.assign(prompt=" "), "prompts, row 1: empty prompt"),
        (lambda f: f.assign(prompt=7), "expected a text as prompt, got '7'"),
        (lambda f: f.assign(id="x"), "repeats an id of prompts, row 1: 'x'"),
        (lambda f: f[:0], "prompts has no prompts"),
        (lambda f: f[1:4], "has 1 memorized prompt"),
        (lambda f: pd.concat([f, f["label"]], axis=1), "several columns named 'label'"),
    ],
)
def test_frames_that_are_wrong_are_one_line(model, frame, change, said, one_line):
    assert said in one_line(anisomem.compare, model, change(frame), "wen")


def test_a_model_in_memory_is_compared_and_not_kept(make_pipeline, frame, tmp_path, one_line):
    model = anisomem.load_model(make_pipeline(), stands_for="sd14")
    report = anisomem.compare(model, frame, "wen", n=1, draws=100)
    assert set(report.frame["model"]) == {"StableDiffusionPipeline in memory"}
    said = one_line(anisomem.compare, model, frame, "wen", runs=tmp_path)
    assert "pipeline.save_pretrained(FOLDER)" in said


def test_prompts_that_fail_stop_it_or_are_left_out(model, frame, monkeypatch, one_line):
    encode = type(model).encode

    def encoded(self, prompts):
        made = encode(self, prompts)
        for row, prompt in enumerate(prompts):
            if prompt == "dog 2":
                made.embeddings[row] = float("nan")
        return made

    monkeypatch.setattr(type(model), "encode", encoded)
    said = one_line(anisomem.compare, model, frame, "wen", draws=100)
    assert "1 of 32 prompts failed, first 'prompts-3'" in said and "on_failure='keep'" in said
    report = anisomem.compare(model, frame, "wen", draws=100, on_failure="keep")
    assert "1 of 32 prompts left out, the model failed" in str(report)
