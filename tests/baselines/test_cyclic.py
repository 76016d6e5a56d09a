"""The difference of divergences in closed form, and the cycles by an independent loop."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from anisomem.baselines.cyclic import CyclicDenoising

from anisomem.detection.base import Recorded
from anisomem.detection.renoised import Cycled
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.prediction import Parameterisation

SEED = 7


def drawn(shape, cycle):
    """The noise of a cycle of the first noise sample."""
    entropy = np.random.SeedSequence([SEED, 0, cycle, *b"cycle"])
    seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def literally_cycled(model, m, sign, cycles):
    """Latents after cycles, from what is expected of N(+-m, 9 I) at every step."""
    flow = model.parameterisation is Parameterisation.FLOW
    x = model.sample(model.initial_noise(SEED, 1).double(), model.encode(["+-"[sign < 0]]))[0]
    # From 899.1 by 89.91 less each time, rounded.
    whole = [899, 809, 719, 629, 539, 450, 360, 270, 180, 90]
    steps = [900.0 - 90 * i for i in range(10)] if flow else whole
    scales = [tuple(map(float, model.scales(torch.tensor(t)))) for t in steps]
    scales.append(tuple(map(float, model.schedule.final_scales)))
    for cycle in range(cycles):
        x = scales[0][0] * x + scales[0][1] * drawn(x.shape, cycle)
        for (alpha, sigma), (alpha_next, sigma_next) in pairwise(scales):
            v = 9 * alpha**2 + sigma**2
            tau = np.tanh(alpha * float((m * x).sum()) / v)
            share = tau + 7.5 * (sign - tau)  # noise and data are affine in the mean
            noise = sigma * (x - alpha * share * m) / v
            data = share * m + 9 * alpha * (x - alpha * share * m) / v
            x = alpha_next * data + sigma_next * noise
    return x


@pytest.mark.parametrize("cycles", [0, 2])
def test_cycles_noise_and_take_guided_steps_back(two_gaussians, cycles):
    model, m = two_gaussians
    detector = CyclicDenoising("c", cycles=cycles, pairs=1)
    (evaluations,) = Engine(model, [detector]).evaluations(["+", "-"], [0, 1], SEED)
    found = evaluations[Cycled(cycles, 0.9, 10)]
    for row, sign in enumerate((1, -1)):
        expected = literally_cycled(model, m[0], sign, cycles)
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-9)


def test_flux_is_the_difference_of_divergences(two_gaussians, make_prompts):
    # As in test_wen_and_jeon: s_c - s_u = alpha (1 - tau) m / v, tau = tanh(alpha m.x / v), so its
    # divergence is -alpha^2 (1 - tau^2) |m|^2 / v^2. Both are affine along directions but for tau.
    model, m = two_gaussians
    detector = CyclicDenoising("c", cycles=1, pairs=200, radius=0.05, at="t:300")
    seen = []
    engine = Engine(model, [detector])
    recorded = engine.evaluate(["+", "-"], [0, 1], SEED, lambda _, found: seen.append(found))
    (evaluations,) = seen
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(300)))
    v = 9 * alpha**2 + sigma**2
    x = alpha * evaluations[Cycled(1, 0.9, 10)]
    tau = np.tanh(alpha * (m * x).sum(dim=(1, 2, 3)).numpy() / v)
    expected = -(alpha**2) * (1 - tau**2) * 9 / v**2
    (found,) = recorded.values()
    # A direction's square along m is chi-square of one degree by D: sqrt(2 / 200) of the mean.
    np.testing.assert_allclose(found[:, 0], expected, rtol=4 * np.sqrt(2 / 200))
    scores = detector.combine(Recorded(recorded, make_prompts(["+", "-"], [1, 0])))
    np.testing.assert_array_equal(scores, -found[:, 0])  # contraction is memorized


def test_every_pair_by_hand_on_a_network(make_pipeline):
    from anisomem.models.diffusers_unet import DiffusersUNet

    model = DiffusersUNet(make_pipeline(dtype=torch.float64, prediction_type="v_prediction"))
    detector = CyclicDenoising("c", cycles=0, pairs=2)
    recorded = Engine(model, [detector]).evaluate(["a cat"], [0], SEED)
    given = model.encode(["a cat", ""])
    end = model.sample(model.initial_noise(SEED, 1).double(), given[[0]])
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(1)))
    radius, flux = 0.01 * sigma * 16, []  # of 256 numbers
    for number in range(2):
        entropy = np.random.SeedSequence([SEED, 0, number, *b"direction"])
        seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
        v = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
        for outward in (v / v.norm(), -v / v.norm()):
            x = (alpha * end + radius * outward).repeat(2, 1, 1, 1)
            with_prompt, without = model.predict(x, 1, given).score
            flux.append(float(((with_prompt - without) * outward).sum()))
    (found,) = recorded.values()
    assert found[0, 0] == pytest.approx(np.mean(flux) * 256 / radius, rel=1e-6)


def test_a_prompt_that_says_nothing_adds_no_divergence():
    model = AnalyticMixture(torch.zeros(1, 4, 2, 2).double(), [0.5], ["it"])
    (found,) = Engine(model, [CyclicDenoising("c", cycles=1)]).evaluate(["it"], [0], 3).values()
    assert found[0, 0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 1.5}, "gamma must be above 0 and at most 1, got 1.5"),
        ({"cycles": -1}, "cycles must be an integer from 0, got -1"),
        ({"gamma": 0.005}, r"fewer than 10 timesteps below it; give detector.c.steps=5$"),
        ({"gamma": 0.0001}, r"fewer than 10 timesteps below it; give detector.c.gamma=0.9$"),
        ({"steps": 900}, r"timestep 899, .* than 900 .*; give detector.c.steps=899$"),
    ],
)
def test_mistakes_are_one_line(changes, message):
    model = AnalyticMixture(torch.zeros(1, 4, 2, 2), [1.0], ["it"])
    with pytest.raises(UserError, match=message):
        Engine(model, [CyclicDenoising("c", **changes)])


def test_what_is_advised_is_accepted():
    model = AnalyticMixture(torch.zeros(1, 4, 2, 2), [1.0], ["it"])
    for settings in ({"steps": 899}, {"gamma": 0.005, "steps": 5}, {"gamma": 0.9}):
        Engine(model, [CyclicDenoising("c", **settings)])
