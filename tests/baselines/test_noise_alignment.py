"""Guidance along the noise in closed form, for every parameterisation."""

import numpy as np
import pytest
import torch
from anisomem.baselines.noise_alignment import AnisotropyNoise, NoiseAlignment

from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine


def test_both_quantities(two_gaussians):
    # N(+-m, 9 I): eps_c - eps_u = -sigma alpha (+-1 - tau) m / v, see test_early.
    model, m = two_gaussians
    m = m[0].numpy()
    detectors = [NoiseAlignment("c"), NoiseAlignment("p", quantity="projection")]
    recorded = Engine(model, detectors).evaluate(["+", "-"], [0, 1], 7)
    torch.manual_seed(7)
    x = torch.randn(4, 2, 2).double().numpy()
    alpha, sigma = (float(s) for s in model.scales(torch.tensor(model.timesteps()[-3])))
    v = 9 * alpha**2 + sigma**2
    tau = np.tanh(alpha * (m * x).sum() / v)
    for row, sign in enumerate((1, -1)):
        guidance = -sigma * alpha * (sign - tau) * m / v
        projection = (guidance * x).sum() / (x**2).sum()
        cosine = (guidance * x).sum() / np.linalg.norm(x) / np.linalg.norm(guidance)
        for detector, expected in zip(detectors, (cosine, projection), strict=True):
            found = recorded[detector.component_names[0]][row, 0]
            assert found == pytest.approx(expected, rel=1e-8)


def test_the_sum_shares_what_its_parts_record(make_prompts):
    metric, own = Anisotropy("a", weights=[2.0, 3.0]), AnisotropyNoise("b", weights=[2.0, 3.0])
    (alignment,) = NoiseAlignment("n").component_names
    assert own.component_names == [metric.norm_name, alignment]
    prompts = make_prompts(["a", "b"], [1, 0])
    recorded = Recorded(
        {metric.norm_name: np.array([[5.0], [1.0]]), alignment: np.array([[0.5], [-0.5]])}, prompts
    )
    assert own.combine(recorded).tolist() == [11.5, 0.5]
    assert AnisotropyNoise("b", weights=[1.0, 0.0]).component_names == [metric.norm_name]
    assert own.cost().nfe == 4 and own.cost() == metric.cost()
