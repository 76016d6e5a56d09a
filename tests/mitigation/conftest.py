import pytest
import torch

from anisomem.models.diffusers_unet import DiffusersUNet

PROMPTS = ["a red cat", "dog"]


@pytest.fixture
def prompts():
    """One of four tokens with start and end, one of three, padded to ten."""
    return list(PROMPTS)


@pytest.fixture
def build(make_pipeline):
    """A tiny model; its weights are for Stable Diffusion v1.4 unless said otherwise."""

    def made(stands_for="sd14", **choices):
        return DiffusersUNet(make_pipeline(**choices), stands_for)

    return made


@pytest.fixture
def model(build):
    """A tiny noise predictor in float64, where differences of losses are exact."""
    return build(dtype=torch.float64)


@pytest.fixture
def noise(model, prompts):
    """Both prompts' noise, of seed 0."""
    return model.initial_noise(0, 1).repeat(len(prompts), 1, 1, 1)
