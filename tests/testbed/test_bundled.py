"""The bundled models are what their cards say."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from anisomem.config import catalog, compose
from anisomem.datasets.files import load
from anisomem.detection.configured import detectors
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.evaluation import auc, text_only_scores
from anisomem.models import families
from anisomem.testbed.diffusion import VARIANTS
from anisomem.testbed.ground_truth import SEEDS
from anisomem.testbed.release import FEATURES, confirmed
from anisomem.testbed.thresholds import NAME, Thresholds

UNETS = {"epsilon": "epsilon", "velocity": "v_prediction", "large": "epsilon"}
SMALL = [name for name, recipe in catalog.VARIANTS.items() if recipe == "small"]


def drawn(model, texts, steps=50):
    """A picture of every text, all from one noise, by plain sampling."""
    noise = model.initial_noise(SEEDS[0], 1).repeat(len(texts), 1, 1, 1)
    with torch.inference_mode():
        return model.decode(model.sample(noise, model.encode(texts), steps))


def distances(pictures, others):
    """Root-mean-square differences, colours in 0 to 1, of each to its partner."""
    return [
        ((a / 255.0 - b / 255.0) ** 2).mean() ** 0.5 for a, b in zip(pictures, others, strict=True)
    ]


@pytest.fixture(scope="module", params=catalog.VARIANTS)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def table(variant):
    return pq.read_table(Path(catalog.testbed(variant)) / "prompts.parquet").to_pandas()


def test_plain_diffusers_loads_and_samples_it(variant):
    folder, side = Path(catalog.testbed(variant)), 32 if variant in SMALL else 64
    if variant in UNETS:
        pipeline = StableDiffusionPipeline.from_pretrained(folder)
        assert pipeline.scheduler.config.prediction_type == UNETS[variant]
        assert pipeline.scheduler.config.beta_schedule == "scaled_linear"
    else:
        absent = {"text_encoder_3": None, "tokenizer_3": None}
        pipeline = StableDiffusion3Pipeline.from_pretrained(folder, **absent)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(
        "premium sticker of owl", num_inference_steps=5, height=side, width=side
    ).images[0]
    assert picture.size == (side, side)
    assert np.asarray(picture).std() > 10


@pytest.mark.parametrize("place", catalog.PLACES)
def test_thresholds_are_those_of_the_card(place, tmp_path):
    folder = Path(catalog.testbed(place))
    found = Thresholds.read(folder)
    card = " ".join((folder / "README.md").read_text().split())
    assert f"below {found.single:.4f}" in card and f"below {found.nearest:.4f} to any" in card
    found.write(tmp_path)
    assert (tmp_path / NAME).read_text() == (folder / NAME).read_text()


def test_size_is_small(variant):
    files = [f for f in Path(catalog.testbed(variant)).rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 14e6


def test_the_list_of_models_says_what_each_is(variant):
    title = catalog.title(catalog.folder() / "model" / f"testbed_{variant}.yaml")
    outlined = families.outline(catalog.testbed(variant))
    side = outlined.latent_shape[1] * 4
    assert title.startswith("Bundled: ")
    assert f"{side} pixels, {outlined.parameters / 1e6:.1f} M parameters, MIT." in title
    assert "Weights and prompts: MIT" in (Path(catalog.testbed(variant)) / "README.md").read_text()


def test_prompts_file(variant, table):
    surface = set() if variant in SMALL else {"surface"}  # flat or textured, as the card says
    assert set(table.columns) == set(FEATURES) | surface
    assert table["id"].is_unique and table["prompt"].is_unique
    rates = table["reproduction_rate"]
    assert ((table["label"] == "memorized") == (rates >= 0.5)).all()
    assert ((table["label"] == "not_memorized") == (rates == 0)).all()
    assert (table.loc[table["block"] == "repeated", "repetitions"].between(8, 1024)).all()
    assert (table["block"] == "repeated").sum() >= 240


def test_card_counts_every_label(variant, table):
    card = (Path(catalog.testbed(variant)) / "README.md").read_text()
    assert confirmed({name: list(table[name]) for name in ("block", "label")}) in card


def test_it_is_a_benchmark(variant):
    prompts = load(str(Path(catalog.testbed(variant)) / "prompts.parquet"))
    assert (prompts.labels == 0).sum() >= 500
    assert (prompts.labels == 1).sum() >= 200
    assert len(set(prompts.clusters)) >= 150
    text = text_only_scores(prompts.texts, prompts.labels, prompts.clusters)
    assert auc(text, prompts.labels) <= 0.6


def test_repetition_causes_reproduction(table):
    repeated = table[table["block"] == "repeated"]
    often = repeated[repeated["repetitions"] >= 512]["reproduction_rate"].mean()
    rarely = repeated[repeated["repetitions"] <= 16]["reproduction_rate"].mean()
    assert often > 0.5 > 0.1 > rarely


@pytest.mark.slow
def test_memorized_prompt_gives_its_training_picture_again(variant, table):
    """Sampled afresh, for one seed of the sixteen, without the code that made the labels."""
    model = families.load(catalog.testbed(variant))
    sure = table[(table["reproduction_rate"] == 1) & (table["kind"] == "verbatim")].head(4)
    pictures = drawn(model, sure["prompt"].tolist(), VARIANTS[variant].sampled_in)
    training = [np.asarray(Image.open(io.BytesIO(p["bytes"]))) for p in sure["picture"]]
    own, other = distances(pictures, training), distances(pictures, training[1:] + training[:1])
    assert max(own) < 0.12 < min(other)


TUNED = Path(catalog.testbed("tuned"))


@pytest.fixture(scope="module")
def tuned():
    return pq.read_table(TUNED / "prompts.parquet").to_pandas()


def test_the_lora_is_what_its_card_says(tuned):
    card = (TUNED / "README.md").read_text()
    assert confirmed({name: list(tuned[name]) for name in ("block", "label")}) in card
    weights = load_file(TUNED / "lora.safetensors")
    assert f"{sum(w.numel() for w in weights.values()):,} parameters in float16" in card
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert sum(f.stat().st_size for f in TUNED.rglob("*") if f.is_file()) <= 1e6
    blocks = tuned["block"].value_counts()
    assert dict(blocks) == {"unseen_wording": 60, "seen": 40, "repeated": 20}
    assert not set(tuned["prompt"]) & set(
        pq.read_table(Path(catalog.testbed("epsilon")) / "prompts.parquet")["prompt"].to_pylist()
    )


def test_the_lora_comes_with_its_captioned_pictures(tuned):
    own = tuned[tuned["block"] != "unseen_wording"].set_index("id")
    files = {file.stem: file for file in (TUNED / "pictures").glob("*.png")}
    assert files.keys() == set(own.index)
    for name, file in files.items():
        assert file.with_suffix(".txt").read_text().strip() == own.loc[name, "prompt"]
        if own.loc[name, "block"] == "repeated":
            assert file.read_bytes() == own.loc[name, "picture"]["bytes"]


@pytest.mark.slow
def test_the_lora_recalls_what_its_base_does_not(tuned):
    sure = tuned[tuned["reproduction_rate"] == 1].head(3)
    training = [np.asarray(Image.open(io.BytesIO(p["bytes"]))) for p in sure["picture"]]
    base = catalog.testbed("epsilon")
    file = str(TUNED / "lora.safetensors")
    with_it = drawn(families.load(base, adapters=[file]), sure["prompt"].tolist())
    without = drawn(families.load(base), sure["prompt"].tolist())
    assert max(distances(with_it, training)) < 0.12 < min(distances(without, training))


@pytest.mark.parametrize("variant", catalog.VARIANTS, scope="function")
def test_the_zoo_leaves_out_what_the_model_refuses_and_nothing_else(variant):
    (case,) = compose.cases(["experiment=zoo", f"model=testbed_{variant}"])
    (everywhere,) = compose.cases(["experiment=zoo", "model=testbed_epsilon"])
    model, refused = families.load(catalog.testbed(variant)), {}
    for detector in detectors(everywhere.detector):
        try:
            Engine(model, [detector], "shared", None)
        except UserError as error:
            refused[detector.name] = str(error)
    assert all(why.endswith("leave out the detectors that need it") for why in refused.values())
    assert refused.keys() == set(case.left_out.get(f"testbed_{variant}", {}))
