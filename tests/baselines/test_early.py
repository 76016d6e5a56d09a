"""Metric 2 and DSM in closed form."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from anisomem.baselines.early import LengthGradient, StepDistance

from anisomem.detection.places import At
from anisomem.engine.engine import Engine


def predictions(x, m, alpha, sigma):
    """Predicted noise of N(+-m, 9 I) with prompt + and without, and what changes the latter in x.

    With v = 9 alpha^2 + sigma^2 and tau = tanh(alpha m.x / v): eps_c = sigma (x - alpha m) / v and
    eps_u = sigma (x - alpha tau m) / v, whose Jacobians are symmetric, J_c = sigma I / v and
    J_u = sigma (I - alpha^2 (1 - tau^2) m m' / v) / v.
    """
    v = 9 * alpha**2 + sigma**2
    tau = np.tanh(alpha * (m * x).sum() / v)
    c, u = sigma * (x - alpha * m) / v, sigma * (x - alpha * tau * m) / v
    gradient_c = sigma / v * c
    gradient_u = sigma / v * (u - alpha**2 * (1 - tau**2) / v * (m * u).sum() * m)
    return c, u, gradient_c - gradient_u


@pytest.fixture
def start(two_gaussians):
    """Model, m and noise of seed 7."""
    model, m = two_gaussians
    torch.manual_seed(7)
    return model, m[0].numpy(), torch.randn(4, 2, 2).double().numpy()


def test_metric_2(start):
    model, m, x = start
    # Flow matching's first step, where the noise is the latent, is refused.
    step = int(model.parameterisation == "flow_prediction")
    detector = LengthGradient("metric_2", at=At(f"step:{step}"))
    recorded = Engine(model, [detector]).evaluate(["+"], [0], 7)
    alpha, sigma = (float(s) for s in model.scales(torch.tensor(model.timesteps()[step])))
    *_, gradient = predictions(x, m, alpha, sigma)
    expected = (gradient**2).sum()
    assert recorded[detector.component_names[0]][0, 0] == pytest.approx(expected, rel=1e-9)
    assert model.jvps == 2


@pytest.mark.parametrize("step", [0, 1, 3])
def test_dsm(start, step):
    model, m, x = start
    detector = StepDistance("dsm", step=step)
    recorded = Engine(model, [detector]).evaluate(["+"], [0], 7)
    scales = [tuple(map(float, model.scales(torch.tensor(t)))) for t in model.timesteps()]
    found = []
    for (alpha, sigma), (next_alpha, next_sigma) in pairwise(scales):
        c, u, _ = predictions(x, m, alpha, sigma)
        found.append(c)
        v = 9 * alpha**2 + sigma**2
        tau = np.tanh(alpha * (m * x).sum() / v)
        # The data that they expect, also where alpha is 0: a share of m, and what x says of it.
        data = [share * m + 9 * alpha * (x - alpha * share * m) / v for share in (1, tau)]
        guided_x0 = data[1] + 7.5 * (data[0] - data[1])
        x = next_alpha * guided_x0 + next_sigma * (u + 7.5 * (c - u))
        if len(found) == step + 2:
            break
    expected = ((found[step + 1] - found[step]) ** 2).sum()
    assert recorded[detector.component_names[0]][0, 0] == pytest.approx(expected, rel=1e-8)
