"""The score difference at the end of a trajectory, in closed form."""

import pytest
import torch
from anisomem.baselines.last_step import CurvatureNorm, ScoreDifference

from anisomem.engine.engine import Engine


def last_latents(model, prompt, x):
    """What the last step of the guided trajectory starts from, and its timestep."""
    *_, step = model.trajectory(x, model.encode([prompt]))
    return step.conditional.x[0], step.t


def test_score_difference_in_closed_form(two_gaussians, make_prompts):
    # As in test_wen_and_jeon: s_delta(+-) = alpha (+-1 - tau) m / v, tau = tanh(alpha m.x / v).
    model, m = two_gaussians
    detector = ScoreDifference("d", n=2)
    recorded = Engine(model, [detector]).evaluate(["+", "-"], [0, 1], 7)
    for sample, noise in enumerate(model.initial_noise(7, 2).double()):
        for row, sign in enumerate((1, -1)):
            x, t = last_latents(model, "+-"[row], noise[None])
            alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(t)))
            v = 9 * alpha**2 + sigma**2
            tau = torch.tanh(alpha * (m * x).sum() / v)
            expected = 9 * (alpha * (sign - tau) / v) ** 2 / 4  # |m|^2 = 9, on 4 positions
            actual = recorded[detector.component_names[0]][row, sample]
            assert actual == pytest.approx(float(expected), rel=1e-9)


def test_sum_over_channels_and_mean_over_positions_of_scores_at_t_1(make_pipeline):
    from anisomem.models.diffusers_unet import DiffusersUNet

    model = DiffusersUNet(make_pipeline(prediction_type="v_prediction"))
    recorded = Engine(model, [ScoreDifference("d")]).evaluate(["red"], [0], 3)
    x, t = last_latents(model, "red", model.initial_noise(3, 1))
    assert t == 1
    c, u = (model.predict(x[None], 1, model.encode([text])).score[0] for text in ("red", ""))
    expected = ((c - u) ** 2).sum() / 64
    (value,) = recorded.values()
    assert value[0, 0] == pytest.approx(float(expected), rel=1e-3)


def test_difference_of_curvature_in_closed_form(two_gaussians):
    # eps_u = sigma (x - alpha tau m) / v, so J_c - J_u = sigma alpha^2 (1 - tau^2) m m' / v^2,
    # whose diagonal is positive and sums to |m|^2 = 9 over 4 positions and all channels.
    model, m = two_gaussians
    detector, few = CurvatureNorm("many", probes=600), CurvatureNorm("few", probes=2)
    recorded = Engine(model, [detector, few]).evaluate(["+"], [0], 7)
    assert model.jvps == 2 * 602
    x, t = last_latents(model, "+", model.initial_noise(7, 1).double())
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(t)))
    v = 9 * alpha**2 + sigma**2
    tau = torch.tanh(alpha * (m * x).sum() / v)
    expected = float(sigma * alpha**2 * (1 - tau**2) / v**2) * 9 / 4
    assert recorded[detector.component_names[0]][0, 0] == pytest.approx(expected, rel=0.1)
