"""A model against an earlier checkpoint of it, in closed form and evaluated by hand."""

import pytest
import torch
from anisomem.baselines.earlier_checkpoint import EarlierCurvature, EarlierScore

from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet

STD, EARLIER = 0.5, 2.0


@pytest.fixture
def two_checkpoints(case):
    """One Gaussian, which an earlier checkpoint has learned wider and somewhat beside."""
    mean = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    model = AnalyticMixture(mean, [STD], ["it"], None, *case)
    model.baseline = AnalyticMixture(mean / 2, [EARLIER], ["it"], None, *case)
    return model, mean[0]


def last_latents(model, x):
    *_, step = model.trajectory(x, model.encode(["it"]))
    return step.conditional.x[0], step.t


def variance(model, t, std):
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor([t])))
    return alpha, sigma, alpha**2 * std**2 + sigma**2


def test_score_difference_in_closed_form(two_checkpoints):
    # s = (alpha mu - x) / v, at the latents that the model itself has led to
    model, mean = two_checkpoints
    detector = EarlierScore("d", n=2)
    (recorded,) = Engine(model, [detector]).evaluate(["it"], [0], 7).values()
    for sample, noise in enumerate(model.initial_noise(7, 2).double()):
        x, t = last_latents(model, noise[None])
        alpha, _, v = variance(model, t, STD)
        _, _, earlier = variance(model, t, EARLIER)
        difference = (alpha * mean - x) / v - (alpha * mean / 2 - x) / earlier
        expected = difference.square().sum() / 4  # on 4 positions
        assert recorded[0, sample] == pytest.approx(float(expected), rel=1e-9)


def test_difference_of_curvature_in_closed_form(two_checkpoints):
    # eps = sigma (x - alpha mu) / v, so the diagonal is sigma / v everywhere, exact by any probe.
    model, _ = two_checkpoints
    detector = EarlierCurvature("d", probes=3)
    (recorded,) = Engine(model, [detector]).evaluate(["it"], [0], 7).values()
    _, t = last_latents(model, model.initial_noise(7, 1).double())
    _, sigma, v = variance(model, t, STD)
    _, _, earlier = variance(model, t, EARLIER)
    assert recorded[0, 0] == pytest.approx(4 * sigma * (1 / v - 1 / earlier), rel=1e-8)
    wider, model.baseline = model.baseline, None
    wider.baseline = model  # as if the later one contracted less
    (recorded,) = Engine(wider, [detector]).evaluate(["it"], [0], 7).values()
    assert recorded[0, 0] == 0


@pytest.mark.parametrize("detector", [EarlierScore("s", n=2), EarlierCurvature("c", probes=3)])
def test_costs_count_both_models(two_checkpoints, detector):
    model, _ = two_checkpoints
    Engine(model, [detector]).evaluate(["it"], [0], 0)
    cost = detector.cost()
    assert model.counted == (cost.nfe, cost.jvps)
    assert model.baseline.counted == (detector.n, cost.jvps // 2)


def test_each_network_reads_the_prompt_with_its_own_text_encoder(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    model.baseline = DiffusersUNet(make_pipeline(seed=1))
    (recorded,) = Engine(model, [EarlierScore("d")]).evaluate(["red"], [0], 3).values()
    *_, step = model.trajectory(model.initial_noise(3, 1), model.encode(["red"]))
    earlier = model.baseline.predict(step.conditional.x, 1, model.baseline.encode(["red"]))
    expected = (step.conditional.score - earlier.score).square().sum() / 64
    assert recorded[0, 0] == pytest.approx(float(expected), rel=1e-3)


def test_without_a_second_model_it_is_refused_with_what_to_type(two_checkpoints):
    model, _ = two_checkpoints
    model.baseline = None
    with pytest.raises(UserError, match=r"^d: .*give baseline_model\.path=FOLDER"):
        Engine(model, [EarlierScore("d")])
