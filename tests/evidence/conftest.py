"""A tiny run of two cases and a tiny scan, finished and packed once."""

import io
import json
from hashlib import sha256
from types import SimpleNamespace
from zipfile import ZIP_STORED, ZipFile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from anisomem.cli.main import main
from anisomem.evidence import archive
from tests.cli.conftest import overrides
from tests.scan.conftest import arguments

BOTH = ["run", "scan"]  # packets that are not redacted
DETECTORS = [
    "detector=[wen,anisotropy_fitted,text_only,random]",
    "detector.wen.n=[1]",
    "detector.anisotropy_fitted.n=[1]",
]


@pytest.fixture(scope="session")
def experiment(save_pipeline, tmp_path_factory):
    """The folder of an experiment of two finished cases; do not change it."""
    folder = tmp_path_factory.mktemp("evidence")
    words = [*overrides(save_pipeline(), folder), *DETECTORS, "draws=100"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anisomem.report.figures.figures_of", lambda *_: {})
        assert main(["run", *words, "seeds=[7]"]) == 0
        assert main(["run", *words, "seeds=[42,51]", "gallery=1"]) == 0
    return folder / "runs" / "quickstart"


@pytest.fixture(scope="session")
def run(experiment):
    """The folder of its case of two noise seeds and a gallery; do not change it."""
    (gallery,) = experiment.glob("*/gallery.npz")
    return gallery.parent


@pytest.fixture(scope="session")
def scan(save_pipeline, tmp_path_factory):
    """The folder of a finished scan with a second stage and pictures; do not change it."""
    folder = tmp_path_factory.mktemp("evidence")
    more = ("detector=[wen,noise_alignment,tiled_l2]", "scan.audit=12", "scan.share=0.3")
    words = arguments(save_pipeline(), folder, *more, "gallery=1", "fdr=0.99")
    assert main(words) == 0
    (made,) = (folder / "runs" / "scan").iterdir()
    return made


@pytest.fixture(scope="session")
def packets(experiment, run, scan, tmp_path_factory):
    """Packets of a case and a scan, whole and redacted, and of both cases; do not change them."""
    folder = tmp_path_factory.mktemp("packets")
    made = {}
    for name, source in (("run", run), ("scan", scan)):
        for suffix, more in (("", []), ("_redacted", ["--redact"])):
            out = folder / f"{name}{suffix}.zip"
            assert main(["pack", str(source), "--out", str(out), *more]) == 0
            made[name + suffix] = out
    made["cases"] = folder / "cases.zip"
    assert main(["pack", str(experiment), "--out", str(made["cases"])]) == 0
    return SimpleNamespace(**made)


def contents(packet):
    """The files of a packet, by name."""
    with ZipFile(packet) as content:
        return {name: content.read(name) for name in content.namelist()}


def listed(files):
    """The files with a manifest that lists them as they are, its other words unchanged."""
    said = json.loads(files[archive.MANIFEST])
    said["files"] = {
        name: {"sha256": sha256(content).hexdigest(), "size": len(content)}
        for name, content in sorted(files.items())
        if name != archive.MANIFEST
    }
    return files | {archive.MANIFEST: (json.dumps(said, indent=1) + "\n").encode()}


def written(files, out):
    """A packet of these files, as pack writes one; whatever the manifest says."""
    names = [archive.MANIFEST, *sorted(set(files) - {archive.MANIFEST})]
    with ZipFile(out, "w", ZIP_STORED) as packet:
        for name in names:
            if name in files:
                packet.writestr(archive._entry(name), files[name])
    return out


def find(files, end):
    """The name of the first file that ends so."""
    return min(name for name in files if name.endswith(end))


@pytest.fixture
def refused(capsys):
    """The one line by which a packet is refused."""

    def refuse(packet):
        capsys.readouterr()
        assert main(["verify", "-q", str(packet)]) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1, shown.err
        assert "Traceback" not in shown.err
        return shown.err

    return refuse


def table_of(content):
    return pq.read_table(pa.BufferReader(content))


def parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def edit(end, change):
    """A forgery that changes the first file that ends so."""

    def forge(files):
        name = find(files, end)
        changed = change(files[name])
        assert changed != files[name]
        return files | {name: changed}

    return forge


def settings(change):
    def of(content):
        plain = yaml.safe_load(content)
        change(plain)
        return yaml.safe_dump(plain, sort_keys=False).encode()

    return edit("config.yaml", of)
