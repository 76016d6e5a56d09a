"""Words of a command line: Hydra's grammar, or plain text."""

import random
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from anisomem.config import compose
from anisomem.config.overrides import experiment, quoted, read
from anisomem.errors import UserError


def hydras(text):
    return OverridesParser.create().parse_override(text).value()


def test_quoted_text_is_what_hydra_reads():
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choice("ab\\'\"é[]{}, =$~#:\n") for _ in range(rng.randint(1, 8)))
        assert hydras(f"x={quoted(text)}") == text


@pytest.mark.parametrize(
    "text",
    [
        "/home/josé/a",
        "a(b)",
        "a[1]/b",
        "a{b}",
        "a b",
        "a#b",
        "a,b",
        "a=b",
        "a'b",
        "1_0",
        "1e3",
        "true",
        "a&b!",
        "a\\b",
        "日本.csv",
        "$x",
    ],
)
def test_a_path_is_read_as_it_stands(text):
    (one,) = read([f"model.path={text}"])
    assert one.value == text and hydras(one.text) == text
    (name,) = read([f"dataset.name={text}"])
    assert hydras(name.text) == text


@pytest.mark.parametrize("key", ["runs", "paths.data", "model.path", "dataset.path"])
def test_a_home_is_expanded_in_every_path(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert read([f"{key}=~/x é"])[0].value == "/home/me/x é"
    assert read([f"{key}=~/a,~/b"], several=True)[0].text == f"{key}='/home/me/a','/home/me/b'"


def test_what_hydra_reads_stays_what_it_reads():
    words = ["seeds=[42,51]", "detector.wen.n=[1]", "dataset.columns={prompt: caption, label: x}"]
    values = [one.value for one in read(words)]
    assert values == [[42, 51], [1], {"prompt": "caption", "label": "x"}]
    assert read(["dataset.columns.prompt=Légende"])[0].value == "Légende"
    assert read(['dataset.path="a b"', "runs='a,b'"])[1].value == "a,b"
    assert experiment(['experiment="quickstart"', "seeds=[1]"]) == "quickstart"
    assert experiment(["seeds=[1]"]) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["draws"], "name=value"),
        (["=1"], "name=value"),
        (["é=1"], "name=value"),
        (["~seeds=1"], "cannot be taken away"),
        (["runs=${x}"], "not looked up"),
        (["detector=[${x}]"], "not looked up"),
        (["runs="], "runs is empty"),
        (["runs=" + "a" * 256], "256 bytes"),
        (["runs=" + "é" * 128], "256 bytes"),
        (["runs=" + "a/" * 2048], "4096 bytes"),
        (["runs=a\0b"], "NUL"),
        (["runs=a\udc80"], "not UTF-8"),
        (["runs=~nobody-of-that-name/x"], "no user"),
        (["model.dtype=a,b"], "several values"),
        (["draws=" + "9" * 5000], "5000 digits"),
        (["seeds=" + "[" * 900 + "]" * 900], "seeds"),
        (["detector=[wen"], "open bracket"),
        # What a shell has split is put together again, as it should have been typed.
        (["detector=[wen,", "jeon]"], "'detector=[wen, jeon]'"),
        (
            ["dataset.columns={prompt:", "caption,", "label:", "known}"],
            "'dataset.columns={prompt: caption, label: known}'",
        ),
        (["dataset.columns={prompt: Légende}"], "'dataset.columns={prompt: \"Légende\"}'"),
    ],
)
def test_a_word_that_is_none_says_how_to_write_it(words, expected):
    with pytest.raises(UserError) as refused:
        read(words)
    assert expected in str(refused.value) and len(str(refused.value)) < 400
    if "'dataset" in expected or "'detector" in expected:
        read([expected.strip("'")])


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/", ".x", "..", "a\nb", "é" * 76, "x.", "\u202ex"]
)
def test_a_name_that_is_no_folders_is_refused_with_one_that_is(name, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("prompt,label\na,1\nb,0\n")
    from anisomem.run import labelled

    settings = ["dataset=prompts_file", f"dataset.path={file}", "cases=[[]]"]
    case = compose.cases([*settings, f"dataset.name={name}"])[0]
    with pytest.raises(UserError, match=r"give 'dataset\.name=") as refused:
        labelled.whole(case)
    advised = str(refused.value).rpartition("give '")[2].strip("'")
    again = labelled.whole(compose.cases([*settings, advised])[0])
    assert Path(again.name).name == again.name


@pytest.mark.parametrize(
    "word",
    ["seeds=[[1]]", "seeds=[1,[2]]", "fpr_targets=[[.1]]", "tensors=[[a]]", "detector=[[wen]]"]
    + ["detector=wen", "detector=null", "detector={wen: 1}", "model=null", "model=[sd14]"]
    + ["dataset=../x", "detector.wen=5", "cases=[1]", "cases=[[model=x]]", "paths=null"]
    + [f"{name}={10**30}" for name in ("draws", "gallery", "workers", "limit", "timing_repeats")]
    + ["limit=1", "model.path=null", "model.device={a: 1}", "trial.guidance=nan", "seeds={a: 1}"],
)
def test_values_that_make_no_sense_are_refused(word):
    with pytest.raises(UserError):
        compose.cases(["experiment=quickstart", "detector=[wen]", word])


def test_a_mapping_may_name_what_is_not_there_yet():
    words = ["dataset=prompts_file", "dataset.columns={prompt: caption}", "logger=null"]
    case = compose.cases(words)[0]
    assert case.dataset["columns"]["prompt"] == "caption" and not case.logger
    assert compose.cases(["dataset=prompts_file", "dataset.columns.label=x"])[0].dataset["columns"]


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["quickstart"], "; write experiment=quickstart"),
        (["sd14"], "; write model=sd14"),
        (["wen"], "; write 'detector=[wen]' or 'mitigation=[wen]'"),
        (["testbed_epsilon"], "; write model=testbed_epsilon or dataset=testbed_epsilon"),
        (["jeon"], "; write 'detector=[jeon]'"),
        (["limit", "40"], "; write limit=40, without blanks"),
        (["limit", "=", "40"], "; write limit=40, without blanks"),
        (["limit:", "40"], "; write limit=40, without blanks"),
        (["model", "sd14"], "; write model=sd14, without blanks"),
        (["mine.csv"], "; write dataset=prompts_file dataset.path=mine.csv"),
        (["my own.csv"], "; write dataset=prompts_file 'dataset.path=my own.csv'"),
        (["mein.csv"], "got 'mein.csv'"),
        (["long" * 99 + ".csv"], "got '" + "long" * 99 + ".csv'"),
    ],
)
def test_a_word_without_a_value_is_told_how_to_be_written(words, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.csv", "my own.csv"):
        (tmp_path / name).write_text("prompt,label\n")
    with pytest.raises(UserError) as caught:
        read(words)
    assert str(caught.value).endswith(written)


def test_a_setting_of_the_model_is_said_to_be_one():
    with pytest.raises(UserError, match=r"device is a setting of the model; write model\.device="):
        compose.checked(["device=cuda"])
