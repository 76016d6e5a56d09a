"""The weights and settings of a part that is not whole: each fault is one line."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from anisomem.errors import UserError
from anisomem.models import parts
from anisomem.models.families import load
from anisomem.storage import digests
from tests.models.folders import WEIGHTS, edited, one_line, refused, rekeyed

PARTS = [
    ("sd_v1", "unet"),
    ("sd_v1", "vae"),
    ("sd_v1", "text_encoder"),
    ("sdxl", "unet"),
    ("sdxl", "text_encoder"),
    ("sdxl", "text_encoder_2"),
    ("sd3", "transformer"),
    ("sd3", "text_encoder"),
    ("sd3", "text_encoder_2"),
    ("sd3", "text_encoder_3"),
]


@pytest.fixture
def alone(originals, tmp_path):
    """One part of a family's pipeline, copied, and what loads it."""

    def copied(name, part):
        folder = shutil.copytree(originals(name) / part, tmp_path / part)
        source = json.loads((originals(name) / "model_index.json").read_text())[part]
        return folder, lambda: parts.part(folder, source, torch.float32, None)

    return copied


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_weight_that_is_missing_is_named(alone, name, part):
    folder, load = alone(name, part)
    load()
    lost = sorted(k for k in load_file(folder / WEIGHTS[part]) if k.endswith("weight"))[:2]
    rekeyed(folder / WEIGHTS[part], lambda k, v: {} if k in lost else {k: v})
    message = one_line(load, f"{folder}: 2 of", "weights are missing (")
    for name in lost:  # transformers leaves out the first word
        assert name.partition("model.")[2] or name in message


PREFIXES = [
    ("module.", "saved under DataParallel"),
    ("_orig_mod.", "saved from a compiled model"),
    ("net.", "the file's names begin with 'net.'"),
]


@pytest.mark.parametrize(
    ("name", "part", "prefix", "said"),
    [
        *((*one, *PREFIXES[0]) for one in PARTS),
        *((*one, *prefix) for one in PARTS[:3] for prefix in PREFIXES[1:]),
    ],
)
def test_a_prefix_is_named(alone, name, part, prefix, said):
    folder, load = alone(name, part)
    rekeyed(folder / WEIGHTS[part], lambda k, v: {prefix + k: v})
    one_line(load, f"{folder}: ", "weights are missing", said)


@pytest.mark.parametrize(("name", "part"), [("sd_v1", "unet"), ("sdxl", "text_encoder_2")])
def test_weights_saved_while_a_lora_was_attached_say_so(alone, name, part):
    folder, load = alone(name, part)
    hit = ("to_q.", "q_proj.")

    def rule(k, v):
        stem, _, leaf = k.rpartition(".")
        return {f"{stem}.base_layer.{leaf}": v} if any(h in k for h in hit) else {k: v}

    rekeyed(folder / WEIGHTS[part], rule)
    one_line(load, "weights are missing", "saved while a LoRA was attached", "fuse_lora")


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_weights_without_a_place_are_refused(alone, name, part):
    folder, load = alone(name, part)
    file = folder / WEIGHTS[part]
    save_file(load_file(file) | {"another.weight": torch.ones(2)}, file, {"format": "pt"})
    one_line(load, f"{folder}: 1 weights have no place", "another.weight")


