"""``anisomem evaluate``: table, figures and page of scores, without a model and without torch."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import anisomem
from anisomem.cli.main import main


@pytest.fixture
def scores(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 100)
    frame = pd.DataFrame(
        {
            "label": labels,
            "mine": labels + rng.normal(size=200),
            "theirs": -labels + rng.normal(size=200),
            "cluster": np.arange(200) // 2,
            "prompt": [f"prompt {i}" for i in range(200)],
        }
    )
    frame.to_csv(tmp_path / "scores.csv", index=False)
    return frame


def test_it_prints_the_table_that_python_shows(scores, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "scores.csv"), "draws=200", "fpr_targets=[0.05]"]) == 0
    out = capsys.readouterr().out
    report = anisomem.evaluate(
        scores["label"],
        scores[["mine", "theirs"]],
        scores["cluster"],
        fpr_targets=[0.05],
        draws=200,
    )
    assert out.replace("prompts scores", "prompts given") == f"{report}\n".replace(
        "- given", "- scores"
    )
    assert os.listdir(tmp_path) == ["scores.csv"]


def test_it_writes_tables_figures_and_page(scores, tmp_path, capsys):
    out = tmp_path / "out"
    file = str(tmp_path / "scores.csv")
    assert main(["evaluate", file, "--out", str(out), "draws=200"]) == 0
    printed = capsys.readouterr()
    assert f"Report: {out}/" in printed.out
    table = pd.read_csv(out / "table.csv")
    assert list(table["detector"]) == ["mine", "theirs"] and table["auc"][1] < 0.4
    for name in ("report.html", "roc-scores.svg", "verdicts-scores.png", "more.md", "table.tex"):
        assert (out / name).is_file(), name
    page = (out / "report.html").read_text()
    assert "<li>100 memorized and 100 other prompts.</li>" in page
    assert "noise seed 0" not in page
    written = pd.read_csv(out / "scores.csv")
    assert np.array_equal(written["mine"], scores["mine"])
    # What is written is a table of scores itself.
    assert main(["evaluate", str(out / "scores.csv"), "--score", "mine", "draws=200"]) == 0
    assert "| mine     | – | .7" in capsys.readouterr().out


def test_a_score_that_points_the_wrong_way_is_warned_of_and_not_flipped(scores, tmp_path, capsys):
    file = str(tmp_path / "scores.csv")
    assert main(["evaluate", file, "--score", "theirs", "draws=200"]) == 0
    printed = capsys.readouterr()
    assert "| theirs   | – | .2" in printed.out
    assert "no label and no sign is changed" in printed.err


def test_it_needs_no_torch(scores, tmp_path):
    code = (
        "import sys; from anisomem.cli.main import main; "
        f"code = main(['evaluate', {str(tmp_path / 'scores.csv')!r}, '--out', "
        f"{str(tmp_path / 'out')!r}, 'draws=100']); "
        "print(code, [m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.csv"], "no prompt file at"),
        (["scores.csv", "--score", "mime"], "did you mean 'mine'?"),
        (["scores.csv", "model=sd14"], "no setting of evaluate named 'model'"),
        (["scores.csv", "draws=1"], "draws must be an integer from 100"),
        ([], "anisomem evaluate needs FILE"),
    ],
)
def test_mistakes_are_one_line(scores, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and said in printed.err
