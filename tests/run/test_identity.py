"""What shares a store and what does not; the digest is pinned per version."""

import json
import os
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anisomem.baselines.noise_alignment import NoiseAlignment
from anisomem.baselines.wen import WenNorm
from hydra.utils import get_class
from safetensors.torch import save_file

from anisomem.config.catalog import names
from anisomem.config.members import node
from anisomem.config.schema import BaselineSettings, Schema
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.models.loading import Source
from anisomem.run import identity
from anisomem.storage import digests

KNOWN = "CompVis/stable-diffusion-v1-4"  # the package knows its scheduler
SETTINGS = {
    "model": {
        "_target_": "anisomem.models.x.Model.load",
        "path": KNOWN,
        "revision": "abc",
        "dtype": "float32",
        "device": "cpu",
    },
    "baseline_model": BaselineSettings(),
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


def described(settings=SETTINGS, samples=None, chosen=None, *more):
    place = SimpleNamespace(**settings)
    return identity.describe(place, samples or {"norm": 4}, chosen or prompts(), *more)


def digest(*args, **given):
    return digests.digest(described(*args, **given))


def test_digest_is_pinned():
    """A change here orphans every stored run: raise VERSION, and say so, before changing it."""
    assert identity.VERSION == 3
    assert digest() == PINNED


PINNED = "39c8631647722f81234c57271c15516ac8821ae9b8a1507623686feb09a81aef"


def test_every_setting_is_classified():
    names = {field.name for field in fields(Schema)}
    assert names == identity.INSIDE | identity.OUTSIDE
    assert not identity.INSIDE & identity.OUTSIDE
    loader = {field.name for field in fields(Source)}
    assert loader - identity.OUTSIDE_MODEL == {
        "path",
        "revision",
        "dtype",
        "variant",
        "adapters",
        "expected_sha256",
    }


#: Settings of detectors that change how a score is made of components, and no component.
SCORING = {"name", "n", "weights", "seed", "change", "members", "reads"}
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
    "quantity": "projection",
    "step": 2,
    "cycles": 2,
    "gamma": 0.5,
    "similarity": "l2",
    "sha256": "1" * 64,
}
#: Where a detector's own setting of a name takes other values, or matters beside others alone.
OWN = {
    "cyclic": {"pairs": 3},
    "relative_noise_alignment": {"of": NoiseAlignment("o", at="step:2")},
    "relative_wen": {"of": WenNorm("o", steps=3)},
    "representation": {"layer": "mean"},
    "seed_agreement": {"convention": "jeon"},
    "seed_agreement_l2": {"convention": "jeon"},
}
DESCRIPTORS = {"similarity": "sscd", "sha256": "0" * 64}
BESIDE = {
    "seed_agreement": DESCRIPTORS,
    "seed_agreement_l2": DESCRIPTORS,
    "relative_noise_alignment": {"of": NoiseAlignment("o")},
    "relative_wen": {"of": WenNorm("o")},
}


@pytest.mark.parametrize("group", names("detector"))
def test_setting_of_a_detector_that_changes_a_component_is_in_its_name(group):
    kind = get_class(node("detector", group)["_target_"])
    for field in fields(kind):
        if field.name not in SCORING:
            changed = (OTHER | OWN.get(group, {}))[field.name]
            usual = kind("a", **BESIDE.get(group, {}))
            other = kind("a", **BESIDE.get(group, {}) | {field.name: changed})
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
        (folder / "model_index.json").write_text("{}")
        (folder / "unet.safetensors").write_bytes(weights)
        (folder / "README.md").write_text(str(folder))
        return digest(SETTINGS | {"model": {"path": str(folder)}})

    one = at(tmp_path / "one", b"weights")
    assert at(tmp_path / "two", b"weights") == one
    assert at(tmp_path / "three", b"weightz") != one


def test_a_checkpoint_in_one_file_counts_by_content(tmp_path):
    def at(name, content):
        (tmp_path / name).write_bytes(content)
        return digest(SETTINGS | {"model": {"path": str(tmp_path / name)}})

    assert at("a.safetensors", b"x") == at("b.safetensors", b"x") != at("c.safetensors", b"y")