def test_what_is_known_to_have_no_place_is_loaded(saved, families):
    folder = saved("sd_v1")
    file = folder / "text_encoder" / WEIGHTS["text_encoder"]
    more = {
        "text_model.embeddings.position_ids": torch.arange(10)[None],
        "text_projection.weight": torch.ones(8, 8),
        "vision_model.embeddings.class_embedding": torch.ones(8),
        "logit_scale": torch.ones(()),
    }
    save_file(load_file(file) | more, file, {"format": "pt"})
    model = load(str(folder), device="cpu")
    own = families["sd_v1"].model(families["sd_v1"].build())
    expected = own.encode(["a cat"]).tensors["embeddings"]
    torch.testing.assert_close(model.encode(["a cat"]).tensors["embeddings"], expected)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("text_encoder", {"hidden_size": 16}),
        ("text_encoder", {"vocab_size": 600}),
        ("unet", {"cross_attention_dim": 16}),
        ("unet", {"block_out_channels": [8, 32]}),
        ("vae", {"latent_channels": 3}),
    ],
)
def test_shapes_that_differ_are_named(saved, part, change):
    folder = saved("sd_v1")
    edited(folder / part / "config.json", **change)
    refused(folder, f"{folder / part}: ", "another shape than its config.json says", "expected [")


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("text_encoder", {"hidden_size": 10**9}, "describes"),
        ("text_encoder", {"hidden_size": "eight"}, "makes no CLIPTextModel"),
        ("text_encoder", {"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000"),
        ("text_encoder", {"num_attention_heads": 0}, "makes no CLIPTextModel"),
        ("unet", {"block_out_channels": [8]}, "makes no UNet2DConditionModel"),
        ("unet", {"block_out_channels": [10**9, 10**9]}, "unet/config.json"),
        ("unet", {"layers_per_block": 10**12}, "layers_per_block=1000000000000"),
        ("unet", {"down_block_types": ["Nothing", "Known"]}, "makes no UNet2DConditionModel"),
        ("unet", {"attention_head_dim": -1}, "attention_head_dim=-1"),
        ("unet", {"norm_num_groups": 0}, "makes no UNet2DConditionModel"),
        ("unet", {"sample_size": None}, "sample_size=None"),
        ("unet", {"sample_size": 10**9}, "sample_size=1000000000; expected 1 to 4096"),
        ("unet", {"sample_size": -8}, "sample_size=-8; expected none below 0"),
        ("unet", {"sample_size": "64"}, "sample_size=64, the side of its latents"),
        ("unet", {"sample_size": [8]}, "sample_size=[8]"),
        ("unet", {"quantization_config": {"load_in_8bit": True}}, "quantization_config"),
        ("vae", {"scaling_factor": 0}, "scaling_factor 0"),
        ("vae", {"scaling_factor": None}, "scaling_factor None"),
        ("vae", {"shift_factor": "a"}, "shift_factor a"),
        ("vae", {"latents_mean": [0.0] * 4}, "latents_mean"),
    ],
)
def test_broken_and_huge_values_are_one_line(saved, part, change, said):
    folder = saved("sd_v1")
    edited(folder / part / "config.json", **change)
    refused(folder, said)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(saved, part, value):
    folder = saved("sd_v1")
    file = folder / part / WEIGHTS[part]
    first = min(load_file(file))
    rekeyed(file, lambda k, v: {k: torch.full_like(v, value) if k == first else v})
    refused(folder, f"{folder / part}: 1 weights are NaN or infinite in float32")


def test_weights_too_large_for_half_precision_are_refused(saved):
    folder = saved("sd_v1")
    file = folder / "unet" / WEIGHTS["unet"]
    rekeyed(file, lambda k, v: {k: v * 1e6 if k == "conv_in.weight" else v})
    load(str(folder), device="cpu")
    refused(folder, "infinite in float16 (conv_in.weight)", "dtype=float32", dtype="float16")


def test_weights_that_are_all_zero_are_refused(saved):
    folder = saved("sd_v1")
    rekeyed(folder / "text_encoder" / "model.safetensors", lambda k, v: {k: torch.zeros_like(v)})
    refused(folder, "all weights are zero")


def test_quantised_weights_are_refused(saved):
    folder = saved("sd_v1")
    file = folder / "unet" / WEIGHTS["unet"]
    rekeyed(file, lambda k, v: {k: v.to(torch.int8) if k == "conv_in.weight" else v})
    refused(folder, "holds conv_in.weight as I8; expected numbers in floating point")


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged or cut short"),
        (b"<html>404</html>", "is damaged or cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    ],
)
def test_files_that_hold_no_weights_are_named(saved, part, content, said):
    folder = saved("sd_v1")
    (folder / part / WEIGHTS[part]).write_bytes(content)
    refused(folder, str(folder / part / WEIGHTS[part]), said)


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "unet/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ],
)
@pytest.mark.parametrize("content", ["", "[1, 2]", "[" * 10**5])
def test_settings_that_are_damaged_are_named(saved, file, content):
    folder = saved("sd_v1")
    (folder / file).write_text(content)
    refused(folder, str(folder / file))


