"""``anisomem generate``: the pictures, their scores, and what a user can get wrong."""

import numpy as np
import pytest
import torch
from PIL import Image

from anisomem.cli.main import main
from anisomem.config import catalog, compose
from anisomem.mitigation.anisotropy import Metric
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.tradeoff.one_prompt import sample

ALL = catalog.names("mitigation")
pytestmark = pytest.mark.usefixtures("rendered")


@pytest.fixture
def tiny(pipeline_folder, tmp_path, write_prompts):
    """Overrides that generate with the tiny pipeline."""
    return [
        "model=diffusers_folder",
        f"model.path={pipeline_folder}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={write_prompts(tmp_path / 'prompts.parquet')}",
        "seeds=[3]",
    ]


def test_before_and_after(tiny, tmp_path, capsys, pipeline_folder):
    out = tmp_path / "folder" / "pictures.png"
    # Overrides may stand behind the options.
    assert main(["generate", "a red cat", "--mitigate", "wen", "--out", str(out), *tiny]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    rows = [line.split("|")[2:-1] for line in printed.splitlines() if line.startswith("| ")]
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)]
    cells = {name: values for name, *values in columns}
    before, after = cells["none"], cells["wen"]
    assert float(after[2]) < float(before[2])  # Wen's norm where it was lowered
    assert before[4:9] == ["0.0%", "0.0%", "0", "0", "0"]
    assert after[6:9] == ["10", "12", "10"]
    width, height = Image.open(out).size
    assert width > 1.5 * height and str(out) in printed

    model = DiffusersUNet.load(str(pipeline_folder), stands_for="sd14")
    assert float(before[0]) == pytest.approx(score(model, "a red cat", 3), rel=5e-3)


def test_the_device_is_the_one_that_is_named(tiny, capsys):
    assert main(["generate", "a red cat", "devices=[cuda:99]", *tiny]) == 2
    assert "devices=[cuda:99] names 'cuda:99', and this machine has" in capsys.readouterr().err


def score(model, text, seed):
    """The metric as the detector defines it."""
    from anisomem.detection.anisotropy import Anisotropy

    metric = Metric(Anisotropy("a"), model, model.initial_noise(seed, 1), [seed])
    with torch.no_grad():
        return metric(model.encode([text]), torch.arange(1)).item()


def test_every_mitigation_that_is_shipped(tiny, tmp_path):
    ordinary = tmp_path / "ordinary.txt"
    ordinary.write_text("".join(f"dog cat fox {i}\n" for i in range(50)))
    tiny += [f"references.prompts={ordinary}", "references.count=20"]
    small = ["mitigation.sail.steps=1", "mitigation.sail_sd14.budget=2"]
    small += ["mitigation.noise_descent.steps=2", "mitigation.stability.count=20"]
    composed = compose.cases([f"mitigation=[{','.join(ALL)}]", *tiny, *small])[0]
    outcomes = {one.label: one for one in sample("a red cat", composed, None)}
    assert list(outcomes) == ALL
    plain = outcomes["none"]
    for name, one in outcomes.items():
        assert np.isfinite([one.scores.metric, one.scores.wen_held_out]).all()
        still = name in (
            "none",
            "ren",
            "anisotropy_on_detection",
            "initial_noise",
            "noise_descent",
        )
        still |= "sail" in name or "basin" in name  # which move the noise, or no vector at all
        still |= name.startswith(("guard", "stability"))  # or change the steps
        assert (one.embeddings > 0) != still, name
    assert "not above" in outcomes["anisotropy_on_detection"].effort.note
    changed = [n for n, one in outcomes.items() if not np.array_equal(one.picture, plain.picture)]
    moving = {"anisotropy", "wen", "ren", "random_tokens", "pad_mask", "pad_replace"}
    moving |= {"basin", "basin_opposite", "initial_noise", "noise_descent"}
    assert moving <= {*changed}
    assert outcomes["ren"].scores.wen != plain.scores.wen  # scored as it is sampled


def test_acting_on_detection(tiny, tmp_path, capsys):
    ordinary = tmp_path / "ordinary.txt"
    ordinary.write_text("".join(f"dog cat {i}\n" for i in range(30)))
    choices = [*tiny, f"references.prompts={ordinary}", "references.count=20"]
    out = ["--mitigate", "wen", "--out", str(tmp_path / "x.png")]
    assert main(["generate", "dog cat 0", *out, "--fpr", "0.5", *choices]) == 0
    assert main(["generate", "dog cat 0", *out, "--fpr", "0.01", *choices]) == 2
    printed = capsys.readouterr()
    assert "20 ordinary prompts cannot tell a false-positive rate of 0.01" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a cat", "--mitigate", "anisotopy"], "did you mean 'anisotropy'?"),
        (["a cat", "--mitigate", "wen", "mitigation.wen.lr=-1"], "lr must be a number above 0"),
        (["a cat", "--mitigate", "wen", "mitigation.wen.rl=1"], "did you mean 'lr'"),
        (["a cat", "modle=sd14"], "did you mean 'model'?"),
        (["a cat", "--out", "cat.jpg"], "must name a .png file, got 'cat.jpg'"),
        (["a cat", "--out", "/proc/x/cat.png"], "cannot write /proc/x/cat.png"),
        (["a cat", "--fpr", "0.1"], "name one with --mitigate"),
        (["  "], "the prompt is empty"),
        (["a cat", "seeds=[]"], "seeds must be distinct integers"),
    ],
)
def test_mistakes_are_one_line(tiny, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", *arguments, *tiny[:-1]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_unknown_options_are_refused(capsys):
    for arguments, expected in (
        (["generate", "a", "--mitgate", "wen"], "did you mean '--mitigate'?"),
        (["list", "models", "more"], "unexpected extra argument (more)"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and expected in error


def test_settings_of_the_trajectory_are_those_that_are_given(tiny, tmp_path):
    pictures = []
    for i, more in enumerate(([], ["trial.steps=3"], ["trial.steps=3", "trial.guidance=1"])):
        out = tmp_path / f"{i}.png"
        assert main(["generate", "a red cat", "--out", str(out), *tiny, *more]) == 0
        pictures.append(out.read_bytes())
    assert len(set(pictures)) == 3


def test_half_a_character_and_random_weights_are_one_line(tiny, capsys):
    assert main(["generate", "caf\udce9", *tiny]) == 2
    assert "generate: the prompt has half a character" in capsys.readouterr().err
    assert main(["generate", "a cat", *tiny, "weights=random"]) == 2
    assert "pictures need weights=pretrained" in capsys.readouterr().err
