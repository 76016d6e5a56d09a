"""Noise that is moved: against a loop of its own, and down a norm."""

import pytest
import torch

from anisomem.errors import UserError
from anisomem.mitigation.initial_noise import AfterSteps, InitialNoise, NoiseDescent
from anisomem.mitigation.none import NoMitigation
from anisomem.models.analytic import AnalyticMixture


@pytest.fixture
def mixture():
    m = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    return AnalyticMixture(torch.cat([3 * m, -3 * m]), [1.0, 1.0], ["+", "-"])


def pull(model, prompt, x):
    t = model.timesteps()[0]
    c, u = (model.predict(x, t, model.encode([p])).output for p in (prompt, ""))
    return c - u


def noises(model, seeds):
    return torch.cat([model.initial_noise(seed, 1) for seed in seeds])


def test_steps_against_sharpness(mixture):
    prompts, seeds = ["+", "-"], [1, 2]
    x = noises(mixture, seeds)
    found = InitialNoise("n", rho=2, gamma=0.4, iterations=3)(mixture, prompts, x, seeds)
    for row, prompt in enumerate(prompts):
        own = x[[row]]
        first = float(pull(mixture, prompt, own).norm())
        for _ in range(3):
            here = pull(mixture, prompt, own)
            own = own - 0.4 * (pull(mixture, prompt, own + 2 * here / here.norm()) - here)
        torch.testing.assert_close(found.x[[row]], own.float())
        effort = found.efforts[row]
        assert (effort.nfe, effort.backward, effort.iterations) == (12, 0, 3)
        assert effort.before == pytest.approx(first)
    assert found.guides == [AfterSteps(5)] * 2


def test_noise_stays_where_the_prompt_says_nothing(mixture):
    x = noises(mixture, [1, 2])
    found = InitialNoise("n", iterations=2)(mixture, ["", "+"], x, [1, 2])
    assert torch.equal(found.x[0], x[0]) and not torch.equal(found.x[1], x[1])
    assert found.x.isfinite().all()


def test_the_first_steps_are_not_guided(mixture):
    scale = AfterSteps(2).start(7.5)
    assert [scale(0, 0) for _ in range(4)] == [0, 0, 7.5, 7.5]
    x = noises(mixture, [1])
    still = InitialNoise("n", gamma=0, unguided=0)(mixture, ["+"], x, [1])
    plain = NoMitigation("none")(mixture, ["+"], x, [1])
    torch.testing.assert_close(still.sample(mixture), plain.sample(mixture))


def test_descent_lowers_the_norm_until_the_target(mixture):
    seeds = [1, 2, 3]
    x = noises(mixture, seeds)
    norms = [float(pull(mixture, "+", one[None]).norm()) for one in x]
    target = 0.9 * min(norms)
    found = NoiseDescent("d", lr=0.05, steps=200, target=target)(mixture, ["+"] * 3, x, seeds)
    for row, effort in enumerate(found.efforts):
        after = float(pull(mixture, "+", found.x[[row]]).norm())
        assert effort.before == pytest.approx(norms[row]) and after <= target < norms[row]
        assert effort.after == pytest.approx(after) and effort.note == f"reached {target:g}"
        # A last evaluation says that the target is reached, and has no gradient.
        assert effort.nfe == 2 * (effort.iterations + 1)
    alone = NoiseDescent("d", lr=0.05, steps=200, target=target)(mixture, ["+"], x[[1]], [2])
    torch.testing.assert_close(alone.x, found.x[[1]])


@pytest.mark.parametrize(
    ("made", "settings", "said"),
    [
        (InitialNoise, {"rho": 0}, "rho must be a number above 0, got 0"),
        (InitialNoise, {"gamma": -1}, "gamma must be a number from 0, got -1"),
        (InitialNoise, {"iterations": 0}, "iterations must be an integer from 1, got 0"),
        (InitialNoise, {"unguided": -1}, "unguided must be an integer from 0, got -1"),
        (NoiseDescent, {"lr": 0}, "lr must be a number above 0, got 0"),
    ],
)
def test_mistakes_are_one_line(made, settings, said):
    with pytest.raises(UserError, match=said):
        made("m", **settings)
