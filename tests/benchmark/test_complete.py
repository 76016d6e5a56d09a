"""A finished run is finished, also one that an earlier version has recorded."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.benchmark.case import Case, with_distinct_names
from anisomem.benchmark.results import Results
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.errors import UserError
from anisomem.report import tables
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


def test_a_detector_of_recorded_components_has_its_cost(setting, monkeypatch):
    beside = [word for word in setting if not word.startswith("detector")]
    for chosen in ("anisotropy", "anisotropy,anisotropy_norm", "anisotropy"):
        ns = [f"detector.{name}.n=[1]" for name in chosen.split(",")]
        words = [*beside, f"detector=[{chosen}]", *ns]
        assert main(["run", *words]) == 0
        monkeypatch.setattr("anisomem.benchmark.record.record", None)
        (case,) = (Case(one, "quickstart") for one in compose.cases(words))
        results = Results(case)
        nfe = {row.detector: row.cost.nfe for row in results.table}
        assert nfe == {name: 1 + (name == "anisotropy") for name in chosen.split(",")}
        assert len(tables.costs_table([results]).rows) == len(nfe)


def test_cases_are_named_by_what_tells_their_folders_apart(tmp_path):
    folders = ("a/exp/set-1", "b/exp/set-1", "b/exp/set-2", "c/other/set-1", "d/exp/one-1")
    config = SimpleNamespace(text="settings")
    cases = [
        SimpleNamespace(
            name=path.split("/")[-1].partition("-")[0], folder=tmp_path / path, config=config
        )
        for path in folders
    ]
    place = tmp_path / "b" / "exp" / ".." / "exp" / "set-2"
    again = SimpleNamespace(name="set", folder=place, config=config)
    found = with_distinct_names([*cases, again])
    names = [one.name for one in found]
    assert names == ["a-exp-set-1", "b-exp-set-1", "set-2", "other-set-1", "one"]
    again.config = SimpleNamespace(text="others")
    with pytest.raises(UserError, match="is there twice, with other settings that nothing"):
        with_distinct_names([*cases, again])


def test_ids_of_ordinary_prompts_are_not_taken(setting, tmp_path, capsys):
    columns = {"id": ["reference:0", "b"], "prompt": ["a", "b"], "label": [1, 0]}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    assert main(["run", *setting, f"dataset.path={tmp_path / 'p.parquet'}"]) == 2
    assert "the prompt id 'reference:0' is called as ordinary prompts" in capsys.readouterr().err


def test_a_run_of_another_version_is_one_line(setting, capsys):
    assert main(["run", *setting]) == 0
    (case,) = (Case(one, "quickstart") for one in compose.cases(setting))
    file = case.folder / "components" / "identity.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 1}))
    assert main(["table", str(case.folder)]) == 2
    complaint = capsys.readouterr().err
    assert "is of schema version 1, and this is 3; run its command again" in complaint
