"""What shares a store and what does not; the digest is pinned per version."""

import inspect
import os
from dataclasses import fields

import numpy as np
import pytest
from hydra.utils import get_class

from anisomem.config import Schema, cases, names
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.models.pretrained import PipelineModel
from anisomem.storage import identity

SETTINGS = {
    "model": {"path": "hub/name", "revision": "abc", "dtype": "float32", "device": "cpu"},
    "noise_policy": "shared",
    "seeds": [42],
    "draws": 10_000,
    "runs": "runs",
}


def prompts(**changes):
    columns = {
        "name": "set",
        "ids": ["a", "b"],
        "texts": ["cat", "dog"],
        "labels": np.array([1, 0], np.int8),
        "clusters": np.array([0, 1]),
        "blocks": ["x", "y"],
        "kinds": ["k", "k"],
    }
    return PromptSet(**columns | changes)


def digest(settings=SETTINGS, samples=None, chosen=None):
    content = identity.describe(settings, samples or {"norm": 4}, chosen or prompts())
    return identity.digest(content)


def test_digest_is_pinned():
    """A change here orphans every stored run: raise VERSION, and say so, before changing it."""
    assert identity.VERSION == 2
    assert digest() == PINNED


PINNED = "39bcfb58e0f36fc5866a8585e2193d120e223f0b887a193aa2d7f5e4ed333f61"


def test_every_setting_is_classified():
    names = {field.name for field in fields(Schema)}
    assert names == identity.INSIDE | identity.OUTSIDE
    assert not identity.INSIDE & identity.OUTSIDE
    loader = set(inspect.signature(PipelineModel.load).parameters)
    assert loader - identity.OUTSIDE_MODEL == {"path", "revision", "dtype"}


#: Settings of detectors that change how a score is made of components, and no component.
SCORING = {"name", "n", "weights", "seed", "change", "members"}
OTHER = {
    "convention": "paper",
    "mode": "x,x|c",
    "normalisation": "L2",
    "norm_at": "step:1",
    "cos_at": "step:1",
    "cos_latents": "guided",
    "steps": 3,
    "layer": 5,
    "at": "step:2",
    "probes": 3,
    "scheduler_step": True,
    "kernel": 5,
    "betas": (0.5, 0.5),
    "p": 2.0,
    "radius": 0.5,
    "latents": "noise",
    "grid": 3,
    "pairs": "min",
}


@pytest.mark.parametrize("group", names("detector"))
def test_setting_of_a_detector_that_changes_a_component_is_in_its_name(group):
    (node,) = cases([f"detector=[{group}]"])[0].detector.values()
    kind = get_class(node["_target_"])
    for field in fields(kind):
        if field.name not in SCORING:
            usual = kind("a")
            other = kind("a", **{field.name: OTHER[field.name]})
            assert set(usual.component_names) != set(other.component_names), field.name


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": SETTINGS | {"seeds": [43]}},
        {"settings": SETTINGS | {"noise_policy": "per_prompt"}},
        {"settings": SETTINGS | {"model": SETTINGS["model"] | {"dtype": "float16"}}},
        {"settings": SETTINGS | {"model": SETTINGS["model"] | {"revision": "abd"}}},
        {"samples": {"norm": 1}},
        {"samples": {"norm": 4, "cos": 4}},
        {"chosen": prompts(texts=["cat", "dogs"])},
        {"chosen": prompts(ids=["a", "c"])},
    ],
)
def test_what_changes_a_recorded_number_is_inside(changed):
    assert digest(**changed) != digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": SETTINGS | {"draws": 1, "runs": "elsewhere", "workers": 3}},
        {"settings": SETTINGS | {"model": SETTINGS["model"] | {"device": "cuda"}}},
        {"chosen": prompts(labels=np.array([0, 1], np.int8), blocks=["z", "z"])},
    ],
)
def test_what_does_not_is_outside(changed):
    assert digest(**changed) == digest()


def test_local_folder_counts_by_content_not_by_place(tmp_path):
    def at(folder, weights):
        folder.mkdir()
        (folder / "unet.safetensors").write_bytes(weights)
        (folder / "README.md").write_text(str(folder))
        return digest(SETTINGS | {"model": {"path": str(folder)}})

    one = at(tmp_path / "one", b"weights")
    assert at(tmp_path / "two", b"weights") == one
    assert at(tmp_path / "three", b"weightz") != one


def test_what_is_no_file_among_the_weights_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "unet.safetensors").write_bytes(b"weights")
    expected = identity.fingerprint(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.txt").symlink_to("/nowhere")
    (tmp_path / "folder.txt").mkdir()
    assert identity.fingerprint(tmp_path) == expected
    monkeypatch.setattr(identity, "MOST_FILES", 3)
    with pytest.raises(UserError, match="holds more than 3 files, which no model does"):
        identity.fingerprint(tmp_path)


def test_sources_are_inside():
    content = identity.describe(SETTINGS, {"norm": 4}, prompts(), (), {"mine.Mine": "abc"})
    other = identity.describe(SETTINGS, {"norm": 4}, prompts(), (), {"mine.Mine": "abd"})
    assert identity.differences(content, other) == ["sources.mine.Mine"]
    assert identity.describe(SETTINGS, {"norm": 4}, prompts(), (), {}).keys() == {
        *("version", "model", "noise_policy", "seeds", "components", "prompts")
    }


def test_differences_are_named():
    a = {"seeds": [1], "model": {"dtype": "float32", "path": "x"}, "version": 1}
    b = {"seeds": [2], "model": {"dtype": "float16", "path": "x"}}
    assert identity.differences(a, b) == ["model.dtype", "seeds", "version"]
    assert identity.differences(a, a) == []
