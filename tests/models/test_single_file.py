"""A checkpoint in one file gives the network that its folder gives, or one line."""

import re

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModelWithProjection

from anisomem.errors import UserError
from anisomem.models import architecture, families, files, single_file
from anisomem.models.families import load
from tests.models.conftest import clip
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


def openclip(encoder, prefix):
    """A text encoder's weights as OpenCLIP names them: q, k and v of a layer are one."""
    state = {n.removeprefix("text_model."): w for n, w in encoder.state_dict().items()}
    simple = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    inside = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc"}
    inside |= {"mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
    held = {f"{prefix}{theirs}": state.pop(ours) for ours, theirs in simple.items()}
    projection = state.pop("text_projection.weight", torch.eye(encoder.config.hidden_size))
    held[f"{prefix}text_projection"] = projection.T
    held[f"{prefix}logit_scale"] = torch.tensor(4.6)
    for i in range(encoder.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{i}.", f"{prefix}transformer.resblocks.{i}."
        for leaf in ("weight", "bias"):
            three = [state.pop(f"{ours}self_attn.{side}_proj.{leaf}") for side in "qkv"]
            held[f"{theirs}attn.in_proj_{leaf}"] = torch.cat(three)
            for a, b in inside.items():
                held[f"{theirs}{b}.{leaf}"] = state.pop(f"{ours}{a}.{leaf}")
    assert not state
    return held


def of_unet_and_autoencoder(pipeline):
    names = ("model.diffusion_model.", "first_stage_model.")
    return {n: w for n, w in checkpoint(pipeline).items() if n.startswith(names)}


def original_of_xl(name):
    """What the U-Net of XL has besides."""
    added = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
    stem, _, leaf = name.rpartition(".")
    return f"{added[stem]}.{leaf}" if stem in added else original_unet(name)


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


def same(pipeline, found, names):
    for name in names:
        expected, actual = (getattr(p, name).state_dict() for p in (pipeline, found))
        assert set(actual) == set(expected)
        for key, weight in expected.items():
            assert torch.equal(actual[key], weight), key


def converted(pipeline, held, tmp_path, said=None):
    """The pipeline of a checkpoint, with the configuration that the folder has."""
    file, folder = tmp_path / "a.safetensors", tmp_path / "folder"
    save_file({name: weight.clone().contiguous() for name, weight in held.items()}, file)
    pipeline.save_pretrained(folder)
    index = files.read_index(folder)
    return single_file.pipeline(type(pipeline), file, folder, index, torch.float32, said)


@pytest.mark.parametrize("predicts", ["v_prediction", "epsilon"])
def test_version_2s_text_encoder_is_read_in_the_names_of_openclip(
    make_pipeline, tmp_path, predicts
):
    pipeline = make_pipeline(v2=True, prediction_type="v_prediction")
    held = of_unet_and_autoencoder(pipeline)
    held |= openclip(pipeline.text_encoder, "cond_stage_model.model.")
    found = converted(pipeline, held, tmp_path, predicts)
    same(pipeline, found, ("unet", "vae", "text_encoder"))
    assert found.scheduler.config.prediction_type == predicts
    assert found.tokenizer("cat", padding="max_length").input_ids[3:] == [0] * 74


def test_xls_two_text_encoders_and_its_size_are_read(families, tmp_path):
    plain = families["sdxl"].build()
    words = plain.tokenizer
    second = clip(words, CLIPTextModelWithProjection, hidden_size=12, projection_dim=12)
    unet = UNet2DConditionModel.from_config(
        {
            **plain.unet.config,
            "cross_attention_dim": 20,
            "projection_class_embeddings_input_dim": 6 * 4 + 12,
        }
    )
    parts = {**plain.components, "text_encoder_2": second, "unet": unet}
    pipeline = StableDiffusionXLPipeline(**parts)
    held = {f"model.diffusion_model.{original_of_xl(n)}": w for n, w in unet.state_dict().items()}
    whole = of_unet_and_autoencoder(plain)
    held |= {n: w for n, w in whole.items() if n.startswith("first_stage_model.")}
    for name, weight in plain.text_encoder.state_dict().items():
        inner = name.removeprefix("text_model.")
        held[f"conditioner.embedders.0.transformer.text_model.{inner}"] = weight
    first = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"
    held[first] = torch.arange(77)[None]
    held |= openclip(second, "conditioner.embedders.1.model.")
    found = converted(pipeline, held, tmp_path)
    same(pipeline, found, ("unet", "vae", "text_encoder", "text_encoder_2"))
    rows = [
        made("cat", padding="max_length").input_ids[-1]
        for made in (found.tokenizer, found.tokenizer_2)
    ]
    assert rows == [49407, 0]


def test_weights_averaged_while_training_are_left(tiny, tmp_path):
    more = {"model_ema.num_updates": torch.tensor(7), "model_ema.decay": torch.tensor(0.9)}
    file = tmp_path / "a.safetensors"
    found = read(tiny, file, tiny[2] | more)
    assert torch.equal(found.unet.conv_in.weight, tiny[0].unet.conv_in.weight)
    assert single_file.repository(file, None) == single_file.V1


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
