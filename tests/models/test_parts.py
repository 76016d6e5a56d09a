"""Parts of a model that are not whole, do not belong together or want more: each is one line."""

import json
import os
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from anisomem.errors import UserError
from anisomem.models import files, parts
from anisomem.models.capability import Capability
from anisomem.models.families import load
from anisomem.storage import digests

WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
    "text_encoder_3": "model.safetensors",
}
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


@pytest.fixture(scope="module")
def originals(families, tmp_path_factory):
    """The saved pipeline of a family, written once."""
    kept = {}

    def saved(name):
        if name not in kept:
            kept[name] = tmp_path_factory.mktemp(name)
            families[name].build().save_pretrained(kept[name], safe_serialization=True)
        return kept[name]

    return saved


@pytest.fixture
def saved(originals, tmp_path):
    """A copy of it, which the test may change."""
    return lambda name: shutil.copytree(originals(name), tmp_path / name)


def rekeyed(file, rule):
    """Writes a file's weights as the rule gives them."""
    changed = {}
    for name, tensor in load_file(file).items():
        changed |= rule(name, tensor)
    save_file(changed, file, metadata={"format": "pt"})


def edited(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder, *said, **options):
    """Loading is refused in one line that says so."""
    return one_line(lambda: load(str(folder), device="cpu", **options), *said)


@pytest.fixture
def alone(originals, tmp_path):
    """One part of a family's pipeline, copied, and what loads it."""

    def copied(name, part):
        folder = shutil.copytree(originals(name) / part, tmp_path / part)
        source = json.loads((originals(name) / "model_index.json").read_text())[part]
        return folder, lambda: parts.part(folder, source, torch.float32, None)

    return copied


def one_line(given, *said):
    """It is refused in one line that says so."""
    with pytest.raises(UserError) as caught:
        given()
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message
    return message


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


# Text


def test_a_tokenizer_without_its_vocabulary_is_refused(saved):
    folder = saved("sd_v1")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    refused(folder, f"{folder / 'tokenizer'} has no vocabulary", "merges.txt")


def vocabulary(folder, change):
    """Changes what tokenizer.json holds."""
    file = folder / "tokenizer" / "tokenizer.json"
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found))


def test_merges_that_are_missing_are_noticed(saved):
    folder = saved("sd_v1")
    vocabulary(folder, lambda found: found["model"].update(merges=[]))
    refused(folder, "tokenizer cannot reach 6 of its", "merges are missing")


def test_a_vocabulary_of_unknown_words_is_refused(saved):
    folder = saved("sd3")
    file = folder / "tokenizer_3" / "tokenizer.json"
    found = json.loads(file.read_text())
    found["model"]["vocab"] = [
        [token if token.startswith("<") else f"☃{i}", score]
        for i, (token, score) in enumerate(found["model"]["vocab"])
    ]
    file.write_text(json.dumps(found))
    refused(folder, "tokenizer_3 makes the same tokens of")


def test_a_token_without_an_embedding_is_refused(saved):
    folder = saved("sd_v1")

    def more(found):
        first = dict(found["added_tokens"][0])
        found["added_tokens"].append(first | {"id": 520, "content": "<cat-toy>"})

    vocabulary(folder, more)
    refused(folder, "tokenizer has 521 tokens", "embeddings of 520", "'<cat-toy>'")


def test_another_models_tokenizer_is_refused(saved):
    folder = saved("sd_v1")
    file = folder / "text_encoder" / "model.safetensors"
    wide = torch.nn.functional.pad
    rekeyed(file, lambda k, v: {k: wide(v, (0, 0, 0, 9480)) if "token_embedding" in k else v})
    edited(folder / "text_encoder" / "config.json", vocab_size=10_000)
    refused(folder, "tokenizer has 520 tokens", "embeddings of 10,000", "not saved whole")


@pytest.mark.parametrize("limit", ["missing", 10**30, 77, 11, float("inf")])
def test_a_limit_beyond_the_encoders_positions_is_theirs(saved, limit):
    folder = saved("sd_v1")
    file = folder / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["model_max_length"]
    file.write_text(
        json.dumps(settings if limit == "missing" else settings | {"model_max_length": limit})
    )
    model = load(str(folder), device="cpu")
    assert model.pipeline.tokenizer.model_max_length == 10
    long = "a very red cat and a dog " * 40
    assert model.encode([long]).tensors["embeddings"].shape == (1, 10, 8)
    assert model.truncated([long, "a cat"]) == 1


