"""What is made ready, and what is left out or refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from anisomem.cli.main import main
from anisomem.config import catalog
from anisomem.demo import interface, known
from anisomem.demo.command import configured, is_loopback
from anisomem.demo.prepare import prepare
from anisomem.demo.verdict import Ordinary
from anisomem.errors import UserError


def test_a_bundled_model_comes_with_its_own_prompts():
    for name in (f"testbed_{variant}" for variant in catalog.VARIANTS):
        config, usual = configured([f"model={name}"])
        assert config.dataset["labels_of"] == name and usual == ["detector", "mitigation"]
    config, usual = configured(["model=testbed_flow", "detector=[wen]", "mitigation.wen.steps=2"])
    assert usual == [] and config.mitigation["wen"]["steps"] == 2
    config, _ = configured(["model=testbed_flow", "dataset=testbed_epsilon"])
    assert config.dataset["labels_of"] == "testbed_epsilon"  # as it is asked for
    assert configured(["experiment=scan", "mitigation=[wen]"])[1] == []
    with pytest.raises(UserError, match="the experiment has several cases"):
        configured(["experiment=quickstart"])


def test_what_the_model_cannot_serve_is_left_out_unless_it_was_chosen(tiny_words):
    words = [word for word in tiny_words if not word.startswith("model.stands_for")]
    demo, left_out = prepare(*configured(words))
    assert demo.scorer.keys == ["wen, n=1", "noise_alignment, n=1"]
    assert list(demo.mitigations) == ["wen", "pad_mask"]
    assert len(left_out) == 2 and all(line.startswith("anisotropy: ") for line in left_out)
    assert demo.known is None and demo.prompts is None and demo.examples == ()
    for chosen in ("detector=[anisotropy,wen]", "mitigation=[anisotropy]"):
        with pytest.raises(UserError, match="published"):
            prepare(*configured([*words, chosen]))


def test_training_pictures_of_a_folder(tiny_words, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.txt").write_text("a tree\n")
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    words = [*tiny_words, f"pictures={tmp_path}"]
    demo, left_out = prepare(*configured(words))
    assert len(demo.known) == 3
    assert len(left_out) == 1 and left_out[0].startswith("1 training pictures, first broken.jpg")
    near = demo.known.nearest(np.asarray(Image.open(tmp_path / "1.png"))[None])
    assert near[0].caption == "a tree" and near[0].distance == pytest.approx(0, abs=1e-3)
    monkeypatch.setattr(known, "MOST", 100_000)
    with pytest.raises(UserError, match="more than the demo can hold; give a part of them, at m"):
        prepare(*configured(words))


def test_rates_that_too_few_prompts_cannot_tell_are_not_offered(tiny_words):
    demo, _ = prepare(*configured([*tiny_words[:-3], "fpr_targets=[0.01,0.05]", "trial.steps=3"]))
    assert demo.rates == [0.05]
    with pytest.raises(UserError, match=r"need 100 ordinary prompts, and .* gives 40; give cal"):
        prepare(*configured([*tiny_words[:-3], "fpr_targets=[0.01]", "trial.steps=3"]))


def test_rates_count_the_prompts_that_have_a_score():
    scores = np.arange(19.0)
    ordinary = Ordinary("file", [str(i) for i in range(19)], {"wen": scores}, 1.0)
    assert ordinary.rates([0.05, 0.1]) == [0.1]  # one is left out where it is asked about itself
    scores = np.append(scores, 19.0)
    ordinary = replace(ordinary, texts=[*ordinary.texts, "19"], scores={"wen": scores})
    assert ordinary.rates([0.05, 0.1]) == [0.05, 0.1]
    ordinary.verdict("wen", "7", 7.0, 0.05)
    scores[3] = np.nan
    assert ordinary.rates([0.05, 0.1]) == [0.1]
    assert 3.0 not in ordinary.calibration("wen") and len(ordinary.calibration("wen", "7")) == 18


def test_nobody_else_is_let_in_unless_asked():
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "0"], "--port: expected a port from 1 to 65535, got '0'"),
        (["modle=sd14"], "no setting named 'modle'; did you mean 'model'?"),
        (["experiment=quickstart"], "the demo is of one model"),
        (["detector=[random]"], "random does not score a prompt on its own"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, monkeypatch):
    monkeypatch.setattr(interface, "library", lambda: None)
    assert main(["demo", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_without_gradio_it_is_said_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == f"anisomem: {interface.INSTALL}\n"