def test_what_chooses_the_configuration_of_one_file_counts(tmp_path):
    def of(place, said):
        return digest(SETTINGS | {"model": {"path": str(place), "parameterisation": said}})

    (tmp_path / "a.safetensors").write_bytes(b"x")
    assert of(tmp_path / "a.safetensors", "epsilon") != of(tmp_path / "a.safetensors", None)
    assert of("owner/name", "epsilon") == of("owner/name", None)


@pytest.mark.parametrize(("name", "value"), [("variant", "fp16"), ("expected_sha256", "0" * 64)])
def test_a_setting_that_came_later_counts_where_it_is_set(name, value):
    def of(given):
        return digest(SETTINGS | {"model": SETTINGS["model"] | {name: given}})

    assert of(None) == digest() != of(value)


def test_a_second_model_counts_where_it_is_given_by_content_not_by_place(tmp_path):
    def of(folder, weights, **more):
        folder.mkdir()
        (folder / "model_index.json").write_text("{}")
        (folder / "unet.safetensors").write_bytes(weights)
        baseline = BaselineSettings(path=str(folder), **more)
        return digest(SETTINGS | {"baseline_model": baseline})

    one = of(tmp_path / "one", b"weights")
    assert one != digest() and of(tmp_path / "two", b"weights") == one
    others = [of(tmp_path / "three", b"weightz"), of(tmp_path / "four", b"weights", variant="a")]
    assert len({one, *others}) == 3


def test_a_model_that_is_compared_with_itself_is_known_by_content(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text("{}")
    model = {"path": str(tmp_path / "one"), "revision": None}

    def itself(path):
        given = {"model": model, "baseline_model": BaselineSettings(path=path)}
        return identity.compares_with_itself(described(SETTINGS | given))

    assert itself(str(tmp_path / "two")) and not itself(KNOWN) and not itself(None)


UNCLIPPED = {"clip_sample": False, "steps_offset": 1, "set_alpha_to_one": False}


@pytest.mark.parametrize(
    ("said", "anew"),
    [
        (UNCLIPPED, False),
        (UNCLIPPED | {"timestep_spacing": "leading"}, False),
        ({"shift": 3.0}, False),
        ({}, True),
        (UNCLIPPED | {"clip_sample": True}, True),
        (UNCLIPPED | {"thresholding": True}, True),
        (UNCLIPPED | {"timestep_spacing": "trailing"}, True),
        (UNCLIPPED | {"_use_default_values": ["clip_sample"]}, True),
    ],
)
def test_only_runs_whose_trajectories_moved_are_recorded_anew(tmp_path, said, anew):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(said))
    content = described(SETTINGS | {"model": {"path": str(tmp_path)}})
    before = {"path": digests.fingerprint(tmp_path)}
    now = {"trajectories": "as the scheduler says"}
    assert content["model"] == (before | now if anew else before)


def test_a_scheduler_that_nobody_knows_is_recorded_anew():
    def of(path):
        return described(SETTINGS | {"model": {"path": path}})

    assert "trajectories" in of("hub/name")["model"]
    assert "trajectories" not in of(KNOWN)["model"]


@pytest.mark.parametrize("name", ["pipe.json", "link.txt"])
def test_what_is_no_file_among_the_weights_is_refused_and_not_waited_for(tmp_path, name):
    (tmp_path / "unet.safetensors").write_bytes(b"weights")
    expected = digests.fingerprint(tmp_path)
    (tmp_path / "folder.txt").mkdir()
    assert digests.fingerprint(tmp_path) == expected
    if name == "pipe.json":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/nowhere")
    with pytest.raises(UserError, match=name):
        digests.fingerprint(tmp_path)


def test_a_folder_of_too_many_files_is_no_model(tmp_path, monkeypatch):
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
    monkeypatch.setattr(digests, "MOST_FILES", 3)
    with pytest.raises(UserError, match="holds more than 3 files, which no model does"):
        digests.fingerprint(tmp_path)


def test_a_class_that_moves_orphans_nobody():
    def of(target):
        return described(SETTINGS | {"model": SETTINGS["model"] | {"_target_": target}})

    here = of("anisomem.models.diffusers_unet.DiffusersUNet.load")
    assert here["model"]["class"] == "DiffusersUNet" and "_target_" not in here["model"]
    assert of("anisomem.elsewhere.DiffusersUNet.load") == here
    assert of("anisomem.benchmark.released.no_model")["model"]["class"] == "no_model"
    assert of("mine.Model.load")["model"]["class"] == "mine.Model.load"