@pytest.mark.parametrize("limit", [0, 2, -1])
def test_a_limit_without_room_is_refused(saved, limit):
    folder = saved("sd_v1")
    edited(folder / "tokenizer" / "tokenizer_config.json", model_max_length=limit)
    refused(folder, f"model_max_length={limit}", "no room for a prompt")


def test_a_shorter_limit_is_the_tokenizers(saved):
    folder = saved("sd_v1")
    edited(folder / "tokenizer" / "tokenizer_config.json", model_max_length=7)
    model = load(str(folder), device="cpu")
    assert model.encode(["a cat"]).tensors["embeddings"].shape == (1, 7, 8)


def test_encoders_of_different_lengths_are_refused(saved):
    folder = saved("sdxl")
    edited(folder / "tokenizer_2" / "tokenizer_config.json", model_max_length=7)
    refused(folder, "10 and 7 tokens of a prompt")


def test_a_pooled_state_at_another_token_is_refused(saved):
    folder = saved("sdxl")
    edited(folder / "text_encoder_2" / "config.json", eos_token_id=5)
    refused(folder, "text_encoder_2 takes a prompt's state at token 5", "ends prompts with 519")
    edited(folder / "text_encoder_2" / "config.json", eos_token_id=2)  # at the largest token
    load(str(folder), device="cpu")


def test_a_text_encoder_of_another_model_is_refused(saved):
    folder = saved("sd_v1")
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    config = encoder.config
    config.hidden_size, config.intermediate_size = 16, 32
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    refused(folder, "cross_attention_dim: 16 given, 8 expected; the parts are of two models")


# More inputs


def other_unet(folder, **changes):
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config({**unet.config, **changes}).save_pretrained(folder / "unet")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"in_channels": 9}, "a mask and the masked picture (inpainting)"),
        ({"in_channels": 8}, "the picture to edit"),
        ({"in_channels": 5}, "a depth map"),
        ({"in_channels": 7}, "a picture of low resolution"),
        ({"in_channels": 6}, "2 channels"),
        ({"time_cond_proj_dim": 16}, "an embedding of the guidance scale (a consistency model)"),
        ({"class_embed_type": "timestep"}, "class labels"),
        ({"num_class_embeds": 10}, "class labels"),
        (
            {
                "addition_embed_type": "text",
                "encoder_hid_dim": 8,
                "addition_embed_type_num_heads": 2,
            },
            "an embedding besides the prompt's",
        ),
        (
            {"encoder_hid_dim_type": "ip_image_proj", "encoder_hid_dim": 8},
            "a picture's embedding",
        ),
    ],
)
def test_an_input_that_nobody_gives_is_named(saved, changes, said):
    folder = saved("sd_v1")
    if "ip_image_proj" in changes.values():
        edited(
            folder / "unet" / "config.json", encoder_hid_dim_type="image_proj", encoder_hid_dim=8
        )
        refused(folder)
        return
    other_unet(folder, **changes)
    refused(folder, f"the network expects {said}, which nobody gives it")


def test_a_network_that_returns_more_than_latents_is_refused(saved):
    folder = saved("sd_v1")
    other_unet(folder, out_channels=8)
    refused(folder, "reads 4 channels and returns 8")


def test_a_controlnet_is_refused(saved):
    folder = saved("sd_v1")
    named = {"_class_name": "StableDiffusionControlNetPipeline"}
    edited(folder / "model_index.json", controlnet=["diffusers", "ControlNetModel"], **named)
    refused(folder, "a ControlNet's picture", "the pipeline has the part controlnet")


def test_a_refiner_is_refused(saved):
    folder = saved("sdxl")
    unet = {"projection_class_embeddings_input_dim": 5 * 4 + 8}
    other_unet(folder, **unet)
    edited(folder / "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline")
    refused(folder, "projection_class_embeddings_input_dim: 32 given, 28 expected")


# Layouts


@pytest.mark.parametrize(
    ("name", "saved_as"),
    [
        ("sd_v1", "StableDiffusionImg2ImgPipeline"),
        ("sd_v1", "StableDiffusionInpaintPipeline"),
        ("sdxl", "StableDiffusionXLImg2ImgPipeline"),
        ("sd3", "StableDiffusion3InpaintPipeline"),
    ],
)
def test_pipelines_of_the_same_parts_are_the_same_model(saved, families, name, saved_as):
    folder = saved(name)
    more = {"requires_aesthetics_score": False} if name == "sdxl" else {}
    edited(folder / "model_index.json", _class_name=saved_as, **more)
    model = load(str(folder), device="cpu")
    own = families[name].model(families[name].build())
    assert type(model) is families[name].model
    x, t = own.initial_noise(0, 1), own.timesteps()[0]
    expected = own.predict(x, t, own.encode(["a cat"])).raw
    torch.testing.assert_close(model.predict(x, t, model.encode(["a cat"])).raw, expected)


