"""A curve over checkpoints: each a scan of its own, side by side."""

import csv
import shutil

import pyarrow.parquet as pq
import pytest

from anisomem.cli.main import main
from anisomem.errors import UserError
from anisomem.scan import checkpoints
from tests.scan.conftest import arguments, refused


def words(models, folder, *more):
    """A scan of several checkpoints."""
    given = arguments(models[0], folder, *more)
    of_paths = f"model.path=[{','.join(map(str, models))}]"
    return [of_paths if word.startswith("model.path=") else word for word in given]


@pytest.fixture
def epochs(save_pipeline, tmp_path):
    """Three models as a training run leaves them."""
    return [
        shutil.copytree(save_pipeline(seed=seed), tmp_path / "run" / f"epoch {seed}" / "pipeline")
        for seed in range(3)
    ]


def test_each_checkpoint_is_its_own_scan_and_the_curve_counts_their_flags(
    epochs, tmp_path, capsys, monkeypatch
):
    more = ("fdr=0.9", "detector=[wen]")
    given = words(epochs, tmp_path, *more)
    assert main(given) == 0
    out = capsys.readouterr()
    assert [f"checkpoint {i + 1} of 3: epoch {i}" in out.err for i in range(3)] == [True] * 3
    (curve,) = (tmp_path / "runs" / "scan").glob("mine-checkpoints-*")
    assert {"curve.md", "curve.csv", "curve.png", "curve.svg"} <= {f.name for f in curve.iterdir()}
    with (curve / "curve.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["checkpoint"] for line in lines] == ["epoch 0", "epoch 1", "epoch 2"]
    for line, path in zip(lines, epochs, strict=True):
        rows = pq.read_table(curve.parent / line["scan"] / "scan.parquet").to_pylist()
        distinct = {row["prompt"]: row["flagged"] for row in rows}
        assert int(line["prompts"]) == len(distinct) == 4
        assert float(line["share_flagged"]) == sum(distinct.values()) / 4
        assert float(line["share_flagged_low"]) <= float(line["share_flagged"])
        assert line["path"] == str(path)
    # The same again, and a single one of them, find everything there.
    monkeypatch.setattr("anisomem.run.sharing.loaded", lambda *_: pytest.fail("a model is loaded"))
    assert main(given) == 0
    assert capsys.readouterr().out == out.out
    single = [f"model.path={epochs[1]}" if w.startswith("model.path=") else w for w in given]
    assert main(single) == 0
    assert lines[1]["scan"] in capsys.readouterr().out
    assert len(list(curve.parent.iterdir())) == 4


def test_what_lacks_is_said_before_anything_is_recorded(
    epochs, save_pipeline, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "checkpoint-500"
    (bare / "unet").mkdir(parents=True)
    for third, said in (
        (tmp_path / "gone", "gone', which is not there"),
        ("nowhere", "'nowhere', which is not there"),
        ("checkpoint-500/gone", "'checkpoint-500/gone', which is not there"),
        (bare, "a folder without model_index.json"),
        (save_pipeline(), "names one model twice"),
        (epochs[0], "twice; a checkpoint is one point"),
    ):
        assert said in refused(capsys, *words([*epochs[:2], third], tmp_path))
    assert not list(tmp_path.glob("runs/scan/*/components/*.parquet"))


def test_a_checkpoint_that_is_the_second_model_is_refused(epochs, tmp_path, capsys):
    base = f"baseline_model.path={epochs[0]}"
    assert "is the model itself" in refused(capsys, *words(epochs, tmp_path, base))


def test_a_dry_run_plans_every_checkpoint(epochs, tmp_path, capsys):
    assert main(words(epochs, tmp_path, "dry_run=true")) == 0
    out = capsys.readouterr().out
    assert out.count("| scored by") == 3
    assert not list(tmp_path.glob("runs/scan/*/components/*.parquet"))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("[a,b/c]", ["a", "b/c"]),
        ("[ a b , 01,1e5]", ["a b", "01", "1e5"]),
        ("['a,b',\"c\"]", ["a,b", "c"]),
        ("[one]", ["one"]),
        ("plain", []),
        ("[open", []),
    ],
)
def test_lists_of_paths_are_read_as_text(text, paths):
    assert checkpoints.listed(["fdr=0.1", f"model.path={text}"]) == paths


@pytest.mark.parametrize("text", ["[]", "[a,,b]", "[a,]", "[,a]"])
def test_an_empty_place_is_refused(text):
    with pytest.raises(UserError, match="names nothing in a place"):
        checkpoints.listed([f"model.path={text}"])


def test_a_folder_that_is_called_like_a_list_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[a,b]").mkdir()
    assert checkpoints.listed(["model.path=[a,b]"]) == []


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/x/run/e1/unet", "/x/run/e2/unet"], ["e1", "e2"]),
        (
            ["out/step-1.safetensors", "out/step-2.safetensors"],
            ["step-1.safetensors", "step-2.safetensors"],
        ),
        (["a/b", "a/a/b"], ["b", "a/b"]),
        (["OWNER/NAME", "here"], ["OWNER/NAME", "here"]),
    ],
)
def test_names_are_what_tells_paths_apart(paths, expected):
    assert checkpoints.names(paths) == expected
