"""Closed-form models against densities written out with torch.distributions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import distributions as td

from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.prediction import Parameterisation
from anisomem.models.schedule import FlowSchedule

ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
WEIGHTS, STDS = [0.2, 0.3, 0.5], [0.1, 0.6, 1.5]
SHAPE = (2, 2, 3)


def mixture(parameterisation=Parameterisation.EPSILON):
    means = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    return AnalyticMixture(means, STDS, ["a", "b", "c"], WEIGHTS, parameterisation)


def single(parameterisation, s=0.7, schedule=None):
    mean = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(3)).double()
    return AnalyticMixture(mean, [s], ["it"], None, parameterisation, schedule)


def density(model, t, component=None):
    """p_t without a prompt, or with that of a component."""
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor([t])))
    spread = torch.tensor(STDS, dtype=torch.float64).mul(alpha).square().add(sigma**2).sqrt()
    parts = td.Independent(td.Normal(alpha * model.means, spread[:, None, None, None]), 3)
    if component is not None:
        return lambda x: parts.log_prob(x[:, None])[:, component]
    weights = td.Categorical(torch.tensor(WEIGHTS, dtype=torch.float64))
    return td.MixtureSameFamily(weights, parts).log_prob


def points(model, t, n=6):
    """Noised data of all components, and the same halfway between them."""
    noise = torch.randn(2, n, *SHAPE, generator=torch.Generator().manual_seed(t)).double()
    x0 = model.means.mean(0) + 0.5 * noise[0]
    return ALPHA_BAR[t] ** 0.5 * x0 + (1 - ALPHA_BAR[t]) ** 0.5 * noise[1]


def test_scales_are_those_of_the_scaled_linear_schedule():
    alpha, sigma = mixture().scales(torch.arange(1000))
    assert alpha.dtype == sigma.dtype == torch.float64
    # diffusers multiplies 1 - beta in float32
    np.testing.assert_allclose(alpha**2, ALPHA_BAR, rtol=1e-5)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha), rtol=0, atol=1e-15)


@pytest.mark.parametrize("parameterisation", Parameterisation)
@pytest.mark.parametrize("t", [999, 981, 501, 141, 1, 0])
def test_score_is_the_gradient_of_the_log_density(parameterisation, t):
    model = mixture(parameterisation)
    x = points(model, t).requires_grad_()
    for prompt, component in (("", None), ("a", 0), ("c", 2)):
        log_density = density(model, t, component)(x)
        (expected,) = torch.autograd.grad(log_density.sum(), x)
        actual = model.predict(x.detach(), t, model.encode([prompt] * len(x))).score
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)

    # One timestep and one prompt per row give the same as each alone.
    steps, prompts = torch.tensor([t, 981, 1]), ["a", "", "b"]
    together = model.predict(x.detach()[:3], steps, model.encode(prompts)).score
    for i in range(3):
        alone = model.predict(x.detach()[[i]], int(steps[i]), model.encode([prompts[i]])).score
        torch.testing.assert_close(together[[i]], alone, rtol=1e-9, atol=1e-9)


def test_unequal_weights_are_exact_in_float64():
    # Where two components are equally likely but for their weights, at x = 0 between means +-m
    # of equal std, the unconditional score is alpha m (w - (1 - w)) / v; at float32 weights it
    # would miss the last eight digits.
    mean = torch.full((1, *SHAPE), 0.3, dtype=torch.float64)
    model = AnalyticMixture(torch.cat([mean, -mean]), [0.5, 0.5], ["+", "-"], [0.9, 0.1])
    alpha, sigma = model.scales(torch.tensor([501]))
    expected = alpha * 0.3 * (0.9 - 0.1) / (alpha**2 * 0.25 + sigma**2)
    x = torch.zeros(1, *SHAPE, dtype=torch.float64)
    score = model.predict(x, 501, model.encode([""])).score
    torch.testing.assert_close(score, expected.expand_as(score), rtol=1e-12, atol=0)


@pytest.mark.parametrize("parameterisation", Parameterisation)
def test_jvp_of_a_gaussian(parameterisation):
    # The regressions of test_base.gaussian are affine in x; these are their slopes.
    s, model = 0.7, single(parameterisation)
    for t in (981, 41):
        alpha, sigma = (float(scale) for scale in model.scales(torch.tensor([t])))
        slope = {
            Parameterisation.EPSILON: sigma,
            Parameterisation.SAMPLE: alpha * s**2,
            Parameterisation.VELOCITY: alpha * sigma * (1 - s**2),
            Parameterisation.FLOW: sigma - alpha * s**2,
        }[parameterisation] / (alpha**2 * s**2 + sigma**2)
        x, tangent = torch.randn(2, 4, *SHAPE, generator=torch.Generator().manual_seed(t)).double()
        for prompt in ("", "it"):
            prediction, derivative = model.jvp(x, t, model.encode([prompt] * 4), tangent)
            torch.testing.assert_close(derivative, slope * tangent, rtol=1e-9, atol=1e-12)
            plain = model.predict(x, t, model.encode([prompt] * 4))
            torch.testing.assert_close(prediction.raw, plain.raw, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("t", [981, 141])
def test_jvp_of_a_mixture_is_the_hessian_of_the_log_density(t):
    model = mixture()  # epsilon = -sigma score, so its derivative is -sigma times the Hessian
    x = points(model, t, 2)
    tangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(9)).double()
    _, derivative = model.jvp(x, t, model.encode(["", ""]), tangent)
    for i in range(len(x)):

        def log_density(flat):
            return density(model, t)(flat.view(1, *SHAPE)).sum()

        hessian = torch.autograd.functional.hessian(log_density, x[i].flatten())
        expected = -model.scales(torch.tensor(t))[1] * hessian @ tangent[i].flatten()
        torch.testing.assert_close(derivative[i].flatten(), expected, rtol=1e-9, atol=1e-9)

    def network(latents):
        return model.predict(latents, t, model.encode(["", ""])).raw

    jacobian = torch.autograd.functional.jacobian(network, x).view(x.numel(), x.numel())
    torch.testing.assert_close(
        derivative.flatten(), jacobian @ tangent.flatten(), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("parameterisation", Parameterisation)
@pytest.mark.parametrize("num_steps", [50, 10])
def test_sampling_a_gaussian_follows_the_closed_form_map(parameterisation, num_steps):
    # From the regressions of test_base.gaussian, with x_s = alpha_s x_0 + sigma_s eps,
    #   x_s - alpha_s mu = (alpha_s alpha_t s^2 + sigma_s sigma_t) / v_t (x_t - alpha_t mu),
    # so the whole trajectory is one product. With and without the prompt agree: guidance is idle.
    # 50 steps are t = 981, 961, ..., 1; 10 are 901, 801, ..., 1; the last goes to t = 0.
    s, model = 0.7, single(parameterisation)
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2)).double()
    steps = [*range(1001 - 1000 // num_steps, 0, -1000 // num_steps), 0]
    alpha, sigma = (scale.tolist() for scale in model.scales(torch.tensor(steps)))
    product = 1.0
    for i in range(num_steps):
        gain = alpha[i + 1] * alpha[i] * s**2 + sigma[i + 1] * sigma[i]
        product *= gain / (alpha[i] ** 2 * s**2 + sigma[i] ** 2)
    expected = alpha[-1] * model.means + product * (x - alpha[0] * model.means)
    sampled = model.sample(x, model.encode(["it"] * 3), num_steps)
    torch.testing.assert_close(sampled, expected, rtol=1e-9, atol=1e-9)
    assert model.nfe == 2 * 3 * num_steps


FLOW = FlowSchedule(FlowMatchEulerDiscreteScheduler(shift=3.0))


@pytest.mark.parametrize("parameterisation", [Parameterisation.SAMPLE, Parameterisation.FLOW])
def test_flow_matching_is_exact_from_noise_to_data(parameterisation):
    # x_t ~ N((1 - sigma) mu, (1 - sigma)^2 s^2 + sigma^2), also at pure noise, where sigma is 1.
    s, model = 0.7, single(parameterisation, schedule=FLOW)
    t = torch.arange(1, 1001)
    x = torch.randn(1000, *SHAPE, generator=torch.Generator().manual_seed(6)).double()
    sigma = (t / 1000).double()[:, None, None, None]
    variance = (1 - sigma) ** 2 * s**2 + sigma**2
    r = (x - (1 - sigma) * model.means) / variance
    prediction = model.predict(x, t, model.encode(["it"] * 1000))
    close = {"rtol": 1e-6, "atol": 1e-6}  # t / 1000 is rounded in float32
    torch.testing.assert_close(prediction.score, -r, **close)
    torch.testing.assert_close(prediction.epsilon, sigma * r, **close)
    torch.testing.assert_close(prediction.x0, model.means + (1 - sigma) * s**2 * r, **close)


def test_flow_sampling_follows_eulers_method():
    # dx/dsigma = eps - x_0 = a x + b at every sigma, one step after the other, on the shifted
    # grid of Esser et al., eq. 23: sigma -> 3 sigma / (1 + 2 sigma).
    s, model, num_steps = 0.7, single(Parameterisation.FLOW, schedule=FLOW), 9
    start = x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2)).double()
    least = 3 * 0.001 / (1 + 2 * 0.001)  # the scheduler's grid ends where training's does
    grid = np.linspace(1, least, num_steps)
    sigmas = [*(3 * grid / (1 + 2 * grid)), 0.0]
    np.testing.assert_allclose(model.timesteps(num_steps), 1000 * np.array(sigmas[:-1]), rtol=1e-6)
    for now, then in pairwise(sigmas):
        r = (x - (1 - now) * model.means) / ((1 - now) ** 2 * s**2 + now**2)
        x = x + (then - now) * (now * r - model.means - (1 - now) * s**2 * r)
    sampled = model.sample(start, model.encode(["it"] * 3), num_steps)
    torch.testing.assert_close(sampled, x, rtol=1e-5, atol=1e-6)


def test_guidance_extrapolates_between_two_gaussians():
    # One step from t = 1 to t = 0 with w = 0 and w = 1 is the plain mixture and the plain
    # component; the guided latent is affine in w.
    model = mixture()
    x = points(model, 1, 2)
    conditioning = model.encode(["a", "b"])
    zero, one, guided = (model.sample(x, conditioning, 1, w) for w in (0.0, 1.0, 7.5))
    torch.testing.assert_close(guided, zero + 7.5 * (one - zero), rtol=1e-9, atol=1e-9)
    single_component = AnalyticMixture(model.means[:1], STDS[:1], ["a"])
    alone = single_component.sample(x[:1], single_component.encode(["a"]), 1, 7.5)
    torch.testing.assert_close(one[:1], alone, rtol=1e-9, atol=1e-9)


def test_a_misspelt_component_is_named():
    with pytest.raises(UserError, match="no component named 'ti'; did you mean 'it'"):
        single(Parameterisation.EPSILON).encode(["it", "ti"])