def test_a_description_of_version_2_is_carried_over():
    model = {"path": "abc", "revision": None, "dtype": "float32"}
    target = "anisomem.models.diffusers_unet.DiffusersUNet.load"
    before = {"version": 2, "model": {"_target_": target, **model}, "seeds": [1]}
    now = {"version": 3, "model": {"class": "DiffusersUNet", **model}, "seeds": [1]}
    assert identity.carried_over(before) == now == identity.carried_over(now)
    assert identity.carried_over({"version": 1}) == {"version": 1}
    moved = before | {"model": {"_target_": "anisomem.models.pretrained.PipelineModel.load"}}
    assert identity.carried_over(moved)["model"] == {"class": "load"}
    assert before["version"] == 2


def test_sources_are_inside():
    content, other = (
        described(SETTINGS, None, None, (), {"mine.Mine": digest}) for digest in ("abc", "abd")
    )
    assert digests.differences(content, other) == ["sources.mine.Mine"]
    assert described().keys() == {
        *("version", "model", "noise_policy", "seeds", "components", "prompts")
    }


def test_differences_are_named():
    a = {"seeds": [1], "model": {"dtype": "float32", "path": "x"}, "version": 1}
    b = {"seeds": [2], "model": {"dtype": "float16", "path": "x"}}
    assert digests.differences(a, b) == ["model.dtype", "seeds", "version"]
    assert digests.differences(a, a) == []


def lora(file, fill=1.0):
    pair = {"unet.a.lora_A.weight": torch.ones(2, 8), "unet.a.lora_B.weight": torch.ones(8, 2)}
    save_file({name: weight * fill for name, weight in pair.items()}, file)
    return str(file)


def test_adapters_count_by_content_weight_and_order_and_not_by_place(tmp_path):
    one, other = lora(tmp_path / "a.safetensors"), lora(tmp_path / "b.safetensors", 2.0)
    copy = lora(tmp_path / "copy.safetensors")

    def of(*adapters):
        return digest(SETTINGS | {"model": SETTINGS["model"] | {"adapters": list(adapters)}})

    assert of() == digest()
    assert of(one) == of(copy) == of(f"{one}:1") == of(f"{copy}:1.0")
    different = [(), (one,), (other,), (f"{one}:0.8",), (one, other), (other, one)]
    assert len({of(*given) for given in different}) == len(different)


def test_a_word_counts_by_its_content_and_by_what_prompts_call_it(tmp_path):
    def of(name, key):
        save_file({key: torch.ones(8)}, tmp_path / f"{name}.safetensors")
        given = {"adapters": [str(tmp_path / f"{name}.safetensors")]}
        return digest(SETTINGS | {"model": SETTINGS["model"] | given})

    assert of("a", "<toy>") == of("b", "<toy>") != of("c", "<other>")
    assert of("a", "emb_params") != of("b", "emb_params")


def test_the_scale_that_stands_beside_a_file_counts(tmp_path):
    file = tmp_path / "adapter_model.safetensors"
    save_file({f"base_model.model.a.lora_{half}.weight": torch.ones(2, 2) for half in "AB"}, file)

    def of(alpha):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": alpha}))
        return digest(SETTINGS | {"model": SETTINGS["model"] | {"adapters": [str(file)]}})

    assert of(1) != of(2)


def test_a_second_models_adapters_are_its_own(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    file = lora(tmp_path / "a.safetensors")

    def of(ours, theirs):
        model = {"path": str(tmp_path), "revision": None, "adapters": ours}
        baseline = BaselineSettings(path=str(tmp_path), adapters=theirs)
        content = described(SETTINGS | {"model": model, "baseline_model": baseline})
        return content, identity.compares_with_itself(content)

    assert [of(*given)[1] for given in (([], []), ([file], []), ([file], [file]))] == [1, 0, 1]
    assert of([file], [])[0] != of([file], [f"{file}:0.5"])[0]


@pytest.mark.parametrize("given", ["x", ["/nowhere/a.safetensors"], ["a.bin"], [3]])
def test_adapters_that_are_none_are_refused(given):
    with pytest.raises(UserError, match="adapters"):
        digest(SETTINGS | {"model": SETTINGS["model"] | {"adapters": given}})
