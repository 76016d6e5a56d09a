"""Networks that want more inputs, and folders laid out in every way that is in use."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from anisomem.errors import UserError
from anisomem.models import files
from anisomem.models.capability import Capability
from anisomem.models.families import load
from tests.models.folders import WEIGHTS, edited, other_unet, refused


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
    assert model.cautions == ["weights of the variant fp16 alone; set model.variant=fp16"]
    assert load(str(tmp_path), device="cpu", variant="fp16").cautions == []
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
        f" without it; 'model.adapters=[{folder / 'my_style.safetensors'}]' puts it on"
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
