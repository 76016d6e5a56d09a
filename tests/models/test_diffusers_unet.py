"""The wrapper against diffusers' own pipeline."""

import numpy as np
import pytest
import torch

from anisomem.errors import UserError
from anisomem.models.base import Parameterisation
from anisomem.models.diffusers_unet import DiffusersUNet

PROMPTS = ["a cat", "a red dog", "red"]
LONG = "a very red cat"  # 12 tokens with start and end, in a model of 10


def relative(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def test_prompts_matter(make_pipeline):
    # What every other test here relies on: u, c and the timesteps differ by much.
    for choices in ({}, {"prediction_type": "v_prediction", "seed": 1}):
        model = DiffusersUNet(make_pipeline(**choices))
        x = model.initial_noise(0, 1).repeat(3, 1, 1, 1)
        c = [model.predict(x, t, model.encode(PROMPTS)).raw for t in (981, 41)]
        u = model.predict(x, 981, model.encode([""] * 3)).raw
        for i in range(3):
            assert relative(c[0][i], u[i]) > 0.05
            assert relative(c[0][i], c[1][i]) > 0.05
            assert relative(c[0][i], c[0][i - 1]) > 0.05


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


def test_truncated_counts_prompts_that_encoding_cuts(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    # Words of the vocabulary are one token, others one per letter: 1 + 1 + 4 + 1 + 2 + 1.
    fits = "a very red bd"
    assert len(model.pipeline.tokenizer(fits).input_ids) == 10
    assert len(model.pipeline.tokenizer(fits + " a").input_ids) == 11
    assert model.truncated(["", "a cat", fits]) == 0
    assert model.truncated([fits + " a", "a cat", fits + " and more", fits + " a"]) == 3

    cut = model.encode([fits + " a", fits + " and more", fits]).tensors["embeddings"]
    torch.testing.assert_close(cut[0], cut[1])
    torch.testing.assert_close(cut[0], cut[2])


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"prediction_type": "v_prediction", "seed": 1},
        {"set_alpha_to_one": True},
        {"channels": 3, "size": (8, 16), "seed": 2},
    ],
    ids=["epsilon", "velocity", "alpha_to_one", "not_square"],
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
    assert [float(s) for s in to_one.final_scales] == [1.0, 0.0]
    alpha, sigma = stable.final_scales
    assert float(alpha) ** 2 == pytest.approx(1 - 0.00085, abs=1e-6)
    assert float(sigma) ** 2 == pytest.approx(0.00085, abs=1e-6)


def test_noise_is_what_a_seeded_script_draws(make_pipeline):
    for choices, shape in (({}, (4, 8, 8)), ({"channels": 3, "size": (8, 16)}, (3, 8, 16))):
        model = DiffusersUNet(make_pipeline(**choices))
        assert model.latent_shape == shape
        state = torch.get_rng_state()
        for n in (1, 4):
            actual = model.initial_noise(42, n)
            torch.manual_seed(42)
            assert torch.equal(actual, torch.randn(n, *shape))
            assert torch.equal(actual[:1], model.initial_noise(42, 1))
        torch.set_rng_state(state)
        model.initial_noise(1, 4)
        assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone


def test_schedule(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    steps = model.timesteps()
    assert steps == list(range(981, 0, -20))
    assert (len(steps), steps[0], steps[-3]) == (50, 981, 41)
    assert model.timesteps(10) == list(range(901, 0, -100))
    assert model.timesteps() == steps
    assert model.num_train_timesteps == 1000

    alpha, sigma = model.scales(torch.tensor([981, 961, 41, 1]))
    assert alpha.dtype == sigma.dtype == torch.float64
    np.testing.assert_allclose(alpha**2, [0.00578, 0.00728, 0.96087, 0.99830], atol=6e-6)
    np.testing.assert_allclose(sigma[[0, 2, 3]], [0.9971, 0.1978, 0.0413], atol=6e-5)


def test_each_row_has_its_own_timestep_and_prompt(make_pipeline):
    model = DiffusersUNet(make_pipeline(dtype=torch.float64))
    x = model.initial_noise(0, 3).double()
    together = model.predict(x, torch.tensor([981, 41, 501]), model.encode(PROMPTS)).raw
    for i, t in enumerate((981, 41, 501)):
        with torch.no_grad():
            embeddings = model.pipeline.encode_prompt(PROMPTS[i], "cpu", 1, False)[0]
            alone = model.unet(x[[i]], t, encoder_hidden_states=embeddings).sample
        torch.testing.assert_close(together[[i]], alone, rtol=1e-9, atol=1e-9)
    assert model.nfe == 3


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_jvp_against_a_central_difference(make_pipeline, prediction_type):
    model = DiffusersUNet(make_pipeline(prediction_type=prediction_type, dtype=torch.float64))
    x = model.initial_noise(3, 2).double()
    tangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(4)).double()
    conditioning = model.encode(["a red dog", ""])
    prediction, derivative = model.jvp(x, 981, conditioning, tangent)
    assert (model.jvps, model.nfe) == (2, 0)

    def network(latents):
        return model.predict(latents, 981, conditioning).raw

    h = 1e-5
    expected = (network(x + h * tangent) - network(x - h * tangent)) / (2 * h)
    assert relative(derivative, expected) < 1e-8
    torch.testing.assert_close(prediction.raw, network(x), rtol=1e-9, atol=1e-9)
    # The two conditionings bend the network differently, so their difference is a real test.
    assert relative(derivative[0], derivative[1]) > 0.1


def test_decode_equals_the_pipelines_pictures(make_pipeline):
    for choices in ({}, {"channels": 3, "size": (8, 16), "seed": 2}):
        pipeline = make_pipeline(**choices)
        model = DiffusersUNet(pipeline)
        x = model.initial_noise(7, 2)
        common = {"latents": x, "num_inference_steps": 2}
        latents = pipeline(PROMPTS[:2], output_type="latent", **common).images
        pictures = pipeline(PROMPTS[:2], output_type="pil", **common).images
        actual = model.decode(latents)
        height, width = (2 * side for side in model.latent_shape[1:])
        assert actual.dtype == np.uint8
        assert actual.shape == (2, height, width, 3)
        np.testing.assert_array_equal(actual, np.stack([np.asarray(p) for p in pictures]))
        assert actual.std() > 10


def test_load_gives_back_the_saved_pipeline(make_pipeline, save_pipeline):
    choices = {"prediction_type": "v_prediction", "channels": 3, "size": (8, 16)}
    saved = DiffusersUNet(make_pipeline(**choices))
    model = DiffusersUNet.load(str(save_pipeline(**choices)), device="cpu", stands_for="sd20")
    assert model.parameterisation is Parameterisation.VELOCITY
    assert (model.latent_shape, model.dtype, model.stands_for) == (
        (3, 8, 16),
        torch.float32,
        "sd20",
    )
    x = model.initial_noise(0, 3)
    expected = saved.predict(x, 41, saved.encode(PROMPTS)).raw
    torch.testing.assert_close(model.predict(x, 41, model.encode(PROMPTS)).raw, expected)

    half = DiffusersUNet.load(str(save_pipeline(**choices)), dtype="bfloat16", device="cpu")
    prediction = half.predict(x, 41, half.encode(PROMPTS))
    assert half.dtype == prediction.raw.dtype == torch.bfloat16
    assert prediction.score.dtype == torch.float32
    assert relative(prediction.raw.float(), expected) < 0.05


@pytest.mark.parametrize("name", ["not there", "empty"])
def test_a_folder_without_a_pipeline_is_one_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        DiffusersUNet.load(str(tmp_path / name))
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / name) in message
    assert "model_index.json" in message
