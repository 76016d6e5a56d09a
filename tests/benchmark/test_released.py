"""Scores go into the released code's layout and come back."""

import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from anisomem.cli.main import main

MODE = "x,x|c"


@pytest.fixture(scope="module")
def exported(gallery_run, tmp_path_factory):
    """Overrides of a run in another mode, its table, and the folder of its exported scores."""
    folder = tmp_path_factory.mktemp("released")
    overrides = [o for o in gallery_run[0] if not o.startswith(("runs=", "gallery=", "detector="))]
    overrides += ["detector=[anisotropy,anisotropy_norm]", f"detector.anisotropy.mode='{MODE}'"]
    assert main(["run", *overrides, "seeds=[42,51]", f"runs={folder / 'runs'}"]) == 0
    run, out = folder / "runs" / "quickstart", folder / "det_outputs"
    assert main(["export-released", str(run), "--out", str(out)]) == 0
    return overrides, pd.read_csv(run / "table.csv").set_index(["detector", "n"]), out


@pytest.fixture(autouse=True)
def crowded(tmp_path_factory, monkeypatch):
    """The current folder has more files than a model has, and imported scores have no model."""
    folder = tmp_path_factory.mktemp("crowded")
    for i in range(60):
        (folder / f"{i}.json").touch()
    monkeypatch.setattr("anisomem.storage.digests.MOST_FILES", 50)
    monkeypatch.chdir(folder)


def test_exported_scores_have_the_auc_of_the_table(exported):
    """Read as the released evaluation does: mean over axis 1, then weights 1 and 2."""
    _, table, out = exported
    assert len(list(out.iterdir())) == 2 * 2 * 2 * 2  # classes, tensors, n, seeds
    for n in (1, 4):
        areas = []
        for seed in (42, 51):
            scores = []
            for kind in ("mem", "nmem"):
                end = f"gen{n}_mode{MODE}_seed{seed}.pt"
                norm, cosine = (
                    torch.load(out / f"prompts_{kind}{middle}{end}", weights_only=True)
                    for middle in ("_", "_cosine_")
                )
                assert norm.shape == cosine.shape == (120, 1)
                scores.append(norm.mean(dim=1) + 2 * cosine.mean(dim=1))
            labels = [1] * 120 + [0] * 120
            areas.append(roc_auc_score(labels, torch.cat(scores).numpy()))
        assert sum(areas) / 2 == pytest.approx(table.loc[("anisotropy", n), "auc"], abs=1e-4)


def test_imported_scores_make_the_same_table(exported, tmp_path, capsys, monkeypatch):
    overrides, table, out = exported
    prompts = [o for o in overrides if o.startswith(("dataset", "draws"))]
    command = ["import-released", str(out), *prompts, "model.stands_for=sd14"]
    monkeypatch.setattr("anisomem.models.diffusers_unet.DiffusersUNet.load", None)
    for _ in range(2):
        assert main([*command, f"runs={tmp_path}"]) == 0
    found = pd.read_csv(tmp_path / "released" / "table.csv").set_index(["detector", "n"])
    for key in (("anisotropy", 1), ("anisotropy", 4), ("anisotropy_norm", 4)):
        assert found.loc[key, "auc"] == pytest.approx(table.loc[key, "auc"], abs=1e-4)
    capsys.readouterr()
    assert main([*command, f"runs={tmp_path}", "seeds=[7]"]) == 2
    assert "has no network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: [path.unlink() for path in out.iterdir()], "no released scores in"),
        (lambda out: next(out.glob("*_cosine_*")).unlink(), "which belongs to the files"),
        (lambda out: torch.save(torch.ones(3, 1), next(out.glob("*_mem_gen1*"))), "(120, 1)"),
        (lambda out: next(out.glob("*_mem_gen1*")).write_bytes(b"garbage"), "holds no tensor"),
    ],
)
def test_wrong_files_are_one_line(exported, tmp_path, capsys, damage, message):
    overrides, _, out = exported
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in out.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    prompts = [o for o in overrides if o.startswith(("dataset", "model.stands"))]
    damage(copy)
    capsys.readouterr()
    assert main(["import-released", str(copy), *prompts, f"runs={tmp_path / 'runs'}"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_unknown_set_needs_its_prompts(exported, capsys):
    assert main(["import-released", str(exported[2])]) == 2
    assert "which prompts are 'prompts'?" in capsys.readouterr().err


def test_two_runs_do_not_overwrite_each_other(exported, tmp_path, capsys):
    overrides, _, _ = exported
    runs = f"runs={tmp_path}"
    for name in ("detector.anisotropy.n=[1]", "detector.anisotropy.n=[1,4]"):
        assert main(["run", *overrides, name, runs]) == 0
    capsys.readouterr()
    out = tmp_path / "out"
    assert main(["export-released", str(tmp_path / "quickstart"), "--out", str(out)]) == 2
    assert "once more" in capsys.readouterr().err
