"""What is trained is what the ordinary pipelines run."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline, StableDiffusionPipeline
from transformers import CLIPTokenizer

from anisomem.models.families import load
from anisomem.models.prediction import Parameterisation
from anisomem.testbed import autoencoder, networks, objectives, text, training

CAPTIONS = ["premium sticker of fox", "cute owl badge", "owl mug for kids"]


@pytest.fixture(scope="module")
def tokenizer():
    return text.train_tokenizer(CAPTIONS, 560)


@pytest.fixture
def vae():
    kind = autoencoder.Autoencoder(16, (8, 8, 8), 1, 1, 1, 1e-3)
    return autoencoder.build(kind)


def unet(tokenizer):
    return networks.UNet(tokenizer, 4, (8, 8, 16), 2, "epsilon")


def test_a_unet_begins_with_the_parts_of_bundled_models():
    flow = CLIPTokenizer.from_pretrained(autoencoder.BUNDLED / "flow" / "tokenizer")
    begun = networks.UNet(flow, 16, (32, 64, 112), 2, "epsilon", start="epsilon", text="flow")
    states = load(str(autoencoder.BUNDLED / "epsilon")).denoiser.state_dict()
    for name, value in begun.unet.state_dict().items():
        assert torch.equal(value, states[name].float()), name
    encoder = load(str(autoencoder.BUNDLED / "flow")).text_encoders[0].text_model.state_dict()
    for name, value in begun.text.state_dict().items():
        assert torch.equal(value, encoder[name]), name


def mmdit(tokenizer):
    """Two blocks; weights that begin at zero are made to count."""
    model = networks.MMDiT(tokenizer, 4, layers=2, heads=2, head_width=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("build", [unet, mmdit])
def test_the_exported_pipeline_predicts_what_was_trained(build, tokenizer, vae, tmp_path):
    torch.manual_seed(0)
    trained = build(tokenizer).eval()
    x, t = torch.randn(2, 4, 4, 4), torch.tensor([981, 41])
    tokens = tokenizer(CAPTIONS[:2], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = trained(x, t, tokens)
    model = load(str(training.export(tmp_path / "model", vae, tokenizer, trained)))
    found = model.predict(x, t, model.encode(CAPTIONS[:2])).output
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)  # weights are in float16
    assert expected.std() > 0.05


@pytest.mark.parametrize(
    ("build", "pipeline_class", "absent"),
    [
        (unet, StableDiffusionPipeline, ()),
        (mmdit, StableDiffusion3Pipeline, ("text_encoder_3", "tokenizer_3")),
    ],
)
def test_plain_diffusers_loads_and_samples_it(
    build, pipeline_class, absent, tokenizer, vae, tmp_path
):
    torch.manual_seed(0)
    training.export(tmp_path / "model", vae, tokenizer, build(tokenizer))
    pipeline = pipeline_class.from_pretrained(tmp_path / "model", **dict.fromkeys(absent))
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("cute owl badge", num_inference_steps=2).images[0]
    assert picture.size == (16, 16)
    assert "_name_or_path" not in (tmp_path / "model" / "vae" / "config.json").read_text()


def test_flow_pairs_data_and_noise_on_a_straight_line():
    torch.manual_seed(0)
    x0 = torch.randn(2000, 1, 2, 2)
    task = objectives.flow(x0)
    sigma = (task.t / 1000)[:, None, None, None]
    torch.testing.assert_close(task.x_t - sigma * task.target, x0, rtol=1e-4, atol=1e-5)
    noise = task.target + x0
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05
    # The logit of the time is standard normal: half below 1/2, 15.9% above sigmoid(1).
    share = (task.t > 1000 * torch.sigmoid(torch.tensor(1.0))).float().mean()
    assert abs(share - 0.159) < 0.03 and abs((task.t < 500).float().mean() - 0.5) < 0.04


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_weighted_noise_loss_is_the_velocity_loss_where_it_is_not_cut(prediction_type):
    torch.manual_seed(0)
    x0 = torch.randn(500, 1, 2, 2)
    task = objectives.diffusion(x0, prediction_type)
    assert task.weight.max() <= 30 and task.weight.min() >= 1
    if prediction_type == "v_prediction":
        assert (task.weight == 1).all()
    else:
        low = task.t < 300
        assert np.all(np.diff(task.weight[low][task.t[low].argsort()]) >= 0)


def test_the_flow_pipeline_is_one_of_the_projects_own(tokenizer, vae, tmp_path):
    model = load(str(training.export(tmp_path / "model", vae, tokenizer, mmdit(tokenizer))))
    assert model.parameterisation is Parameterisation.FLOW
    assert model.latent_shape == (4, 4, 4)
    assert isinstance(model.pipeline.vae, AutoencoderKL)
    assert model.pipeline.text_encoder_3 is None
