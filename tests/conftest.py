"""Tiny seeded Stable Diffusion pipelines, built in memory: nothing is downloaded."""

import gc
import io
import os
import shutil

# Before anything reads it, here and in processes that tests start: what is computed is so small
# that threads cost several times what they compute, where another process wants the cores too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from matplotlib import cbook
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from PIL import Image
from playwright.sync_api import sync_playwright
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from anisomem.datasets.prompts import PromptSet
from tests.started import Server

MAX_TOKENS, WIDTH = 10, 8
MERGES = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]

os.environ["TQDM_DISABLE"] = "1"  # how long something takes is no part of what is tested
torch.set_num_threads(1)  # tensors this small only lose by threads


def pytest_collection_modifyitems(items):
    """The slow ones first, so that no process is left alone with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window."""
    if not CHROMIUM:
        pytest.skip("needs a chromium on the PATH")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def picture(pixels):
    """A picture as the bytes of a PNG file."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return png.getvalue()


DRAWN = {FigureCanvasAgg: "print_png", FigureCanvasSVG: "print_svg"}
AS_THEY_ARE = {canvas: getattr(canvas, name) for canvas, name in DRAWN.items()}
BLANK = picture(np.full((1, 1, 3), 255, np.uint8))


def _blank_png(canvas, file, **_):
    renderer = canvas.get_renderer()
    with renderer._draw_disabled():  # every artist and text, so that what fails, fails
        canvas.figure.draw(renderer)
    with cbook.open_file_cm(file, "wb") as opened:
        opened.write(BLANK)


def _blank_svg(canvas, file, **_):
    file.write(SVG)


def draw(patch, canvases):
    """Canvases write their files so from now on."""
    for canvas, name in DRAWN.items():
        patch.setattr(canvas, name, canvases[canvas])


@pytest.fixture(autouse=True, scope="session")
def blank_figures():
    """Figures are made and laid out as always, but saved as blank pictures, which saves time."""
    with pytest.MonkeyPatch.context() as patch:
        draw(patch, {FigureCanvasAgg: _blank_png, FigureCanvasSVG: _blank_svg})
        yield


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """No test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def pytest_collection_finish():
    """What has been imported stays, and is not looked through again and again for garbage."""
    gc.freeze()


@pytest.fixture
def rendered(monkeypatch):
    """Figures are saved as they are, for tests that look at their files."""
    draw(monkeypatch, AS_THEY_ARE)


def tokenizer():
    """CLIP's vocabulary layout: bytes, bytes that end a word, merges, two special tokens."""
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *("".join(m) for m in MERGES)]
    vocabulary = {t: i for i, t in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=MERGES, model_max_length=MAX_TOKENS)


def scheduler(**changes):
    """Stable Diffusion's own settings."""
    settings = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }
    return DDIMScheduler(**settings | changes)


