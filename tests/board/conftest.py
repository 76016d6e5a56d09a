"""A folder of results as a repository has it, and a board made by hand."""

import json
import shutil

import pytest

from anisomem.cli.main import main
from anisomem.evidence import archive
from tests.evidence.conftest import contents, find, listed, written


def row(detector, n=1, auc=0.9, nfe=1.0, **more):
    """A line of a ``table.json``."""
    ends = {"": auc, "_low": auc - 0.05, "_high": min(1, auc + 0.05)}
    rate = {"": 0.5, "_low": 0.3, "_high": 0.7}
    line = {"prompts": "case", "model": "small", "detector": detector, "n": n}
    line |= {f"auc{end}": value for end, value in ends.items()}
    line |= {f"tpr_at_fpr_0.01{end}": value for end, value in rate.items()}
    if nfe is not None:
        line |= {"nfe_per_prompt": nfe, "jvps_per_prompt": 0, "seconds_per_10_prompts": nfe / 10}
    return line | more


def content(rows, published=None, model="small", prompts="captions"):
    """What a ``table.json`` says of one case."""
    case = {
        "schema": 1,
        "name": "case",
        "identity": "0" * 64,
        "model": {"name": model, "revision": "abc"},
        "settings": {"seeds": [42]},
        "published": published or {},
        "prompts": {"name": prompts, "memorized": 10, "not_memorized": 20},
    }
    return {"cases": [case], "rows": [{**one, "model": model} for one in rows]}


def put(folder, said):
    """Writes a ``table.json``."""
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps(said))


@pytest.fixture(scope="session")
def recorded(gallery_run, tmp_path_factory):
    """The tiny model in the place of SD v1.4, on prompts of which numbers are published."""
    runs = tmp_path_factory.mktemp("board")
    overrides = [o for o in gallery_run[0] if not o.startswith(("runs=", "gallery="))]
    named = [*overrides, "gallery=0", "dataset.name=sd14_webster500", f"runs={runs}"]
    assert main(["run", *named]) == 0
    return runs / "quickstart"


@pytest.fixture(scope="session")
def packet(recorded, tmp_path_factory):
    """The same as a packet."""
    out = tmp_path_factory.mktemp("packet") / "packet.zip"
    assert main(["pack", str(recorded), "--out", str(out)]) == 0
    return out


@pytest.fixture
def results(recorded, packet, tmp_path):
    """A run's own files, a packet of somebody's, and folders without a card."""
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copytree(recorded, folder / "ours")
    (folder / "cards" / "theirs").mkdir(parents=True)
    shutil.copy(packet, folder / "cards" / "theirs" / "packet.zip")
    for name in ("n", "mode"):
        (folder / "sweeps" / name).mkdir(parents=True)
        (folder / "sweeps" / name / "table.md").write_text("| a |\n")
    return folder


@pytest.fixture
def forge(packet):
    """``forge(out)`` writes the packet with one digit changed."""

    def changed(out):
        files = contents(packet)
        name = find(files, "table.csv")
        lines = files[name].decode().splitlines(keepends=True)
        cells = lines[1].split(",")
        cells[4] = "0.123456"
        lines[1] = ",".join(cells)
        out.parent.mkdir(parents=True)
        return written(listed({**files, name: "".join(lines).encode()}), out)

    assert archive.MANIFEST in contents(packet)
    return changed
