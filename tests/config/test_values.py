"""What settings may hold, said in our words."""

import re

import pytest

from anisomem.cli.main import main
from anisomem.config import compose, values
from anisomem.errors import UserError

INTEGER = "limit must be an integer from 4 to 1,000,000,000 or null; got "


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("limit=forty", INTEGER + "'forty'"),
        ("limit=1.5", INTEGER + "1.5"),
        ("limit=[1]", INTEGER + "[1]"),
        ("limit=", INTEGER + "''"),
        ("+limit=x", INTEGER + "'x'"),
        ("limit.x=3", "limit has no 'x' to be set; it must be an integer"),
        ("seeds=abc", "seeds must be distinct integers from 0 to 2**32 - 1, 'seeds=[42,51]'; got"),
        ("seeds=[a]", "got ['a']"),
        ("seeds={a: 1}", "got {'a': 1}"),
        ("seeds=null", "got None"),
        ("dry_run=maybe", "dry_run must be true or false; got 'maybe'"),
        ("draws=1e3", "draws must be an integer from 100 to 1,000,000; got 1000.0"),
        ("fpr_targets=[a]", "'fpr_targets=[0.01,0.03]' for 1% and 3%; got ['a']"),
        ("tensors=3", "'tensors=[ID]'; got 3"),
        ("cases=[3]", """cases=[["model=testbed_epsilon","dataset=testbed_epsilon"]]'; got [3]"""),
        ("noise_policy=3", "no noise_policy named '3'; known: per_prompt, shared"),
        ("on_failure=true", "no on_failure named 'True'; known: keep, retry, stop"),
        ("references.count=x", "references.count must be an integer from 2 to 1,000,000; got 'x'"),
        ("trial=3", "trial has settings of its own, such as trial.memorized=VALUE; got 3"),
        ("trial={steps: x}", "trial.steps must be an integer from 1 to 1,000; got 'x'"),
        ("trial={stepz: 1}", "no setting of trial named 'stepz'; did you mean 'steps'?"),
        ("trial.steps.x=3", "trial.steps has no 'x' to be set"),
        ("paths.foo=3", "no setting of paths named 'foo'; known: data"),
        ("trial.guidance=null", "trial.guidance must be a finite number; got None"),
        ("detector.wen=3", "detector.wen has settings of its own, detector.wen.SETTING=VALUE; go"),
        ("strengths={wen: 3}", "strengths must be lists of values, 'strengths.wen.steps="),
        ("strengths.wen=3", "strengths.wen must be lists of values"),
        ("model.foo.bar=3", "there is no setting model.foo.bar"),
        ("limit@x=3", "no setting named 'limit@x'; did you mean 'limit'?"),
        ("hydra=3", "hydra has settings of its own, such as hydra.sweep.dir=FOLDER; got '3'"),
        ("hydra.x=3", "there is no setting hydra.x"),
        ("hydra.mode=foo", "hydra.mode=foo cannot be set: Invalid value 'foo', expected one of"),
        ("hydra/launcher=foo", "no hydra/launcher named 'foo'; known: basic, joblib"),
    ],
)
def test_a_setting_of_a_wrong_type_is_said_in_our_words(word, said, capsys):
    with pytest.raises(UserError) as caught:
        compose.cases(["experiment=quickstart", word])
    text = str(caught.value)
    assert said in text and "\n" not in text
    assert "merging" not in text and "Config" not in text


def test_a_name_within_a_list_is_no_setting():
    with pytest.raises(UserError, match=r"^there is no setting .*wen\.n\.x: .* is a list$"):
        compose.cases(["experiment=quickstart", "detector.jeon.n=[2]", "detector.wen.n.x=3"])


@pytest.mark.parametrize("word", ["hydra=3", "limit=forty", "detector.wen.n.x=3"])
def test_it_is_a_line_and_exit_code_2(word, capsys):
    assert main(["run", word, "detector=[wen]", "dry_run=true"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_forms_that_messages_show_are_taken():
    words = ["seeds=[42,51]", "fpr_targets=[0.01,0.03]", "noise_policy=per_prompt", "limit=null"]
    words += ["dry_run=true", "trial={steps: 3}"]
    shown = [re.search(r"'(.*)'", values.form(name))[1] for name in ("cases", "strengths")]
    (config,) = compose.cases([*words, "experiment=mitigation_testbed", *shown])
    assert config.model_name == "testbed_epsilon" and config.strengths["wen"] == {"steps": [5, 10]}
    assert (config.seeds, config.limit, config.trial.steps) == ([42, 51], None, 3)
