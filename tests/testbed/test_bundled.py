"""The bundled models are what their cards say."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline

from anisomem.config import catalog, compose
from anisomem.datasets.files import load
from anisomem.detection.configured import detectors
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.evaluation import auc, text_only_scores
from anisomem.models import families
from anisomem.testbed.ground_truth import SEEDS
from anisomem.testbed.release import FEATURES, confirmed

UNETS = {"epsilon": "epsilon", "velocity": "v_prediction"}
#: The steps of the trajectories by which it was labelled, where they are not 50.
STEPS = {"flow": 28}


@pytest.fixture(scope="module", params=catalog.VARIANTS)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def table(variant):
    return pq.read_table(Path(catalog.testbed(variant)) / "prompts.parquet").to_pandas()


def test_plain_diffusers_loads_and_samples_it(variant):
    folder, side = Path(catalog.testbed(variant)), 32 if variant in UNETS else 64
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
    surface = set() if variant in UNETS else {"surface"}  # flat or textured, as the card says
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
    assert (prompts.labels == 0).sum() >= 480
    assert (prompts.labels == 1).sum() >= 60
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
    import io

    from PIL import Image

    model = families.load(catalog.testbed(variant))
    sure = table[(table["reproduction_rate"] == 1) & (table["kind"] == "verbatim")].head(4)
    noise = model.initial_noise(SEEDS[0], 1).repeat(len(sure), 1, 1, 1)
    with torch.inference_mode():
        prompts = model.encode(sure["prompt"].tolist())
        pictures = model.decode(model.sample(noise, prompts, STEPS.get(variant, 50)))
    training = [np.asarray(Image.open(io.BytesIO(p["bytes"]))) for p in sure["picture"]]
    own = [
        ((a / 255.0 - b / 255.0) ** 2).mean() ** 0.5
        for a, b in zip(pictures, training, strict=True)
    ]
    other = [
        ((a / 255.0 - b / 255.0) ** 2).mean() ** 0.5
        for a, b in zip(pictures, training[1:] + training[:1], strict=True)
    ]
    assert max(own) < 0.12 < min(other)


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
