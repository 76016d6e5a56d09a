"""Weights are known by their hashes, and others than were expected are refused."""

import json
from hashlib import sha256

import pytest
from safetensors.torch import load_file, save_file

from anisomem.models.families import load
from tests.models.folders import one_line, refused

UNET = "unet/diffusion_pytorch_model.safetensors"
PARTS = [
    "text_encoder/model.safetensors",
    UNET,
    "vae/diffusion_pytorch_model.safetensors",
]


def digest(file):
    return sha256(file.read_bytes()).hexdigest()


def test_a_file_counts_as_the_hub_shows_it_and_the_whole_by_all_files(saved):
    folder = saved("sd_v1")
    weights = load(str(folder), device="cpu").weights
    by_name = {name: digest(folder / name) for name in PARTS}
    assert weights.by_name == by_name
    whole = sha256(json.dumps(by_name, sort_keys=True).encode()).hexdigest()
    assert weights.described == {"sha256": whole, "files": by_name}


def test_what_was_expected_is_loaded_and_what_was_not_is_refused(saved):
    folder = saved("sd_v1")
    known = load(str(folder), device="cpu").weights
    for expected in (known.whole, known.whole.upper(), {UNET: known.by_name[UNET]}):
        load(str(folder), device="cpu", expected_sha256=expected)
    other = {UNET: "0" * 64}
    refused(folder, UNET, known.by_name[UNET], "model.expected_sha256", expected_sha256=other)
    refused(folder, known.whole, "0" * 64, expected_sha256="0" * 64)
    said = f"'model.expected_sha256={{{UNET}: {known.by_name[UNET]}}}'"
    refused(folder, said, expected_sha256=known.by_name[UNET])
    refused(
        folder,
        "unet/model.safetensors",
        UNET,
        expected_sha256={"unet/model.safetensors": "0" * 64},
    )


def test_a_mirror_that_was_changed_after_it_was_read_is_read_again(saved):
    folder = saved("sd_v1")
    whole = load(str(folder), device="cpu").weights.whole
    weights = load_file(folder / UNET)
    weights["conv_in.bias"] += 1
    save_file(weights, folder / UNET, metadata={"format": "pt"})
    refused(folder, "others than were expected", expected_sha256=whole)


@pytest.mark.parametrize("expected", ["abc", "g" * 64, 5, [], {}, {UNET: "abc"}, {UNET: 3}])
def test_what_is_no_hash_is_refused_before_anything_is_read(expected):
    one_line(lambda: load("nowhere", expected_sha256=expected), "sha256 of 64 digits")


def test_settings_of_the_file_do_not_count(saved):
    folder = saved("sd_v1")
    whole = load(str(folder), device="cpu").weights.whole
    (folder / "README.md").write_text("a mirror")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_diffusers_version": "0.1"}))
    load(str(folder), device="cpu", expected_sha256=whole)
