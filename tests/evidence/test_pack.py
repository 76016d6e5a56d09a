"""What a packet holds, that it is the same each time, and what is not packed."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.cli.main import main
from anisomem.cli.runs import finished
from anisomem.evidence import redaction
from anisomem.report import report, scores
from tests.cli.conftest import overrides
from tests.cli.test_own import MINE
from tests.evidence.conftest import contents, find, listed, written
from tests.scan.conftest import ORDINARY, PROMPTS


@pytest.fixture
def pack_refused(capsys, tmp_path):
    """The one line by which something is not packed; nothing is written."""

    def refuse(source, *more):
        out = tmp_path / "refused.zip"
        capsys.readouterr()
        assert main(["pack", "-q", str(source), "--out", str(out), *more]) == 2
        assert list(tmp_path.glob("refused*")) == []
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1
        return shown.err

    return refuse


def sheet(files, end):
    return list(csv.DictReader(io.StringIO(files[find(files, end)].decode())))


def test_a_packet_of_an_experiment_has_its_tables(experiment, packets):
    every = finished([experiment])
    table, *_ = report.headline(every, [row for one in every for row in one.table])
    files = contents(packets.cases)
    assert files["table.md"].decode() == table.markdown()
    titles = [line for line in files["more.md"].decode().splitlines() if line.startswith("## ")]
    assert titles[0] == "## Side by side" and len(titles) == 8
    whole = scores.frame(every)
    rows = sheet(files, "scores.csv")
    assert len(rows) == len(whole) == 48
    for row, (_, unrounded) in zip(rows, whole.iterrows(), strict=True):
        assert row["id"] == unrounded["id"] and row["prompt"] == unrounded["prompt"]
        assert row["wen, n=1"] == str(float(f"{unrounded['wen, n=1']:.6g}"))


def test_a_packet_of_a_scan_has_every_row_and_its_calibration(scan, packets):
    files = contents(packets.scan)
    rows = sheet(files, "scan.csv")
    assert [row["prompt"] for row in rows] == [text for text in PROMPTS if text]
    written = pq.read_table(scan / "scan.parquet").to_pylist()
    for row, whole in zip(rows, written, strict=True):
        assert float(row["p"]) == float(f"{whole['p']:.6g}")
        assert row["flagged"] == str(whole["flagged"])
    assert [row["prompt"] for row in sheet(files, "calibration.csv")] == ORDINARY
    assert files[find(files, "scan.md")] == (scan / "scan.md").read_bytes()
    assert files[find(files, "unread.txt")] == (scan / "unread.txt").read_bytes()


@pytest.mark.parametrize("name", ["run", "scan"])
def test_a_manifest_names_identity_weights_packages_and_every_file(name, packets, request):
    files = contents(getattr(packets, name))
    said = json.loads(files.pop("manifest.json"))
    assert set(said["files"]) == set(files)
    for file, content in files.items():
        one = {"sha256": sha256(content).hexdigest(), "size": len(content)}
        assert said["files"][file] == one
    source = request.getfixturevalue(name)
    for one in said["runs"]:
        identity = json.loads((source / "components" / "identity.json").read_text())
        assert one["folder"] == source.name and source.name.endswith(one["identity"][:10])
        assert one["model_identity"] == identity["model"] and len(identity["model"]["path"]) == 64
        assert one["prompts_sha256"] == identity["prompts"]
        assert {"torch", "diffusers", "numpy"} <= set(one["packages"])
        assert one["rows"] == {"run": 24, "scan": 5}[name]


def test_scores_of_a_detector_of_ones_own_are_stated_and_the_rest_is_computed(
    save_pipeline, tmp_path, monkeypatch, capsys, refused
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE.format(factor=1, more=""))
    words = [*overrides(save_pipeline(), tmp_path), "detector=[wen]", "detector.wen.n=[1]"]
    words += ["+detector.mine._target_=mine.Mine", "draws=100"]
    monkeypatch.setattr("anisomem.report.figures.figures_of", lambda *_: {})
    assert main(["run", *words]) == 0
    source, out = tmp_path / "runs" / "quickstart", tmp_path / "own.zip"
    pack = ["pack", str(source), "--out", str(out)]
    assert main(pack) == 2 and "--allow mine.Mine" in capsys.readouterr().err
    assert main([*pack, "--allow", "mine.Mine"]) == 0
    sys.modules.pop("mine")
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')\n")
    capsys.readouterr()
    assert main(["verify", str(out)]) == 0
    told = capsys.readouterr().out
    assert "the scores of mine, n=1, as they are of code" in told
    assert "the code of mine.Mine" in told and "mine" not in sys.modules
    files = contents(out)
    assert "| mine " in files["table.md"].decode()
    name = find(files, "stated.json")
    said = json.loads(files[name])
    said["detectors"][0]["scores"]["42"][0] = 99.5
    forged = listed(files | {name: json.dumps(said).encode()})
    assert "and its rows make" in refused(written(forged, tmp_path / "forged.zip"))


@pytest.mark.parametrize("name", ["run", "scan"])
def test_the_same_run_makes_the_same_packet(name, packets, request, tmp_path):
    source, again = request.getfixturevalue(name), tmp_path / "again.zip"
    moved = tmp_path / "elsewhere" / source.name
    shutil.copytree(source, moved)
    assert main(["pack", str(moved), "--out", str(again)]) == 0
    assert again.read_bytes() == getattr(packets, name).read_bytes()


@pytest.mark.parametrize("name", ["run", "scan"])
def test_a_redacted_packet_shows_no_prompt_and_no_picture(name, packets, request):
    source = request.getfixturevalue(name)
    if name == "run":
        shown = pq.read_table(source / "prompts.parquet").to_pydict()
        hidden = {*shown["texts"]}
    else:
        hidden = {*ORDINARY, *(text for text in PROMPTS if text), "mine-1", "mine.txt, line 3"}
    whole, redacted = (
        contents(getattr(packets, f"{name}{suffix}")) for suffix in ("", "_redacted")
    )
    everything = b"\n".join([*(name.encode() for name in redacted), *redacted.values()])
    for text in hidden:  # "mine-1" is no part of a folder's name, mine-138df10327
        assert not re.search(re.escape(text.encode()) + rb"(?![0-9a-f])", everything), text
    for file, content in redacted.items():
        if file.endswith(".parquet"):
            table = pq.read_table(pa.BufferReader(content)).to_pydict()
            for key in {*table} & {"ids", "id", "texts", "prompt"}:
                assert all(re.fullmatch("[0-9a-f]{64}", cell) for cell in table[key])
    assert not any(file.endswith((".npz", ".png", ".html")) for file in redacted)
    assert any(file.endswith(".npz") for file in whole)
    # Digests of prompts without a salt would tell them to whoever has a list.
    for digest in json.loads(whole["manifest.json"])["runs"]:
        assert digest["prompts_sha256"].encode() not in everything
        assert digest["identity"][:10].encode() not in everything


def test_the_salt_stays_outside_and_looks_a_prompt_up(packets):
    salt = packets.scan_redacted.with_name("scan_redacted.zip.salt")
    assert salt.stat().st_mode & 0o777 == 0o600
    secret = salt.read_text().strip()
    files = contents(packets.scan_redacted)
    assert secret.encode() not in packets.scan_redacted.read_bytes()
    rows = sheet(files, "scan.csv")
    assert rows[1]["prompt"] == redaction.hidden(PROMPTS[1], secret)
    shown = sheet(contents(packets.scan), "scan.csv")
    numbers = [name for name in shown[0] if name not in ("id", "prompt")]
    assert [[r[n] for n in numbers] for r in rows] == [[r[n] for n in numbers] for r in shown]


def test_a_redacted_run_has_the_numbers_of_the_whole_one(packets):
    shown, hidden = (sheet(contents(p), "scores.csv") for p in (packets.run, packets.run_redacted))
    keys = [name for name in shown[0] if ", n=" in name or name.startswith(("text", "prompt_l"))]
    assert len(keys) == 6
    assert sorted([r[k] for k in keys] for r in shown) == sorted(
        [r[k] for k in keys] for r in hidden
    )
    tables = [contents(p)["table.csv"].decode() for p in (packets.run, packets.run_redacted)]
    values = [[line.split(",", 2)[2] for line in table.splitlines()[1:]] for table in tables]
    assert sorted(values[0]) == sorted(values[1])


def test_nothing_is_overwritten(run, packets, capsys, tmp_path):
    before = packets.run.read_bytes()
    assert main(["pack", str(run), "--out", str(packets.run)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert packets.run.read_bytes() == before
    (tmp_path / "new.zip.salt").write_text("somebody's\n")
    assert main(["pack", str(run), "--out", str(tmp_path / "new.zip"), "--redact"]) == 2
    assert "new.zip.salt is there already" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["new.zip.salt"]


def test_only_what_is_finished_is_packed(experiment, scan, tmp_path, pack_refused):
    assert "no run at" in pack_refused(tmp_path / "nowhere")
    partly = tmp_path / "partly"
    shutil.copytree(experiment, partly)
    case, _ = sorted(one.parent for one in partly.glob("*/config.yaml"))
    (shard,) = (case / "components").glob("*.parquet")
    shard.unlink()
    assert "run the same command again to continue" in pack_refused(partly)  # the other is whole
    (case / "config.yaml").write_text("{")
    assert "damaged" in pack_refused(partly)

    for file, said in (
        ("scan.parquet", "not finished"),
        ("calibration.parquet", "not finished"),
        ("components", "no components"),
    ):
        broken = tmp_path / f"scan-without-{file}" / scan.name
        shutil.copytree(scan, broken)
        place = broken / file
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        assert said in pack_refused(broken)
    changed = tmp_path / "changed" / scan.name
    shutil.copytree(scan, changed)
    rows = pq.read_table(changed / "scan.parquet")
    pq.write_table(
        rows.set_column(rows.column_names.index("p"), "p", rows["q"]), changed / "scan.parquet"
    )
    assert "is of other settings" in pack_refused(changed)
    own = tmp_path / "own" / scan.name
    shutil.copytree(scan, own)
    settings = (own / "config.yaml").read_text()
    (own / "config.yaml").write_text(settings.replace("carlini.TiledL2", "carlini.Tiled"))
    assert "baselines.carlini.Tiled' as detector" in pack_refused(own)
    (own / "config.yaml").write_text(settings.replace("anisomem.baselines.carlini.", "mine."))
    assert "has a detector of one's own, 'tiled_l2'" in pack_refused(
        own, "--allow", "mine.TiledL2"
    )
    both = tmp_path / "both"
    shutil.copytree(scan, both / scan.name)
    shutil.copytree(min(experiment.glob("*/config.yaml")).parent, both / "made-0")
    assert "pack them one by one" in pack_refused(both)


def test_verifying_imports_no_model_library(packets):
    script = (
        "import sys; from anisomem.cli.main import main;"
        f"assert main(['verify', {str(packets.run)!r}]) == 0;"
        f"assert main(['verify', {str(packets.scan_redacted)!r}]) == 0;"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_ordinary_prompts_that_a_detector_is_relative_to_are_hidden_too(
    save_pipeline, tmp_path, monkeypatch, capsys
):
    ordinary = [f"cat dog {i}" for i in range(9)]
    (tmp_path / "ordinary.txt").write_text("".join(f"{text}\n" for text in ordinary))
    words = [
        *overrides(save_pipeline(), tmp_path),
        "detector=[broken_memories]",
        "detector.broken_memories.n=[1]",
    ]
    words += [f"references.prompts={tmp_path / 'ordinary.txt'}", "references.count=8", "draws=100"]
    words += ["tensors=[p10]", "limit=8"]
    monkeypatch.setattr("anisomem.report.figures.figures_of", lambda *_: {})
    assert main(["run", *words]) == 0
    for out, more in ((tmp_path / "whole.zip", []), (tmp_path / "hidden.zip", ["--redact"])):
        source = str(tmp_path / "runs" / "quickstart")
        assert main(["pack", source, "--out", str(out), *more]) == 0
        assert main(["verify", str(out)]) == 0
    whole, hidden = (
        b"\n".join(contents(tmp_path / f).values()) for f in ("whole.zip", "hidden.zip")
    )
    assert b"cat dog" in whole and b"cat dog" not in hidden
    for out, kept in (("whole.zip", True), ("hidden.zip", False)):
        files = contents(tmp_path / out)
        settings = files[find(files, "config.yaml")]
        assert b"tensors: []" in settings and b"p10" not in settings
        assert (b"p10," in files["scores.csv"]) == kept