@cache
def pipeline(
    prediction_type="epsilon",
    channels=4,
    size=(8, 8),
    set_alpha_to_one=False,
    dtype=torch.float32,
    seed=0,
    v2=False,
):
    """A two-level pipeline with random weights, large enough that prompts matter.

    ``v2`` has what Stable Diffusion v2 has and v1 has not: another activation in the text encoder,
    heads by level and linear projections in the U-Net.
    """
    height, width = size
    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=height if height == width else [height, width],
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=(2, 4) if v2 else 2,
            use_linear_projection=v2,
            cross_attention_dim=WIDTH,
            norm_num_groups=4,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=MAX_TOKENS,
                bos_token_id=words.bos_token_id,
                eos_token_id=words.eos_token_id,
                pad_token_id=words.pad_token_id,
                initializer_factor=3.0,
                hidden_act="gelu" if v2 else "quick_gelu",
            )
        )
        vae = AutoencoderKL(
            block_out_channels=(4, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=channels,
            norm_num_groups=4,
            sample_size=2 * max(size),
        )
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "attn2.to_out" in name or "attn2.to_v" in name:
                weight.mul_(4)
            if "time_emb_proj" in name:
                weight.mul_(4)
        unet.conv_out.weight.mul_(3)
    built = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=words,
        unet=unet,
        scheduler=scheduler(prediction_type=prediction_type, set_alpha_to_one=set_alpha_to_one),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    built.set_progress_bar_config(disable=True)
    built.unet.eval()
    built.text_encoder.eval()
    built.vae.eval()
    return built if dtype == torch.float32 else built.to(dtype)


@pytest.fixture(scope="session")
def clip_tokenizer():
    """Builds a tokenizer of ten tokens that knows three words."""
    return tokenizer


@pytest.fixture(scope="session")
def make_pipeline():
    """``make_pipeline(prediction_type, channels, size, set_alpha_to_one, dtype, seed, v2)``.

    Equal arguments share one pipeline: do not change it.
    """
    return pipeline


@pytest.fixture(scope="session")
def save_pipeline(tmp_path_factory):
    """As ``make_pipeline``, but written with ``save_pretrained``; returns the folder."""

    def save(**choices):
        folder = tmp_path_factory.mktemp("pipeline")
        pipeline(**choices).save_pretrained(folder, safe_serialization=True)
        return folder

    return cache(save)


@pytest.fixture(scope="session")
def make_prompts():
    """A prompt set from texts and labels; without clusters every prompt is its own."""

    def make(texts, labels, clusters=None):
        count = len(texts)
        return PromptSet(
            "made",
            [f"p{i}" for i in range(count)],
            list(texts),
            np.asarray(labels, np.int8),
            np.arange(count) if clusters is None else np.asarray(clusters),
            ["block"] * count,
            ["kind"] * count,
        )

    return make


@pytest.fixture(scope="session")
def start():
    """``start(words..., cwd, cores)`` begins ``anisomem`` in a process of its own."""
    return Server().start


@pytest.fixture
def large_run(save_pipeline, tmp_path):
    """Overrides of a run on 320 prompts, in ten shards: long enough to be interrupted."""
    n = 320
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "prompt": [f"{'red cat' if i % 2 else 'dog'} {i}" for i in range(n)],
        "label": ["memorized" if i % 2 else "not_memorized" for i in range(n)],
        "cluster": list(range(n)),
        "block": ["made"] * n,
        "kind": ["ordinary"] * n,
    }
    pq.write_table(pa.table(columns), tmp_path / "prompts.parquet")
    return tiny_run(save_pipeline(), tmp_path / "prompts.parquet")


def tiny_run(pipeline_folder, prompts):
    """Overrides of a run on a tiny pipeline and a prompts file."""
    return [
        "experiment=quickstart",
        "model=diffusers_folder",
        f"model.path={pipeline_folder}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={prompts}",
    ]


@pytest.fixture(scope="session")
def gallery_run(save_pipeline, tmp_path_factory):
    """Overrides of a finished run with a gallery, and its folder; do not change what is in it."""
    from anisomem.cli.main import main

    folder = tmp_path_factory.mktemp("gallery")
    red = {"bytes": picture(np.full((4, 4, 3), (200, 30, 30), np.uint8)), "path": None}
    n, memorized = 240, [i % 4 < 2 for i in range(240)]
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "prompt": [f"{'red cat' if memorized[i] else 'dog'} {i // 3}" for i in range(n)],
        "label": ["memorized" if yes else "not_memorized" for yes in memorized],
        "cluster": [i // 2 for i in range(n)],
        "block": ["repeated" if yes else "unseen" for yes in memorized],
        "kind": ["ordinary"] * n,
        "repetitions": [2 ** (i % 7 + 2) if yes else 0 for i, yes in enumerate(memorized)],
        "reproduction_rate": [0.75 * yes for yes in memorized],
        "picture": [red if yes else None for yes in memorized],
    }
    pq.write_table(pa.table(columns), folder / "prompts.parquet")
    overrides = [
        *tiny_run(save_pipeline(), folder / "prompts.parquet"),
        "detector=[wen,anisotropy,random]",
        "draws=200",
        "workers=1",
        "timing_repeats=1",
        "gallery=2",
        f"runs={folder / 'runs'}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        draw(patch, AS_THEY_ARE)
        assert main(["run", *overrides]) == 0
    return overrides, folder / "runs" / "quickstart"
