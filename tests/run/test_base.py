"""What every process of a run must find alike."""

import pytest

from anisomem.config import catalog, compose
from anisomem.config.schema import BaselineSettings, Config
from anisomem.run import ordinary
from anisomem.run.base import state_of_model
from anisomem.storage import digests

IMPORTED = {"_target_": "anisomem.benchmark.released.no_model", "scores": "abc"}


@pytest.mark.parametrize("place", [{}, {"path": None}, {"path": ""}, {"path": "OWNER/NAME"}])
def test_a_model_without_a_local_place_has_no_files(tmp_path, monkeypatch, place):
    """The current folder is not looked at, though it may hold anything and any number of files."""
    for name in ("a.json", "b.json", "None"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(digests, "MOST_FILES", 2)
    assert state_of_model(Config(model=IMPORTED | place)) == {}


def test_files_of_a_local_model_are_its_state(tmp_path):
    config = Config(model=IMPORTED | {"path": str(tmp_path)})
    before = state_of_model(config)
    (tmp_path / "model_index.json").write_text("{}")
    assert before.keys() == state_of_model(config).keys() == {"files"}
    assert before != state_of_model(config)


def test_files_of_adapters_are_its_state(tmp_path):
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"one")
    config = Config(
        model=IMPORTED | {"adapters": [f"{file}:0.8"]},
        baseline_model=BaselineSettings(adapters=[str(file)]),
    )
    before = state_of_model(config, by_content=True)
    assert before.keys() == {"adapter 0", "baseline adapter 0"}
    file.write_bytes(b"two")
    now = state_of_model(config, by_content=True)
    assert all(before[name] != now[name] for name in before)


@pytest.mark.parametrize("model", [None, "", "OWNER/NAME"])
def test_ordinary_prompts_of_a_bundled_model_are_of_no_model_without_a_place(model, monkeypatch):
    (bundled,) = compose.cases(["model=testbed_epsilon"])
    monkeypatch.chdir(bundled.model["path"])  # whose parent holds the bundled models
    assert ordinary.default(bundled.model["path"]).endswith("references_small.txt")
    assert ordinary.default(model) == ordinary.HUB
    assert ordinary.default(catalog.testbed("tuned")) == ordinary.HUB  # beside them, and no model