@pytest.mark.parametrize(
    "file", ["model_index.json", "unet/config.json", f"unet/{WEIGHTS['unet']}", "tokenizer/x.txt"]
)
@pytest.mark.parametrize("kind", ["broken link", "pipe", "folder"])
def test_what_is_no_file_is_named_and_never_waited_for(saved, file, kind):
    folder = saved("sd_v1")
    place = folder / file
    place.unlink(missing_ok=True)
    match kind:
        case "broken link":
            place.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
    refused(folder, str(place))
    if kind != "folder":
        with pytest.raises(UserError, match=place.name):
            digests.fingerprint(folder)


def test_links_to_files_are_followed(saved):
    folder = saved("sd_v1")
    file = folder / "unet" / WEIGHTS["unet"]
    before = digests.fingerprint(folder)
    file.rename(folder.parent / "blob")
    file.symlink_to(folder.parent / "blob")
    load(str(folder), device="cpu")
    assert digests.fingerprint(folder) == before


def shards(part, count=2, variant=""):
    """Splits a part's weights into files behind an index."""
    stem = WEIGHTS[part.name].partition(".")[0]
    whole = load_file(part / WEIGHTS[part.name])
    (part / WEIGHTS[part.name]).unlink()
    names = [f"{stem}{variant}-0000{i + 1}-of-0000{count}.safetensors" for i in range(count)]
    placed = {key: names[i % count] for i, key in enumerate(sorted(whole))}
    for name in names:
        here = {k: whole[k] for k in whole if placed[k] == name}
        save_file(here, part / name, metadata={"format": "pt"})
    size = sum(v.numel() * 4 for v in whole.values())
    index = part / f"{stem}.safetensors.index{variant}.json"
    index.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": placed}))
    return index


@pytest.mark.parametrize("name", ["unet", "text_encoder"])
@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_are_loaded_whole_or_not(saved, families, name, variant):
    folder = saved("sd_v1")
    index = shards(folder / name, variant=variant)
    model = load(str(folder), device="cpu")
    own = families["sd_v1"].model(families["sd_v1"].build())
    x = own.initial_noise(0, 1)
    expected = own.predict(x, 981, own.encode(["a cat"])).raw
    torch.testing.assert_close(model.predict(x, 981, model.encode(["a cat"])).raw, expected)

    last = sorted((folder / name).glob("*-00002-*"))[0]
    last.rename(folder / "elsewhere")
    refused(folder, str(index), "1 of them are not there", last.name)
    (folder / "elsewhere").rename(last)
    found = json.loads(index.read_text())
    for wrong in (f"../{name}/{last.name}", "pytorch_model.bin", "/etc/passwd"):
        placed = dict.fromkeys(found["weight_map"], wrong)
        index.write_text(json.dumps(found | {"weight_map": placed}))
        refused(folder, str(index), repr(wrong), "expected safetensors files beside it")
    index.write_text("{}")
    refused(folder, str(index), "weight_map")
    # An index that leaves out some weights.
    placed = {k: v for k, v in found["weight_map"].items() if v != last.name}
    index.write_text(json.dumps(found | {"weight_map": placed}))
    refused(folder, "weights are missing")


def test_pickles_are_never_read(saved, tmp_path):
    folder = saved("sd_v1")
    file = folder / "text_encoder" / "model.safetensors"
    torch.save(load_file(file), folder / "text_encoder" / "pytorch_model.bin")
    file.unlink()
    refused(folder, "no weights in safetensors", "it holds pytorch_model.bin")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("unet", ["os", "system"]),
        ("unet", ["my_module", "MyUNet"]),
        ("unet", ["diffusers", "StableDiffusionPipeline"]),
        ("unet", ["diffusers"]),
        ("text_encoder", ["transformers", "pipeline"]),
        ("text_encoder", ["transformers", 3]),
        ("unet", ["diffusers", "NoSuchModel"]),
    ],
)
def test_classes_of_other_packages_are_not_imported(saved, name, source):
    folder = saved("sd_v1")
    edited(folder / "model_index.json", **{name: source})
    refused(folder, f"model_index.json says that {name} is a", "of diffusers or transformers")
