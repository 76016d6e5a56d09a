"""The command as a user types it, on a tiny pipeline: what it prints and leaves."""

import errno
import json
import os
import shutil
import time
from hashlib import sha256

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from anisomem.cli.main import main
from anisomem.report.table import short
from tests.cli.conftest import DETECTORS


def test_run_leaves_table_card_figures_and_store(setting, rendered, tmp_path, capsys):
    with_jeon = f"{DETECTORS[:-1]},jeon]"
    assert main(["run", *setting, with_jeon, "timing_repeats=1"]) == 0
    table = capsys.readouterr().out
    folder = tmp_path / "runs" / "quickstart"
    lines = [line for line in (folder / "table.md").read_text().splitlines() if "| wen" in line]
    whole = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(short(row[4]) in table for row in whole) and len(whole) == 4
    assert max(map(len, table.split("Report:")[0].splitlines())) <= 100
    assert str(folder) in table

    frame = pd.read_csv(folder / "table.csv")
    card = json.loads((folder / "table.json").read_text())
    assert [r["auc"] for r in card["rows"]] == pytest.approx(frame["auc"].tolist())
    rows = frame.set_index(["detector", "n"])
    assert rows.loc[("anisotropy", 4), "nfe_per_prompt"] == 8
    assert rows.loc[("anisotropy", 4), "nfe_per_seed_shared"] == 8
    assert rows.loc[("wen", 1), "nfe_per_prompt"] == 1
    assert rows.loc[("wen_cost_matched", 8), "nfe_per_prompt"] == 8
    assert rows.loc[("jeon", 4), "jvps_per_prompt"] == 8
    assert np.isnan(rows.loc[("text_only", 0), "nfe_per_prompt"])
    assert (frame["auc_low"] <= frame["auc"]).all() and (frame["auc"] <= frame["auc_high"]).all()
    assert frame["tpr_at_fpr_0.01"].isna().all()  # 12 negatives cannot resolve 1%
    figures = ("roc", "forest", "samples", "distributions", "norm_cosine", "cost")
    figures += ("critical_difference", "verdicts")
    for suffix in ("png", "svg"):
        names = {f.name for f in folder.glob(f"*.{suffix}")}
        assert names == {f"{name}-prompts.{suffix}" for name in figures}
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(figures)
    # Nothing comes from the network; papers are behind links that open nothing by themselves.
    assert "http" not in page.replace("http-equiv", "").replace('<a href="https://arxiv.org/', "")
    assert "\\toprule" in (folder / "table.tex").read_text()

    (case,) = card["cases"]
    assert case["settings"]["seeds"] == [42]
    assert list(folder.glob(f"*-{case['identity'][:10]}"))
    assert (case["prompts"]["planned"], case["prompts"]["done"]) == (24, 24)
    assert len(case["prompts"]["sha256"]) == len(case["prompts"]["labels_sha256"]) == 64
    assert case["recording"]["device"] == [case["device_name"]]
    assert (
        case["recording"]["git_commit"] == [case["git_commit"]]
        and not case["recording"]["revision"]
    )
    assert case["recording"]["batch_size"] == [64] and case["dtype"] == "float32"
    assert case["recording"]["process_seconds"] > 0 and case["wall_seconds"] > 0
    assert {"schema", "packages", "machine", "python", "timed_on", "costs"} <= set(case)

    stored = pd.concat(pd.read_parquet(f) for f in folder.glob("*/components/*.parquet"))
    assert len(stored) == 24 * 8  # eight noise samples a prompt, nothing recorded twice
    wen = stored.set_index("sample")["wen/norm[step:0]"]
    assert wen.notna().all()
    cosine = stored.set_index("sample")["anisotropy/cos[released,x,c|x,none,step:-3]"]
    assert cosine[cosine.index < 4].notna().all() and cosine[cosine.index >= 4].isna().all()


