"""Whose labels a table has, which prompts a limit leaves, and what a run is called."""

import numpy as np
import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.complete import complete
from anisomem.benchmark.results import Results
from anisomem.config import compose
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.run import labelled


def made(labels, blocks):
    n = len(labels)
    texts = [f"prompt {i}" for i in range(n)]
    labels = np.array(labels, np.int8)
    return PromptSet("made", texts, texts, labels, np.arange(n), blocks, ["x"] * n)


WHOLE = made([1] * 40 + [0] * 160, ["a"] * 40 + ["b"] * 120 + ["c"] * 40)


def test_no_limit_leaves_all():
    assert labelled.limited(WHOLE, None, 0) == labelled.limited(WHOLE, 200, 3) == list(range(200))


@pytest.mark.parametrize("limit", [4, 7, 10, 20, 50, 101, 199])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_limit_keeps_the_shares_of_labels_and_blocks(limit, seed):
    rows = labelled.limited(WHOLE, limit, seed)
    assert len(rows) == len(set(rows)) == limit and rows == sorted(rows)
    counts = [sum(WHOLE.blocks[i] == block for i in rows) for block in "abc"]
    expected = [limit * size / 200 for size in (40, 120, 40)]
    slack = 2 if limit < 10 else 1  # the fewest of a label go first
    assert all(abs(a - b) <= slack for a, b in zip(counts, expected, strict=True))


def test_a_larger_limit_adds_and_another_seed_draws_others():
    small, large = (set(labelled.limited(WHOLE, n, 0)) for n in (30, 60))
    assert small < large
    assert small != set(labelled.limited(WHOLE, 30, 1))
    assert labelled.limited(WHOLE, 30, 0) == labelled.limited(WHOLE, 30, 0)


def test_both_classes_survive_a_limit_however_rare_one_is():
    rare = made([0] * 997 + [1] * 3, ["a"] * 1000)
    labels = rare.labels[labelled.limited(rare, 4, 0)]
    assert labels.sum() == 2


@pytest.mark.parametrize(
    ("words", "advised"),
    [
        (["model=sd14"], "dataset=sd14_webster500"),
        (["model=sd20"], "dataset=sd20_webster219"),
        (["model=sd14", "model._target_=mine.load"], "dataset=sd14_webster500"),
        (["model._target_=mine.load", "dataset=sd14_webster500"], "model=testbed_epsilon, to see"),
        (["model=sdxl"], "dataset=prompts_file dataset.path=FILE"),
        (["experiment=quickstart", "model=diffusers_folder", "model.path=/x"], "prompts_file"),
        (["dataset=sd14_webster500"], "give model=sd14"),
        (["dataset=realvis_90"], "give model=realvis51"),
    ],
)
def test_a_default_never_brings_another_models_labels(words, advised):
    with pytest.raises(UserError) as refused:
        labelled.judged(words)
    assert advised in str(refused.value) and "established on" in str(refused.value)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["model=testbed_velocity"],
        ["model=sd14", "dataset=sd14_webster500"],
        ["model=sd14", "model.path=/a/copy", "dataset=sd14_webster500"],
        ["model=sd14", "model.path=/x", "dataset=memattn_sd14"],
    ],
)
def test_labels_of_the_model_itself_need_no_caution(words):
    assert all(labelled.has_own(case) for case in labelled.judged(words))


def test_what_a_listed_model_is_is_not_the_users_word():
    words = ["model=sd14", "dataset=sd20_webster219", "model.stands_for=sd20"]
    for more in ([], ["model._target_=mine.load"]):
        (case,) = labelled.judged([*words, *more])
        assert not labelled.has_own(case)


def test_labels_of_a_model_are_not_those_of_one_with_adapters():
    words = ["model=sd14", "model.adapters=[style.safetensors:0.8]"]
    (case,) = labelled.judged([*words, "dataset=sd14_webster500"])
    assert not labelled.has_own(case) and case.model_name == "sd14 + style:0.8"


def test_a_choice_of_both_is_allowed_and_said(tmp_path):
    (case,) = labelled.judged(["model=testbed_velocity", "dataset=testbed_epsilon"])
    assert not labelled.has_own(case)
    caution = labelled.prompts(case).cautions[-1]
    assert caution == (
        "labels were established on testbed_epsilon, and the model is testbed_velocity"
    )
    file = tmp_path / "mine.csv"
    file.write_text("prompt,label\na,1\nb,0\n")
    words = ["model=sd15", "dataset=prompts_file", f"dataset.path={file}"]
    assert not labelled.prompts(labelled.judged(words)[0]).cautions
    (case,) = labelled.judged([*words, "dataset.labels_of=sd14"])
    assert "established on sd14, and the model is sd15" in labelled.prompts(case).cautions[-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "quickstart"),
        (["runs=/x", "workers=1", "dry_run=true"], "quickstart"),
        (["experiment=quickstart", "seeds=[1]"], "quickstart"),
        (["experiment=table1_sd14"], "table1_sd14"),
        (["model=testbed_velocity"], "testbed_velocity"),
        (["detector=[wen]"], "testbed_epsilon+testbed_velocity"),
        (["model=sd14", "dataset=sd14_webster500"], "sd14-sd14_webster500"),
        (["model=sd15", "dataset=prompts_file", "dataset.path=/b/é (1).csv"], "sd15-é_1_"),
        (["model=diffusers_folder", "model.path=O/N", "dataset=nemo_laion"], "N-nemo_laion"),
    ],
)
def test_a_run_is_named_after_its_experiment_or_model_and_data(words, expected):
    configs = compose.cases(words)
    assert labelled.run_name(words, configs, "quickstart", "") == expected


def test_one_prompt_of_a_class_is_refused_beforehand():
    with pytest.raises(UserError, match="has 1 other prompt; "):
        labelled.require_both("made", 5, 1)
    labelled.require_both("made", 2, 2)


@pytest.mark.parametrize("policy", ["shared", "per_prompt"])
def test_a_limit_changes_no_number_of_the_prompts_it_leaves(tmp_path, save_pipeline, policy):
    file = tmp_path / "mine.csv"
    rows = [f"{'red cat' if i % 3 else 'dog'} {i},{i % 2},{i}" for i in range(24)]
    file.write_text("prompt,label,cluster\n" + "\n".join(rows) + "\n")
    words = ["model=diffusers_folder", f"model.path={save_pipeline()}", "dataset=prompts_file"]
    words += [f"dataset.path={file}", "detector=[wen]", "detector.wen.n=[1]", "workers=1"]
    words += ["timing_repeats=0", f"runs={tmp_path}", f"noise_policy={policy}", "cases=[[]]"]
    limits: list[list[str]] = [[], ["limit=9"], ["limit=6"]]
    cases = [Case(compose.cases([*words, *more])[0], "made") for more in limits]
    found = []
    for case in cases:
        complete(case)
        (name,) = case.samples
        values = Results(case).recorded(42).components[name][:, 0]
        found.append(dict(zip(case.prompts.ids, values, strict=True)))
    whole, nine, six = found
    assert len({case.identity for case in cases}) == 3
    assert (len(whole), len(nine), len(six)) == (24, 9, 6) and set(six) < set(nine)
    for part in (nine, six):
        np.testing.assert_allclose([part[i] for i in part], [whole[i] for i in part], rtol=1e-5)
