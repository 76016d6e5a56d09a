"""Conversions between network outputs, against a Gaussian whose optimal network is known."""

import numpy as np
import pytest
import torch

from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Parameterisation, Prediction

# Every timestep of Stable Diffusion's schedule and of flow matching, from their definitions.
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
ALPHA_BAR = torch.from_numpy(np.cumprod(1 - BETAS))
FLOW_SIGMA = torch.arange(1, 1001, dtype=torch.float64) / 1000
SCALES = {
    "preserving": (ALPHA_BAR.sqrt(), (1 - ALPHA_BAR).sqrt()),
    "flow": (1 - FLOW_SIGMA, FLOW_SIGMA),
}
# Velocity is defined on variance-preserving scales; flow matching begins at pure noise, where
# epsilon alone says nothing about the data.
DEFINED = [
    *(("preserving", p) for p in Parameterisation),
    ("flow", Parameterisation.SAMPLE),
    ("flow", Parameterisation.FLOW),
]


def gaussian(scales="preserving", seed=0, s=0.7, mu=1.3):
    r"""The optimal predictions for x_0 ~ N(mu, s^2 I), one row per timestep.

    (x_0, eps, x) is jointly Gaussian: Var x = v = alpha^2 s^2 + sigma^2, Cov(eps, x) = sigma and
    Cov(x_0, x) = alpha s^2. With r = (x - alpha mu) / v the regressions are eps = sigma r and
    x_0 = mu + alpha s^2 r, hence

        velocity = alpha eps - sigma x_0 = alpha sigma (1 - s^2) r - sigma mu
        flow     = eps - x_0             = (sigma - alpha s^2) r - mu
        score of N(alpha mu, v)          = -r.
    """
    alpha, sigma = SCALES[scales]
    a, b = alpha[:, None, None, None], sigma[:, None, None, None]
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, len(alpha), 3, 2, 4, generator=draw, dtype=torch.float64)
    x = a * (mu + s * noise[0]) + b * noise[1]
    r = (x - a * mu) / (a**2 * s**2 + b**2)
    raw = {
        Parameterisation.EPSILON: b * r,
        Parameterisation.SAMPLE: mu + a * s**2 * r,
        Parameterisation.VELOCITY: a * b * (1 - s**2) * r - b * mu,
        Parameterisation.FLOW: (b - a * s**2) * r - mu,
    }
    return x, alpha, sigma, raw, -r


def assert_close(actual, expected, rtol):
    """Relative to the largest number of each row, by one tolerance or one for each."""
    scale = expected.flatten(1).abs().amax(1)[:, None, None, None]
    assert actual.shape == expected.shape
    limit = torch.as_tensor(rtol).expand(len(scale))[:, None, None, None] * scale
    assert ((actual - expected).abs() <= limit).all()


@pytest.mark.parametrize(("scales", "parameterisation"), DEFINED)
def test_conversions_are_exact_for_a_gaussian(scales, parameterisation):
    x, alpha, sigma, raw, score = gaussian(scales)
    prediction = Prediction(raw[parameterisation], x, alpha, sigma, parameterisation)
    for actual in (prediction, Prediction.cat([prediction[:20], prediction[20:]])):
        assert_close(actual.epsilon, raw[Parameterisation.EPSILON], 1e-9)
        assert_close(actual.x0, raw[Parameterisation.SAMPLE], 1e-9)
        assert_close(actual.score, score, 1e-9)

    row = prediction[7:8].expand(3)
    assert len(row) == 3
    assert_close(row.score, score[[7, 7, 7]], 1e-9)


@pytest.mark.parametrize(("scales", "parameterisation"), DEFINED)
def test_score_per_output_is_the_derivative_of_the_score(scales, parameterisation):
    x, alpha, sigma, raw, _ = gaussian(scales)
    output = raw[parameterisation]
    change = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).double()

    def score(at):
        return Prediction(at, x, alpha, sigma, parameterisation).score

    expected = (score(output + change) - score(output - change)) / 2  # exact: score is affine
    factor = Prediction(output, x, alpha, sigma, parameterisation).score_per_output
    assert factor.shape == (1000,)
    assert factor.dtype == torch.float64
    assert_close(factor[:, None, None, None] * change, expected, 1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("scales", "parameterisation"), DEFINED)
def test_half_precision_outputs_convert_in_float32(scales, parameterisation, dtype):
    x, alpha, sigma, raw, _ = gaussian(scales)
    x, output = x.to(dtype), raw[parameterisation].to(dtype)
    half = Prediction(output, x, alpha, sigma, parameterisation)
    exact = Prediction(output.double(), x.double(), alpha, sigma, parameterisation)
    for name in ("output", "epsilon", "x0", "score"):
        assert getattr(half, name).dtype == torch.float32
        # Differences are taken in float32 before alpha or sigma divides, twice at most.
        limit = 1e-6 / (sigma.clamp(max=1) ** 2 * alpha.clamp(min=0.05))
        assert_close(getattr(half, name).double(), getattr(exact, name), limit)


def test_conditioning_keeps_rows_together():
    a = Conditioning(end=torch.arange(3), embeddings=torch.arange(6).view(3, 2))
    both = Conditioning.cat([a, a[[2, 0]]])
    assert len(both) == 5
    assert both.tensors["end"].tolist() == [0, 1, 2, 2, 0]
    assert both.tensors["embeddings"].tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [0, 1]]
    assert both[1:2].tensors["embeddings"].tolist() == [[2, 3]]
