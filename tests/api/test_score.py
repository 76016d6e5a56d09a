"""Scores are those of a run to the bit, whatever prompts are given as."""

import numpy as np
import pandas as pd
import pytest
import torch
from anisomem.baselines.wen import WenNorm

import anisomem
from anisomem.api import detectors
from anisomem.detection.base import Detector
from anisomem.storage.store import ScoreStore, arrays


class Anchored(Detector):
    """Relative to the mean of ordinary prompts."""

    uses_references = True

    def components(self):
        return WenNorm("wen", self.n).components()

    def combine(self, recorded):
        (name,) = self.component_names
        return recorded.mean(name, self.n) - recorded.references[name].mean()


def test_scores_and_components_are_those_of_a_run_to_the_bit(model, frame, recorded):
    store = ScoreStore.stored(next(recorded.glob("runs/*/*/components")))
    stored, ids = store.read(), [f"prompts-{i + 1}" for i in range(len(frame))]
    for name in ("anisotropy", "wen"):
        scores = anisomem.score(model, frame, name, n=4, seed=42)
        assert list(scores["prompt"]) == list(frame["prompt"])
        (detector,) = detectors.several(name, 4)
        for component in detector.component_names:
            values = arrays(stored, ids, 42, {component: 4})[component]
            assert np.array_equal(scores[component], values.mean(axis=1))
        file = pd.read_csv(next(recorded.glob("runs/*/scores.csv")))
        assert np.array_equal(scores["score"], file[f"{name}, n=4"])


def test_prompts_are_a_list_a_series_a_frame_a_file_or_a_set(model, frame, tmp_path):
    texts = list(frame["prompt"])[:3]
    expected = anisomem.score(model, texts, "wen")
    assert list(expected.columns) == ["prompt", "score", "wen/norm[step:0]"]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    frame[:3].to_parquet(tmp_path / "a.parquet")
    for given in (tuple(texts), np.array(texts), tmp_path / "a.txt", str(tmp_path / "a.parquet")):
        assert anisomem.score(model, given, "wen").equals(expected)
    moved = frame[:3].set_index(pd.Index(["x", "y", "z"]))
    for given in (moved, moved["prompt"]):
        scores = anisomem.score(model, given, "wen")
        assert list(scores.index) == ["x", "y", "z"]
        assert scores.reset_index(drop=True).equals(expected)


def test_prompts_that_are_cut_are_counted(model, capsys):
    word = "word " * 90
    scores = anisomem.score(model, ["a fox", word + "fox", word + "soup"], "wen")["score"]
    assert scores[1] == scores[2] != scores[0]
    assert "2 of 3 prompts are cut at the text encoder's limit" in capsys.readouterr().err


def test_a_set_is_scored_by_its_name():
    from anisomem.api.prompts import texts

    named, index = texts("testbed_epsilon")
    assert len(named) == len(index) == len(set(named)) > 100


def test_a_detector_has_settings_by_name_or_is_an_object(model):
    asked = ["red cat", "dog"]
    by_name = anisomem.score(model, asked, "wen", n=2, steps=3)
    two, seed = np.int64(2), np.int64(42)
    assert anisomem.score(model, asked, "wen", n=two, seed=seed, steps=3).equals(by_name)
    assert anisomem.score(model, asked, WenNorm("mine", 2, steps=3)).equals(by_name)
    assert anisomem.score(model, asked, WenNorm("mine", 1, steps=3), n=2).equals(by_name)
    lengths = anisomem.score(model, asked, "prompt_length")
    assert list(lengths["score"]) == [7, 3] and list(lengths.columns) == ["prompt", "score"]


def test_one_prompt_scores_as_among_others_but_for_rounding(model):
    alone = anisomem.score(model, ["red cat"], "wen")["score"][0]
    assert alone == pytest.approx(anisomem.score(model, ["red cat", "dog"], "wen")["score"][0])


