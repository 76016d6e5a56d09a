"""Wen's norm and Jeon's sharpness against literal versions and a closed form."""

import numpy as np
import pytest
import torch
from anisomem.baselines.jeon import JeonSharpness
from anisomem.baselines.wen import SquaredNorm, WenNorm

from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.prediction import Parameterisation

PROMPTS = ["a cat", "a red dog", "red"]


def network(pipeline, prompt, n):
    """The U-Net at t = 981 as a function of the latents, with and without the prompt."""
    embeddings, negative = pipeline.encode_prompt(prompt, "cpu", n, True)

    def output(latents, states):
        return pipeline.unet(latents, 981, encoder_hidden_states=states).sample

    return lambda x: output(x, embeddings), lambda x: output(x, negative)


def noise(seed, n, dtype=torch.float64):
    torch.manual_seed(seed)
    return torch.randn(n, 4, 8, 8).to(dtype)


@torch.no_grad()
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_wen_is_the_norm_of_the_raw_difference(make_pipeline, make_prompts, prediction_type):
    pipeline = make_pipeline(prediction_type=prediction_type)
    detector = WenNorm("wen", n=4)
    recorded = Engine(DiffusersUNet(pipeline), [detector]).evaluate(PROMPTS, range(3), 42)
    scores = detector.combine(Recorded(recorded, make_prompts(PROMPTS, [1, 0, 0])))
    for row, prompt in enumerate(PROMPTS):
        c, u = network(pipeline, prompt, 4)
        x = noise(42, 4, torch.float32)
        norms = [float(((a - b) ** 2).sum()) ** 0.5 for a, b in zip(c(x), u(x), strict=True)]
        np.testing.assert_allclose(recorded[detector.component_names[0]][row], norms, rtol=1e-5)
        assert scores[row] == pytest.approx(sum(norms) / 4, rel=1e-5)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_jeon_is_the_released_jvp_of_scores(make_pipeline, make_prompts, prediction_type):
    pipeline = make_pipeline(prediction_type=prediction_type, dtype=torch.float64)
    model = DiffusersUNet(pipeline)
    released, paper = JeonSharpness("r", n=2), JeonSharpness("p", n=2, convention="paper")
    recorded = Engine(model, [released, paper]).evaluate(PROMPTS, range(3), 42)
    abar = pipeline.scheduler.alphas_cumprod[981].double()
    sigma = (1 - abar).sqrt()
    x = noise(42, 2)

    def released_score(output):
        if prediction_type == "epsilon":
            return lambda latents: -output(latents) / sigma
        # x comes from outside and is not differentiated, as in the released code
        return lambda latents: (abar.sqrt() * output(latents) - x) / (1 - abar)

    def true_score(output):
        if prediction_type == "epsilon":
            return lambda latents: -output(latents) / sigma
        return lambda latents: -(abar.sqrt() * output(latents) + sigma * latents) / sigma

    for row, prompt in enumerate(PROMPTS):
        for score, detector in ((released_score, released), (true_score, paper)):
            c, u = (score(output) for output in network(pipeline, prompt, 2))
            with torch.no_grad():
                v = c(x) - u(x)
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                along_c = torch.func.jvp(c, (x,), (v,))[1]
                along_u = torch.func.jvp(u, (x,), (v,))[1]
            expected = (along_c - along_u).detach().flatten(1).norm(dim=1)
            np.testing.assert_allclose(
                recorded[detector.component_names[0]][row], expected, rtol=1e-8
            )
            scores = detector.combine(Recorded(recorded, make_prompts(PROMPTS, [1, 0, 0])))
            assert scores[row] == pytest.approx(float(expected.mean()), rel=1e-8)
    assert model.jvps == 3 * 2 * 2  # prompts, samples, with and without the prompt


