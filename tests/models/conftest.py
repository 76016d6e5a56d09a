"""A tiny seeded pipeline of every family, and what the conformance tests need to know of each."""

import shutil
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.sd3 import StableDiffusion3
from anisomem.models.sdxl import StableDiffusionXL

MAX_TOKENS, WIDTH = 10, 8


@dataclass(frozen=True)
class Family:
    """How a family is built and called.

    ``build(dtype)`` gives a pipeline, ``model`` is its class here.
    """

    model: type
    build: object


def clip(words, made, **changes):
    settings = {
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "projection_dim": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "initializer_factor": 3.0,
    }
    return made(CLIPTextConfig(**settings | changes)).eval()


def autoencoder(channels, **changes):
    return AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=16,
        **changes,
    ).eval()


def t5_tokenizer():
    pieces = [(word, -1.0) for word in ("▁a", "▁cat", "▁red", "▁dog", "▁very")]
    letters = [(letter, -5.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return T5Tokenizer([*special, *pieces, *letters], extra_ids=0)


def sdxl(words, force_zeros, dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + WIDTH,
            cross_attention_dim=2 * WIDTH,
            norm_num_groups=4,
        )
        encoders = {
            "text_encoder": clip(words, CLIPTextModel),
            "text_encoder_2": clip(words, CLIPTextModelWithProjection, hidden_act="gelu"),
        }
        vae = autoencoder(4, scaling_factor=0.13025)
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if any(part in name for part in ("attn2.to_out", "attn2.to_v", "time_emb_proj")):
                weight.mul_(4)
        unet.conv_out.weight.mul_(3)
    return StableDiffusionXLPipeline(
        vae=vae,
        tokenizer=words,
        tokenizer_2=words,
        unet=unet,
        scheduler=EulerDiscreteScheduler(  # as it is published; the detectors' steps are DDIM's
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        force_zeros_for_empty_prompt=force_zeros,
        add_watermarker=False,
        **encoders,
    ).to(dtype)


def sd3(words, with_t5, dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=24,
            caption_projection_dim=16,
            pooled_projection_dim=2 * WIDTH,
            out_channels=4,
            pos_embed_max_size=8,
            qk_norm="rms_norm",
            dual_attention_layers=(0,),
        )
        encoders = {
            "text_encoder": clip(words, CLIPTextModelWithProjection),
            "text_encoder_2": clip(words, CLIPTextModelWithProjection, hidden_act="gelu"),
            "text_encoder_3": None,
            "tokenizer_3": None,
        }
        if with_t5:
            encoders["tokenizer_3"] = pieces = t5_tokenizer()
            config = T5Config(
                vocab_size=len(pieces), d_model=24, d_kv=4, d_ff=16, num_layers=1, num_heads=2
            )
            encoders["text_encoder_3"] = T5EncoderModel(config).eval()
        vae = autoencoder(4, scaling_factor=1.5305, shift_factor=0.0609)
    with torch.no_grad():
        transformer.proj_out.weight.mul_(3)
        for name, weight in transformer.named_parameters():
            if "norm1" in name or "norm_out" in name:  # how timestep and pooled prompt enter
                weight.mul_(4)
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        tokenizer=words,
        tokenizer_2=words,
        **encoders,
    ).to(dtype)


FAMILIES = ["sd_v1", "sd_v2", "sd_sample", "sdxl", "sdxl_encoded_empty", "sd3", "sd3_without_t5"]


@pytest.fixture(scope="session")
def families(make_pipeline, clip_tokenizer):
    """Name to family; pipelines are built once, do not change them."""

    def made(build, *arguments):
        def make(dtype=torch.float32):
            pipeline = build(clip_tokenizer(), *arguments, dtype)
            pipeline.set_progress_bar_config(disable=True)
            return pipeline

        return cache(make)

    def stable_diffusion(**choices):
        return lambda dtype=torch.float32: make_pipeline(dtype=dtype, **choices)

    velocity = {"prediction_type": "v_prediction", "seed": 1, "v2": True}
    return {
        "sd_v1": Family(DiffusersUNet, stable_diffusion()),
        "sd_v2": Family(DiffusersUNet, stable_diffusion(**velocity)),
        "sd_sample": Family(DiffusersUNet, stable_diffusion(prediction_type="sample", seed=2)),
        "sdxl": Family(StableDiffusionXL, made(sdxl, True)),
        "sdxl_encoded_empty": Family(StableDiffusionXL, made(sdxl, False)),
        "sd3": Family(StableDiffusion3, made(sd3, True)),
        "sd3_without_t5": Family(StableDiffusion3, made(sd3, False)),
    }


@pytest.fixture(params=FAMILIES)
def family(request, families):
    """Every family in turn."""
    return families[request.param]


@pytest.fixture(scope="session")
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
