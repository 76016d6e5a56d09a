"""Stable Diffusion v1 and v2 where they vary; what all families share is test_conformance.py's."""

import numpy as np
import pytest
import torch

from anisomem.models.diffusers_unet import DiffusersUNet

PROMPTS = ["a cat", "a red dog", "red"]
LONG = "a very red cat and"  # 12 tokens with start and end, in a model of 10


def relative(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def test_encode_equals_the_pipelines(make_pipeline):
    pipeline = make_pipeline()
    model = DiffusersUNet(pipeline)
    prompts = [*PROMPTS, LONG, LONG + " and more"]
    with torch.no_grad():
        conditional, unconditional = pipeline.encode_prompt(prompts, "cpu", 1, True)
    torch.testing.assert_close(model.encode(prompts).tensors["embeddings"], conditional)
    empty = model.encode([""] * 5).tensors["embeddings"]
    torch.testing.assert_close(empty, unconditional)
    assert relative(conditional, unconditional) > 0.1


@pytest.mark.parametrize(
    "choices",
    [
        {"set_alpha_to_one": True},
        {"channels": 3, "size": (8, 16), "seed": 2},
    ],
    ids=["alpha_to_one", "not_square"],
)
def test_sampling_equals_the_pipelines(make_pipeline, choices):
    pipeline = make_pipeline(**choices)
    model = DiffusersUNet(pipeline)
    x = model.initial_noise(5, 2)
    expected = pipeline(
        PROMPTS[:2],
        latents=x,
        num_inference_steps=50,
        guidance_scale=7.5,
        output_type="latent",
    ).images
    actual = model.sample(x, model.encode(PROMPTS[:2]))
    for i in range(2):
        assert relative(actual[i], expected[i]) < 1e-5
        assert relative(x[i], expected[i]) > 0.1


def test_final_step_depends_on_set_alpha_to_one(make_pipeline):
    stable = DiffusersUNet(make_pipeline())
    to_one = DiffusersUNet(make_pipeline(set_alpha_to_one=True))
    assert [float(s) for s in to_one.schedule.final_scales] == [1.0, 0.0]
    alpha, sigma = stable.schedule.final_scales
    assert float(alpha) ** 2 == pytest.approx(1 - 0.00085, abs=1e-6)
    assert float(sigma) ** 2 == pytest.approx(0.00085, abs=1e-6)


def test_schedule(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    steps = model.timesteps()
    assert steps == list(range(981, 0, -20))
    assert (len(steps), steps[0], steps[-3]) == (50, 981, 41)
    assert model.timesteps(10) == list(range(901, 0, -100))
    assert model.timesteps() == steps

    alpha, sigma = model.scales(torch.tensor([981, 961, 41, 1]))
    assert alpha.dtype == sigma.dtype == torch.float64
    np.testing.assert_allclose(alpha**2, [0.00578, 0.00728, 0.96087, 0.99830], atol=6e-6)
    np.testing.assert_allclose(sigma[[0, 2, 3]], [0.9971, 0.1978, 0.0413], atol=6e-5)


def test_pictures_that_are_not_square(make_pipeline):
    pipeline = make_pipeline(channels=3, size=(8, 16), seed=2)
    model = DiffusersUNet(pipeline)
    x = model.initial_noise(7, 2)
    common = {"latents": x, "num_inference_steps": 2}
    latents = pipeline(PROMPTS[:2], output_type="latent", **common).images
    pictures = pipeline(PROMPTS[:2], output_type="pil", **common).images
    actual = model.decode(latents)
    assert actual.shape == (2, 16, 32, 3)
    np.testing.assert_array_equal(actual, np.stack([np.asarray(p) for p in pictures]))
    assert actual.std() > 10