@pytest.mark.parametrize("parameterisation", Parameterisation)
@pytest.mark.parametrize("noise_policy", ["shared", "per_prompt"])
def test_jeon_in_closed_form(parameterisation, noise_policy):
    # Two Gaussians N(+-m, s^2 I) of equal weight, with v = alpha^2 s^2 + sigma^2 and
    # tau = tanh(alpha m.x / v), have (see test_anisotropy) the guidance
    #   s_delta(+-) = alpha (+-1 - tau) m / v,
    # and the derivative of that in x, d tau / dx = (1 - tau^2) alpha m / v, gives
    #   J_delta = -alpha^2 (1 - tau^2) m m' / v^2,
    # which along s_delta has the length alpha^3 |m|^3 (1 - tau^2) |+-1 - tau| / v^3.
    m = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    m *= 6 / m.norm()
    model = AnalyticMixture(torch.cat([m, -m]), [3.0, 3.0], ["+", "-"], None, parameterisation)
    paper, released = JeonSharpness("p", convention="paper"), JeonSharpness("r")
    engine = Engine(model, [paper, released], noise_policy)
    recorded = engine.evaluate(["+", "-"], [0, 1], 7)
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(981)))
    v = 9 * alpha**2 + sigma**2
    for row, sign in enumerate((1, -1)):
        torch.manual_seed(7 + row * (noise_policy == "per_prompt"))
        x = torch.randn(4, 2, 2).double()
        tau = np.tanh(float(alpha * (m * x).sum() / v))
        expected = (6 * alpha / v) ** 3 * (1 - tau**2) * abs(sign - tau)
        assert recorded[paper.component_names[0]][row, 0] == pytest.approx(expected, rel=1e-9)
        if parameterisation == Parameterisation.VELOCITY:
            expected /= sigma**2  # alpha / sigma^2 instead of alpha / sigma, twice
        assert recorded[released.component_names[0]][row, 0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("parameterisation", Parameterisation)
def test_steps_along_a_guided_trajectory_in_closed_form(parameterisation, make_prompts):
    # The same two Gaussians: eps_c = sigma (x - alpha m) / v and eps_u = sigma (x - alpha tau m)
    # / v at every step, and DDIM's own recursion with guidance 7.5.
    m = np.random.default_rng(0).normal(size=(4, 2, 2))
    m *= 3 / np.linalg.norm(m)
    means = torch.from_numpy(np.stack([m, -m]))
    model = AnalyticMixture(means, [1.5, 1.5], ["+", "-"], None, parameterisation)
    wen, jeon = WenNorm("w", steps=50), JeonSharpness("j", convention="paper", steps=5)
    squared = SquaredNorm("s", at="step:0")
    recorded = Engine(model, [wen, jeon, squared]).evaluate(["+"], [0], 7)
    torch.manual_seed(7)
    x = torch.randn(4, 2, 2).double().numpy()
    steps = model.timesteps()
    scales = [tuple(map(float, model.scales(torch.tensor(t)))) for t in steps]
    ends = [*scales[1:], tuple(map(float, model.schedule.final_scales))]
    outputs, sharpness = [], []
    for (alpha, sigma), (next_alpha, next_sigma) in zip(scales, ends, strict=True):
        v = 2.25 * alpha**2 + sigma**2
        tau = np.tanh(alpha * (m * x).sum() / v)
        c, u = sigma * (x - alpha * m) / v, sigma * (x - alpha * tau * m) / v
        per_output = {"epsilon": 1, "v_prediction": 1 / alpha, "sample": sigma / alpha}
        factor = per_output.get(parameterisation, (alpha + sigma) / alpha)
        outputs.append(np.linalg.norm(c - u) * factor)
        sharpness.append((3 * alpha / v) ** 3 * (1 - tau**2) * (1 - tau))
        guided = u + 7.5 * (c - u)
        x = next_alpha * (x - sigma * guided) / alpha + next_sigma * guided
    given = Recorded(recorded, make_prompts(["+", "-"], [1, 0]))
    assert wen.combine(given)[0] == pytest.approx(np.mean(outputs), rel=1e-7)
    assert jeon.combine(given)[0] == pytest.approx(np.mean(sharpness[:5]), rel=1e-7)
    assert squared.combine(given)[0] == pytest.approx(outputs[0] ** 2, rel=1e-9)


def test_an_unknown_convention_is_one_line():
    with pytest.raises(UserError, match="convention named 'relased'; did you mean 'released'"):
        JeonSharpness("j", convention="relased")