@pytest.mark.parametrize("name", ["sd_v1", "sdxl", "sd3"])
def test_a_variant_is_found_by_itself(families, tmp_path, name):
    families[name].build().save_pretrained(tmp_path, variant="fp16")
    model = load(str(tmp_path), device="cpu")
    assert model.variant == "fp16"
    own = families[name].model(families[name].build())
    x, t = own.initial_noise(0, 1), own.timesteps()[0]
    expected = own.predict(x, t, own.encode(["a cat"])).raw
    torch.testing.assert_close(model.predict(x, t, model.encode(["a cat"])).raw, expected)
    refused(tmp_path, "variants fp16 alone; give model.variant=fp16", variant="bf16")


def test_a_variant_is_chosen(saved):
    folder = saved("sd_v1")
    file = folder / "unet" / WEIGHTS["unet"]
    other = load_file(file)
    other["conv_in.weight"] = other["conv_in.weight"] * 2
    save_file(other, file.with_suffix(".fp16.safetensors"), {"format": "pt"})
    plain = load(str(folder), device="cpu")
    chosen = load(str(folder), device="cpu", variant="fp16")
    assert (plain.variant, chosen.variant) == (None, "fp16")
    weights = [m.denoiser.conv_in.weight for m in (plain, chosen)]
    torch.testing.assert_close(weights[1], 2 * weights[0])
    refused(folder, "no part of", "model.variant=bf16; they have fp16, null", variant="bf16")
    file.rename(file.with_suffix(".ema.safetensors"))
    refused(folder, "variants ema, fp16 alone; give model.variant=ema")


def test_what_lies_beside_the_model_is_told(saved):
    folder = saved("sd_v1")
    lora = {"unet.down_blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 2)}
    save_file(lora, folder / "my_style.safetensors")
    save_file({"<toy>": torch.ones(8)}, folder / "learned_embeds.safetensors")
    save_file({"model.diffusion_model.out.2.bias": torch.ones(4)}, folder / "v1.safetensors")
    (folder / "unet_lora").mkdir()
    save_file(lora, folder / "unet_lora" / "pytorch_lora_weights.safetensors")
    assert files.adapters(folder) == [
        "learned_embeds.safetensors",
        "my_style.safetensors",
        "unet_lora/pytorch_lora_weights.safetensors",
    ]
    model = load(str(folder), device="cpu")
    assert model.cautions[1] == (
        "my_style.safetensors beside the model is not loaded: scores are those of the model"
        " without it"
    )


def test_an_adapter_inside_a_part_is_refused(saved):
    folder = saved("sd_v1")
    (folder / "text_encoder" / "adapter_config.json").write_text("{}")
    refused(folder, "text_encoder holds an adapter", "merge it")


def test_a_pipeline_without_an_autoencoder_makes_no_pictures(saved):
    folder = saved("sd_v1")
    edited(folder / "model_index.json", vae=[None, None])
    model = load(str(folder), device="cpu")
    assert Capability.PICTURES not in model.capabilities
    with pytest.raises(UserError, match=r"no autoencoder \(vae\)"):
        model.decode(model.initial_noise(0, 1))
    other = saved("sdxl")
    edited(other / "model_index.json", vae=[None, None])
    refused(other, "the pipeline has no vae")


@pytest.mark.parametrize("lost", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_part_that_is_not_there_is_named(saved, lost):
    folder = saved("sd_v1")
    shutil.rmtree(folder / lost)
    refused(folder, f"{folder / lost} is not there, though")
    edited(folder / "model_index.json", **{lost: [None, None]})
    if lost != "vae":
        refused(folder, f"the pipeline has no {lost};")


@pytest.mark.parametrize("value", [None, 3, ["pipeline", "Mine"]])
def test_a_pipeline_that_does_not_name_its_class_is_one_line(saved, value):
    folder = saved("sd_v1")
    edited(folder / "model_index.json", _class_name=value)
    refused(folder, "model_index.json has no _class_name")


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "~nobody-of-this-name/model", "/dev/null"])
def test_a_path_that_cannot_be_one_is_one_line(path):
    refused(path)


def test_a_home_is_expanded(saved, monkeypatch):
    folder = saved("sd_v1")
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load(f"~/{folder.name}", device="cpu").repository is None