def test_labels_references_and_a_second_model_are_given(
    model, folder, frame, save_pipeline, one_line
):
    labels, clusters = frame["label"], frame["cluster"]
    truth = {"labels": labels, "clusters": clusters}
    fitted = anisomem.score(model, frame, "anisotropy_fitted", **truth)["score"]
    table = anisomem.compare(model, frame, "anisotropy_fitted", n=1, draws=100)
    assert np.array_equal(fitted, table.scores["anisotropy_fitted, n=1"])
    said = one_line(anisomem.score, model, frame, "anisotropy_fitted")
    assert "is fitted on labels; give labels=[1, 0, ...]" in said
    assert "no use for labels" in one_line(anisomem.score, model, frame, "wen", labels=labels)
    assert "31 labels and 32" in one_line(
        anisomem.score, model, frame, "anisotropy_fitted", labels=labels[1:]
    )

    plain = anisomem.score(model, frame, "wen")["score"]
    ordinary = ["a dog", "one more dog"]
    anchored = anisomem.score(model, frame, Anchored("anchored"), references=ordinary)["score"]
    assert np.ptp(plain - anchored) < 1e-5
    assert (plain - anchored)[0] == pytest.approx(
        anisomem.score(model, ordinary, "wen")["score"].mean(), abs=1e-5
    )
    said = one_line(anisomem.score, model, frame, Anchored("anchored"))
    assert "ordinary prompts; give references=" in said
    said = one_line(anisomem.score, model, ["a dog"], Anchored("x"), references=ordinary)
    assert "references hold a prompt that is scored, 'a dog'" in said

    said = one_line(anisomem.score, model, {"prompt": ["a dog"]}, "wen")
    assert "prompts must be a list of texts, a column of them, or a file; got a dict" in said

    asked = ["red cat"]
    earlier = save_pipeline(seed=3)
    differ = anisomem.score(model, asked, "earlier_checkpoint", baseline=earlier)["score"]
    assert differ[0] > 0 and model.baseline is None
    said = one_line(anisomem.score, model, asked, "earlier_checkpoint")
    assert "compares the model with a second one; give baseline=" in said
    again = anisomem.load_model(folder, stands_for="sd14")
    for itself in (model, again):
        assert "the model itself" in one_line(
            anisomem.score, model, asked, "earlier_checkpoint", baseline=itself
        )
    with torch.no_grad():
        again.pipeline.unet.conv_out.bias[0] += 0.1
    tuned = anisomem.score(model, asked, "earlier_checkpoint", baseline=again)["score"]
    assert tuned[0] > 0


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ([], "there are none"),
        (["a", " "], "prompts[1]: empty prompt"),
        (["a", None], "prompts[1]: empty prompt"),
        (["a", pd.NA], "prompts[1]: empty prompt"),
        (["a", 7], "expected a text as prompt, got '7'"),
        (["a", ["b"]], "expected a text as prompt, got a list"),
        (["a", "b", "a"], "prompts[2] is prompts[0] once more, 'a'"),
        (["half \ud800"], "half a character"),
        ("a red fox", "give a list, ['a red fox']"),
        ("fox", "give a list, ['fox']"),
        ("missing.csv", "no prompt file at 'missing.csv'"),
        (pd.DataFrame({"text": ["a"]}), "no column 'prompt'; it has text"),
        (pd.DataFrame([["a", "b"]], columns=["prompt"] * 2), "several columns named 'prompt'"),
        (7, "must be a list of texts"),
    ],
)
def test_prompts_that_are_none_are_one_line(model, prompts, said, one_line):
    assert said in one_line(anisomem.score, model, prompts, "wen")


@pytest.mark.parametrize(
    ("detector", "settings", "said"),
    [
        ("wem", {}, "did you mean 'wen'?"),
        ("wen", {"step": 3}, "did you mean 'steps'?"),
        ("wen", {"_target_": "os.system"}, "no setting of wen named '_target_'"),
        ("wen", {"name": "mine"}, "no setting of wen named 'name'"),
        ("wen", {"seed": "x"}, "seeds must be distinct integers"),
        ("wen", {"steps": 0}, "steps must be an integer from 1"),
        ("wen", {"n": 0}, "distinct positive integers"),
        ("wen", {"n": True}, "distinct positive integers"),
        ("wen", {"seed": -1}, "seeds must be distinct integers"),
        ("wen", {"noise_policy": "own"}, "no noise_policy named 'own'"),
        ("wen", {"batch_size": 0}, "batch_size must be an integer from 1"),
        ("random", {"n": 2}, "random draws no noise; leave out n"),
        (WenNorm, {}, "is a class: call it"),
        (WenNorm("wen"), {"steps": 3}, "leave out steps"),
        (WenNorm("wen"), {"n": 0}, "n must be an integer from 1"),
    ],
)
def test_detectors_and_settings_that_are_wrong_are_one_line(
    model, detector, settings, said, one_line
):
    assert said in one_line(anisomem.score, model, ["a"], detector, **settings)


def test_a_prompt_that_the_model_fails_on_has_no_score_and_the_reason(model, monkeypatch):
    encode = type(model).encode

    def encoded(self, prompts):
        made = encode(self, prompts)
        for row, prompt in enumerate(prompts):
            if prompt == "dog":
                made.embeddings[row] = float("nan")
        return made

    monkeypatch.setattr(type(model), "encode", encoded)
    scores = anisomem.score(model, ["red cat", "dog"], "wen")
    assert np.isfinite(scores["score"][0]) and np.isnan(scores["score"][1])
    assert pd.isna(scores["failure"][0]) and "NaN" in scores["failure"][1]
    with pytest.raises(anisomem.UserError, match="failed on every prompt"):
        anisomem.score(model, ["dog"], "wen")
