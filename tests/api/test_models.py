"""Models are loaded as a run loads them, or taken from memory."""

import copy

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, StableDiffusionPipeline, UNet2DModel

import anisomem
from anisomem.api import models
from anisomem.config import compose
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.run import devices


def test_a_model_is_loaded_as_a_run_loads_it(folder, model):
    words = ["model=diffusers_folder", f"model.path={folder}", "model.stands_for=sd14"]
    (config, *_) = compose.cases(words)
    run = devices.loaded(config)
    assert type(model) is type(run) and model.stands_for == run.stands_for
    assert model.weights.described == run.weights.described
    assert models.named(model) == config.model_name
    assert models.asked(model, None).model == config.model


def test_a_loaded_model_passes_and_takes_no_settings(model, one_line):
    assert anisomem.load_model(model) is model
    assert "has its device already" in one_line(anisomem.load_model, model, device="cpu")


def test_torch_names_of_precision_and_device_are_taken(folder):
    half = anisomem.load_model(folder, dtype=torch.float16, device=torch.device("cpu"))
    assert half.dtype == torch.float16 and half.device.type == "cpu"


def test_a_pipeline_in_memory_is_its_familys_and_scores_like_its_folder(model, make_pipeline):
    pipeline = copy.deepcopy(make_pipeline())
    pipeline.text_encoder.train()  # which would drop what it reads at random
    taken = anisomem.load_model(pipeline, stands_for="sd14")
    assert type(taken) is DiffusersUNet and taken.pipeline is pipeline
    assert not any(part.training for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae))
    asked = ["red cat", "dog 1"]
    assert anisomem.score(taken, asked, "wen").equals(anisomem.score(model, asked, "wen"))


def test_what_no_family_reads_is_one_line(one_line, make_pipeline):
    class Mine(StableDiffusionPipeline):
        pass

    with torch.random.fork_rng():
        unet = UNet2DModel(
            8,
            block_out_channels=(8,),
            norm_num_groups=4,
            layers_per_block=1,
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
        )
    other = DDPMPipeline(unet, DDPMScheduler())
    assert "is a DDPMPipeline; expected a" in one_line(anisomem.load_model, other)
    mine = Mine(**make_pipeline().components, requires_safety_checker=False)
    assert "is a Mine; expected a" in one_line(anisomem.load_model, mine)
    assert "got Module" in one_line(anisomem.load_model, torch.nn.Module())


def test_parts_of_several_precisions_or_offloaded_ones_are_one_line(make_pipeline, one_line):
    mixed = copy.deepcopy(make_pipeline())
    mixed.unet.half()
    said = one_line(anisomem.load_model, mixed)
    assert "float16 and float32" in said and "pipeline.to(dtype)" in said
    away = copy.deepcopy(make_pipeline())
    away.unet._hf_hook = object()
    assert "offloaded" in one_line(anisomem.load_model, away)


@pytest.mark.parametrize(
    ("source", "settings", "said"),
    [
        ("testbed_epsilom", {}, "did you mean 'testbed_epsilon'?"),
        ("nobody/nothing at all", {}, "no diffusers pipeline at"),
        ("", {}, "no model named ''"),
        ("testbed_epsilon", {"stand_for": "sd14"}, "did you mean 'stands_for'?"),
        ("testbed_epsilon", {"path": "elsewhere"}, "no setting of a model named 'path'"),
        ("testbed_epsilon", {"dtype": "float8"}, "no dtype named 'float8'"),
        ("testbed_epsilon", {"device": "gpu"}, "no device named 'gpu'"),
        (7, {}, "got int"),
        ("/nowhere/at all", {}, "there is no model at /nowhere/at all"),
        ("/tmp/${oc.env:HOME}", {}, "model holds ${"),
        ("testbed_epsilon", {"variant": "${weights}"}, "variant holds ${"),
    ],
)
def test_mistakes_are_one_line(source, settings, said, one_line):
    assert said in one_line(anisomem.load_model, source, **settings)


def test_an_edit_of_the_weights_in_memory_is_seen(folder):
    own = anisomem.load_model(folder)
    before = models.weights_in_memory(own)
    assert models.weights_in_memory(anisomem.load_model(folder)) == before
    with torch.no_grad():
        own.pipeline.unet.conv_out.bias[0] += 1
    assert models.weights_in_memory(own) != before