def test_finished_run_loads_no_model_and_prints_the_same(setting, tmp_path, capsys, monkeypatch):
    assert main(["run", *setting]) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr("anisomem.models.families.load", None)
    assert main(["run", *setting]) == 0
    assert capsys.readouterr().out == first
    assert main(["table", str(tmp_path / "runs" / "quickstart")]) == 0
    assert capsys.readouterr().out.strip() == first[: first.index("Report:")].strip()


def test_a_finished_run_in_a_folder_that_may_only_be_read_prints_its_table(
    finished, tmp_path, capsys, monkeypatch
):
    assert main(["run", *finished]) == 0
    table = capsys.readouterr().out.split("Report:")[0]
    (tmp_path / "runs/quickstart/more.md").unlink()  # so there is something to write

    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", refuse)
    for more, code in (([], 0), (["workers=2"], 0), (["seeds=[1]"], 2)):
        assert main(["run", *finished, *more]) == code
        printed = capsys.readouterr()
        assert "Read-only file system" in printed.err and printed.err.count("\n") == 1
        assert printed.out == (table if code == 0 else "")


def test_interrupted_run_continues_with_what_is_missing(setting, tmp_path, capsys, monkeypatch):
    from anisomem.benchmark.entries import Entries
    from anisomem.storage.store import ScoreStore

    monkeypatch.setattr(Entries, "shard", 5)
    assert main(["run", *setting]) == 0
    whole = capsys.readouterr().out
    (folder,) = (tmp_path / "runs").glob("*/*/components")
    (merged,) = folder.glob("*.parquet")
    whole_table = pq.read_table(merged)
    lost = pc.is_in(whole_table["prompt_id"], pa.array(["p0", "p1", "p2", "p3"]))
    merged.unlink()
    written = pa.BufferOutputStream()
    pq.write_table(whole_table.filter(pc.invert(lost)), written)
    content = written.getvalue().to_pybytes()
    (folder / f"{sha256(content).hexdigest()}.parquet").write_bytes(content)

    appended = []
    append = ScoreStore.append

    def spy(self, ids, *rest):
        appended.extend(ids)
        append(self, ids, *rest)

    monkeypatch.setattr(ScoreStore, "append", spy)
    assert main(["run", *setting]) == 0
    assert {"p0", "p1", "p2", "p3"} <= set(appended)
    assert len(appended) < 24  # whole batches again, but only those that lack a prompt
    assert capsys.readouterr().out == whole


def test_model_that_returns_nan(setting, pipeline_folder, tmp_path, refused):
    broken = tmp_path / "broken"
    shutil.copytree(pipeline_folder, broken)
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.weight"] = torch.full_like(weights["conv_in.weight"], 3e38)  # overflows
    save_file(weights, file, {"format": "pt"})
    message = refused(*setting, f"model.path={broken}")
    assert "NaN" in message and "model.dtype=float32" in message


def test_kind_with_a_single_prompt_has_a_table(setting, tmp_path, write_prompts):
    kinds = ["rare", *["ordinary"] * 23]
    write_prompts(tmp_path / "prompts.parquet", kind=kinds)
    assert main(["run", *setting, "detector=[wen]"]) == 0
    assert "| rare" in (tmp_path / "runs/quickstart/more.md").read_text()


def test_targets_are_named_exactly_and_what_cannot_be_resolved_is_said(setting, capsys):
    assert main(["run", *setting, "detector=[wen]", "fpr_targets=[0.005,0.125]"]) == 0
    out = capsys.readouterr().out
    assert "TPR@0.5%FPR" in out and "TPR@12.5%FPR" in out
    assert "TPR@0.5%FPR: not resolvable at n_neg = 12." in out
    assert "not resolvable at n_neg = 12: 1 false positive allowed" in " ".join(out.split())


