"""A finished run is finished, also one that an earlier version has recorded."""

import json

import pytest

from anisomem.benchmark.case import Case
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.storage import digests


@pytest.fixture
def setting(large_run, tmp_path):
    small = ["detector=[anisotropy]", "detector.anisotropy.n=[1]", "workers=1", "draws=100"]
    return [*large_run, *small, "limit=40", "gallery=0", f"runs={tmp_path / 'runs'}"]


def as_version_2(folder):
    """Gives a stored run the identity, and the name, that it had when classes stood by place."""
    file = folder / "components" / "identity.json"
    content = json.loads(file.read_text())
    assert content["version"] == 3 and content["model"].pop("class") == "load"
    content["model"]["_target_"] = "anisomem.models.pretrained.PipelineModel.load"
    content["version"] = 2
    file.write_text(json.dumps(content))
    before = folder.with_name(f"prompts-{digests.digest(content)[:10]}")
    return folder.rename(before)


def test_a_run_of_an_earlier_version_is_carried_over(setting, tmp_path, capsys, monkeypatch):
    assert main(["run", *setting]) == 0
    printed = capsys.readouterr().out
    (case,) = (Case(one, "quickstart") for one in compose.cases(setting))
    before = as_version_2(case.folder)
    assert main(["table", str(before)]) == 0  # it is read where it lies
    assert capsys.readouterr().out in printed

    monkeypatch.setattr("anisomem.benchmark.record.record", None)
    assert main(["run", *setting]) == 0
    assert capsys.readouterr().out == printed
    assert case.folder.exists() and not before.exists()


def test_a_run_of_another_version_is_one_line(setting, capsys):
    assert main(["run", *setting]) == 0
    (case,) = (Case(one, "quickstart") for one in compose.cases(setting))
    file = case.folder / "components" / "identity.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 1}))
    assert main(["table", str(case.folder)]) == 2
    complaint = capsys.readouterr().err
    assert "is of schema version 1, and this is 3; run its command again" in complaint
