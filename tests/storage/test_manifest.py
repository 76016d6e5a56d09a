"""A report removes what an earlier one left, and never what it did not write."""

import json
from hashlib import sha256

import pytest

from anisomem.storage.manifest import Manifest

MINE = b"mine"


def report(folder, **files):
    written = Manifest(folder, "report")
    for name, content in files.items():
        written.text(name.replace("_", "."), content)
    written.close()


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("[!.]*") if p.is_file())


def test_only_what_is_not_written_again_is_removed(tmp_path):
    report(tmp_path, a_md="1", b_md="2", c_md="3")
    (tmp_path / "user.md").write_text("mine")
    report(tmp_path, b_md="2", d_md="4")
    assert names(tmp_path) == ["b.md", "d.md", "user.md"]
    report(tmp_path, b_md="2")
    assert names(tmp_path) == ["b.md", "user.md"]


def test_a_file_that_somebody_changed_stays(tmp_path):
    report(tmp_path, a_md="1", b_md="2")
    (tmp_path / "a.md").write_text("my notes")
    report(tmp_path, b_md="2")
    assert names(tmp_path) == ["a.md", "b.md"]


def test_kinds_of_reports_leave_each_other_alone(tmp_path):
    report(tmp_path, a_md="1")
    other = Manifest(tmp_path, "sweep")
    other.text("more/b.csv", "2")
    other.close()
    assert names(tmp_path) == ["a.md", "more/b.csv"]


def test_a_report_that_fails_removes_nothing(tmp_path):
    report(tmp_path, a_md="1")
    Manifest(tmp_path, "report").text("b.md", "2")  # and no more
    report(tmp_path, b_md="2")
    assert names(tmp_path) == ["b.md"]


@pytest.mark.parametrize(
    "place",
    ["../outside", "components/shard.parquet", ".hidden", "more/deeper/x", "/absolute", "link/x"],
)
def test_a_strangers_manifest_reaches_nothing_else(tmp_path, place):
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    target = tmp_path / "absolute" if place == "/absolute" else folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(MINE)
    named = str(target) if place == "/absolute" else place
    manifest = folder / ".written-by-report.json"
    manifest.write_text(json.dumps({named: sha256(MINE).hexdigest()}))
    report(folder, a_md="1")
    assert target.read_bytes() == MINE


@pytest.mark.parametrize("content", ["", "[]", "{", '"x"', '{"a.md": 5}', "[" * 100_000])
def test_a_damaged_manifest_removes_nothing(tmp_path, content):
    (tmp_path / "a.md").write_text("1")
    (tmp_path / ".written-by-report.json").write_text(content)
    report(tmp_path, b_md="2")
    assert names(tmp_path) == ["a.md", "b.md"]


def test_links_are_no_files_of_ours(tmp_path):
    (tmp_path / "real.txt").write_bytes(MINE)
    (tmp_path / "a.md").symlink_to(tmp_path / "real.txt")
    (tmp_path / ".written-by-report.json").write_text(
        json.dumps({"a.md": sha256(MINE).hexdigest()})
    )
    report(tmp_path, b_md="2")
    assert (tmp_path / "a.md").is_symlink() and (tmp_path / "real.txt").exists()
