"""A checkpoint in one file gives the network that its folder gives, or one line."""

import re

import pytest
import torch
from safetensors.torch import save_file

from anisomem.errors import UserError
from anisomem.models import architecture, families, files, single_file
from anisomem.models.families import load
from tests.models.original import original_unet


def original_vae(name, levels=2):
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name
    )
    name = re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    attention = {
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }
    for ours, theirs in attention.items():
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")


def checkpoint(pipeline):
    """A pipeline's weights as the original code of Stable Diffusion 1 names them."""
    held = {}
    for name, weight in pipeline.unet.state_dict().items():
        held[f"model.diffusion_model.{original_unet(name)}"] = weight
    for name, weight in pipeline.vae.state_dict().items():
        convolution = "mid_block.attentions" in name and weight.ndim == 2
        held[f"first_stage_model.{original_vae(name)}"] = (
            weight[..., None, None] if convolution else weight
        )
    for name, weight in pipeline.text_encoder.state_dict().items():
        inner = name.removeprefix("text_model.")
        held[f"cond_stage_model.transformer.text_model.{inner}"] = weight
    return {name: weight.clone().contiguous() for name, weight in held.items()}


@pytest.fixture(scope="module")
def tiny(make_pipeline, save_pipeline):
    """A pipeline, its folder, and its checkpoint."""
    return make_pipeline(), save_pipeline(), checkpoint(make_pipeline())


def read(tiny, file, held):
    pipeline, folder, _ = tiny
    save_file(held, file)
    index = files.read_index(folder)
    return single_file.pipeline(type(pipeline), file, folder, index, torch.float32)


def test_its_networks_are_the_folders(tiny, tmp_path):
    pipeline, _, held = tiny
    found = read(tiny, tmp_path / "a.safetensors", held)
    for name in ("unet", "vae", "text_encoder"):
        expected, actual = (getattr(p, name).state_dict() for p in (pipeline, found))
        assert set(actual) == set(expected)
        for key, weight in expected.items():
            assert torch.equal(actual[key], weight), key
    assert found.scheduler.config.steps_offset == pipeline.scheduler.config.steps_offset
    assert found.tokenizer("a cat").input_ids == [49406, 320, 2368, 49407]  # CLIP's own
    assert (found.tokenizer.model_max_length, found.tokenizer.pad_token_id) == (77, 49407)


@pytest.mark.parametrize(
    ("lost", "part"),
    [
        ("model.diffusion_model.middle_block.1.proj_in.weight", "unet"),
        ("first_stage_model.decoder.conv_out.bias", "vae"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "text_encoder"),
    ],
)
def test_a_weight_that_is_missing_is_named(tiny, tmp_path, lost, part):
    held = {k: v for k, v in tiny[2].items() if k != lost}
    with pytest.raises(UserError) as caught:
        read(tiny, tmp_path / "a.safetensors", held)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


FOUR, TEXT = torch.zeros(8, 4, 3, 3), torch.zeros(4, 8)
UNET = {single_file.FIRST: FOUR}
WHOLE = UNET | {"first_stage_model.decoder.conv_out.bias": torch.zeros(3)}


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"conv_in.weight": FOUR}, "no whole checkpoint of Stable Diffusion 1, 2 or XL"),
        (WHOLE, "no whole checkpoint"),
        (UNET | {single_file.TELLING[single_file.V1]: TEXT}, "no whole checkpoint"),
        ({"lora_unet_down_blocks_0.lora_up.weight": TEXT}, "is a LoRA, no model"),
        (
            WHOLE
            | {single_file.TELLING[single_file.V1]: TEXT}
            | {single_file.FIRST: torch.zeros(8, 9, 3, 3)},
            "a mask and the masked picture",
        ),
        (
            WHOLE | {single_file.TELLING[single_file.V2]: TEXT},
            "model.parameterisation=v_prediction",
        ),
        (
            WHOLE | {single_file.TELLING[single_file.XL]: TEXT, "v_pred": torch.zeros(1)},
            "says v_pred, which needs its own scheduler",
        ),
    ],
)
def test_files_that_are_no_whole_model_are_one_line(tmp_path, held, said):
    save_file(held, tmp_path / "a.safetensors")
    with pytest.raises(UserError) as caught:
        load(str(tmp_path / "a.safetensors"), device="cpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "notes.txt"])
def test_other_files_are_not_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(UserError, match="is no safetensors file"):
        load(str(tmp_path / name), device="cpu")


@pytest.mark.parametrize("name", single_file.TELLING)
def test_the_package_has_the_configuration_it_names(tmp_path, name):
    save_file(WHOLE | {single_file.TELLING[name]: TEXT}, tmp_path / "a.safetensors")
    said = "epsilon" if name == single_file.V2 else None
    assert single_file.repository(tmp_path / "a.safetensors", said) == name
    index = files.read_index(architecture.folder(name))
    assert families.family_of(index, name).layout.name == index["_class_name"]