def test_controls_alone_need_no_component(setting, tmp_path, capsys):
    assert main(["run", *setting, "detector=[text_only,random]"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n| text_only ") == printed.count("\n| random ") == 1
    assert main(["table", str(tmp_path / "runs" / "quickstart")]) == 0
    assert capsys.readouterr().out.strip() == printed[: printed.index("Report:")].strip()


def test_prompts_that_the_model_fails_on(setting, tmp_path, capsys, monkeypatch):
    from anisomem.models.diffusers_unet import DiffusersUNet

    encode = DiffusersUNet.encode

    def failing(self, prompts):
        encoded = encode(self, prompts)
        for row, prompt in zip(encoded.tensors["embeddings"], prompts, strict=True):
            if prompt in ("dog 1", "dog 7"):
                row.fill_(torch.inf)
        return encoded

    monkeypatch.setattr(DiffusersUNet, "encode", failing)
    for _ in range(2):  # the second time without a model, and with the same end
        assert main(["run", *setting]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.count("failed, first 'p3' (") == 1
        assert "3 of 24 prompts" in printed.err and "on_failure=keep" in printed.err
        monkeypatch.setattr("anisomem.models.families.load", None)
    assert main(["run", *setting, "on_failure=keep"]) == 0
    table = capsys.readouterr().out
    assert "- prompts: 3 of 24 prompts left out, the model failed." in table
    card = json.loads((tmp_path / "runs/quickstart/table.json").read_text())["cases"][0]
    assert (card["prompts"]["planned"], card["prompts"]["done"]) == (24, 21)
    assert set(card["prompts"]["failed"]) == {"p3", "p22", "p23"}

    monkeypatch.undo()
    assert main(["run", *setting, "on_failure=retry"]) == 0
    retried = capsys.readouterr().out
    assert "left out" not in retried
    assert main(["run", *setting, f"runs={tmp_path / 'other'}"]) == 0
    fresh = json.loads((tmp_path / "other/quickstart/table.json").read_text())
    card = json.loads((tmp_path / "runs/quickstart/table.json").read_text())
    assert [r["auc"] for r in card["rows"]] == pytest.approx([r["auc"] for r in fresh["rows"]])


def test_list_names_everything(capsys):
    for what, member in (
        ("detectors", "anisotropy"),
        ("models", "testbed_velocity"),
        ("datasets", "prompts_file"),
        ("experiments", "quickstart"),
    ):
        assert main(["list", what]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.split()[0] == member for line in lines)
        assert all(len(line.split()) > 2 for line in lines)  # a name and what it is


def test_model_choice_selects_its_own_prompts():
    from anisomem.config import compose

    composed = compose.cases(["experiment=quickstart", "model=testbed_velocity"])
    assert [c.dataset["name"] for c in composed] == ["testbed_velocity"]
    assert len(compose.cases(["experiment=quickstart"])) == 2


def eventually(true, seconds=60):
    """Waits for what another process does; wandb's writer outlives the run by a moment."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_wandb_offline_gets_the_whole_run_once(setting, tmp_path):
    small = [*setting, "detector=[wen,random]"]
    assert main(["run", *small, "logger=wandb", "logger.mode=offline"]) == 0
    folder = tmp_path / "runs" / "quickstart"
    (logged,) = (folder / "wandb").glob("offline-run-*")
    (file,) = logged.glob("files/media/table/*.json")
    table = json.loads(file.read_text())
    found = pd.DataFrame(table["data"], columns=table["columns"])
    expected = pd.read_csv(folder / "table.csv")
    np.testing.assert_array_equal(found["auc"], expected["auc"])
    pictures = {p.name.split("_")[0] for p in logged.glob("files/media/images/prompts/*.png")}
    assert pictures >= {"roc", "forest", "distributions"}
    (record,) = logged.glob("*.wandb")
    (components,) = folder.glob("*/components/*.parquet")
    metrics_and_settings = ("prompts/wen/n=4/auc", "on_failure", "not_memorized")
    for text in (*metrics_and_settings, components.name):
        eventually(lambda text=text: text.encode() in record.read_bytes())
