"""The p-Laplacian in closed form and against its exact expectation."""

import numpy as np
import pytest
import torch
from anisomem.baselines.brokman import PLaplace
from scipy.integrate import quad

from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture


def places(engine, detector, prompts, seed):
    """Centre and surrounding points of every prompt, and the radius, as they were evaluated."""
    (evaluations,) = engine.evaluations(prompts, range(len(prompts)), seed)
    ((need, *needs),) = [component.needs for component in detector.components()]
    centre = evaluations[need].x
    around = torch.stack([evaluations[need].x for need in needs], dim=1)
    return (
        centre,
        around,
        detector.radius * evaluations[need].sigma[0].item() * centre[0].numel() ** 0.5,
    )


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("latents", ["generated", "noise"])
def test_it_is_the_flux_of_the_score_by_hand(two_gaussians, p, latents):
    model, m = two_gaussians
    detector = PLaplace("p", p=p, probes=3, at="t:300", latents=latents, radius=0.5)
    engine = Engine(model, [detector])
    recorded = engine.evaluate(["+", "-"], [0, 1], 7)[detector.component_names[0]]
    centre, around, taken = places(engine, detector, ["+", "-"], 7)
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(300)))
    v, radius = 9 * alpha**2 + sigma**2, 0.5 * sigma * 4  # D = 16
    assert taken == pytest.approx(radius, rel=1e-12)
    for row, sign in enumerate((1, -1)):
        end = model.initial_noise(7, 1).double()
        if latents == "generated":
            end = alpha * model.sample(end, model.encode(["+-"[row]]))
        torch.testing.assert_close(centre[row], end[0], rtol=1e-12, atol=1e-12)
        flux = []
        for x in around[row]:
            step = x - centre[row]
            assert float(step.norm()) == pytest.approx(radius, rel=1e-9)
            score = (sign * alpha * m[0] - x) / v
            flux.append(score.norm() ** (p - 2) * (score * step).sum() / radius)
        expected = 16 / radius * float(torch.stack(flux).mean())
        assert recorded[row, 0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_directions_average_to_the_exact_flux(p):
    # At a distance delta from the mean the outward flux depends on the angle alone, whose cosine
    # has the density (1 - c^2)^((D - 3) / 2): by quadrature. For p = 2 it is the trace, -D / v.
    probes, size = 600, 16
    model = AnalyticMixture(torch.zeros(1, 4, 2, 2).double(), [0.7], ["it"])
    detector = PLaplace("p", p=p, probes=probes, at="t:300")
    engine = Engine(model, [detector], batch_size=64)
    (recorded,) = engine.evaluate(["it"], [0], 3).values()
    centre, _, radius = places(engine, detector, ["it"], 3)
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(300)))
    delta, v = float(centre.norm()), alpha**2 * 0.49 + sigma**2

    def mean(function):
        def weight(c):
            return (1 - c**2) ** ((size - 3) / 2)

        return quad(lambda c: function(c) * weight(c), -1, 1)[0] / quad(weight, -1, 1)[0]

    def flux(c):
        distance = np.sqrt(radius**2 + delta**2 + 2 * radius * delta * c)
        return -((distance / v) ** (p - 1)) * (radius + delta * c) / distance

    expected = mean(flux)
    error = np.sqrt((mean(lambda c: flux(c) ** 2) - expected**2) / probes)
    assert abs(recorded[0, 0] * radius / size - expected) < 4 * error
    assert error < 0.05 * abs(expected)
    if p == 2:
        assert expected * size / radius == pytest.approx(-size / v, rel=1e-6)


def test_the_released_cosine_with_epsilon_is_the_score_over_d_by_r(two_gaussians):
    # The released code averages cos(epsilon, n): no D / r, and no minus, as epsilon = -sigma s.
    model, _ = two_gaussians
    detector = PLaplace("p", probes=4, at="t:10")
    engine = Engine(model, [detector])
    recorded = engine.evaluate(["+"], [0], 7)[detector.component_names[0]]
    centre, around, radius = places(engine, detector, ["+"], 7)
    epsilon = model.predict(around[0], 10, model.encode(["+"] * 4)).epsilon
    cosines = torch.cosine_similarity(epsilon.flatten(1), (around[0] - centre).flatten(1))
    assert -recorded[0, 0] == pytest.approx(16 / radius * float(cosines.mean()), rel=1e-9)


def test_larger_where_the_data_is_narrower(make_prompts):
    # A typical sample of N(m, s^2 I) has, in high dimension, the score
    # D / r * sigma / sqrt(sigma^2 + alpha^2 s^2).
    size = 4 * 16 * 16
    spreads = [0.01, 0.1, 0.3, 1.0]
    prompts = [f"spread {s}" for s in spreads]
    means = 3 * torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    model = AnalyticMixture(means, spreads, prompts)
    detector = PLaplace("p", at="t:181")
    recorded = Engine(model, [detector]).evaluate(prompts, range(4), 2)
    scores = detector.combine(Recorded(recorded, make_prompts(prompts, [1, 0, 0, 0])))
    assert (np.diff(scores) < 0).all()
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(181)))
    most = size / (sigma * size**0.5)
    expected = [most * sigma / np.hypot(sigma, alpha * s) for s in spreads]
    np.testing.assert_allclose(scores, expected, rtol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p": 0}, "p must be a positive number, got 0"),
        ({"radius": float("inf")}, "radius must be a positive number"),
        ({"probes": 1.5}, "probes must be a positive integer, got 1.5"),
        ({"latents": "generate"}, "did you mean 'generated'"),
    ],
)
def test_mistakes_are_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        PLaplace("p", **changes)


def test_latents_of_a_trajectory_are_those_of_its_steps():
    model = AnalyticMixture(torch.zeros(1, 4, 2, 2), [1.0], ["it"])
    with pytest.raises(UserError, match="timestep 10 is no step of a trajectory"):
        Engine(model, [PLaplace("p", latents="guided")])
