"""Webster's white box in closed form, and its black box against a literal version."""

import numpy as np
import pytest
import torch
from anisomem.baselines.webster import WebsterBlackBox, WebsterWhiteBox, edges, shared_by_most

from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.prediction import Parameterisation


@pytest.mark.parametrize("at", ["t:999", "t:500"])
def test_white_box_in_closed_form(two_gaussians, at):
    # The data that a Gaussian N(m, 9 I) is predicted to hold is m + 9 alpha (x - alpha m) / v;
    # without a prompt, m is weighted by tau = tanh(alpha m.x / v).
    model, m = two_gaussians
    detector = WebsterWhiteBox("w", n=2, at=at)
    recorded = Engine(model, [detector]).evaluate(["+", "-"], [0, 1], 7)
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(int(at[2:]))))
    v = 9 * alpha**2 + sigma**2
    for sample, x in enumerate(model.initial_noise(7, 2).double()):
        tau = torch.tanh(alpha * (m * x).sum() / v)
        for row, sign in enumerate((1, -1)):
            weight = tau + 7.5 * (sign - tau)
            data = weight * m + 9 * alpha * (x - alpha * weight * m) / v
            expected = (x / alpha - data).square().mean()
            actual = recorded[detector.component_names[0]][row, sample]
            assert actual == pytest.approx(float(expected), rel=1e-9)


def test_white_box_is_given_the_noise_itself_where_the_released_code_shrinks_it():
    model = AnalyticMixture(torch.zeros(1, 4, 2, 2).double(), [1.0], ["it"])
    alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(999)))
    sigma_max = sigma / alpha
    assert sigma_max == pytest.approx(14.61, abs=0.01)
    assert sigma_max / np.sqrt(sigma_max**2 + 1) == pytest.approx(0.998, abs=5e-4)
    # With data N(0, I) the prediction of x is alpha x: both distances, in z = x / alpha.
    recorded = Engine(model, [WebsterWhiteBox("w")]).evaluate(["it"], [0], 0)
    x = model.initial_noise(0, 1).double()
    ours = float((x / alpha - alpha * x).square().mean())
    assert recorded["webster/white[t:999]"][0, 0] == pytest.approx(ours, rel=1e-9)
    z = sigma_max * x
    released = float((z - alpha * (z / np.sqrt(sigma_max**2 + 1))).square().mean())
    assert released == pytest.approx(ours, rel=0.01)


def test_white_box_needs_a_signal(case):
    parameterisation, schedule = case
    means = torch.zeros(1, 4, 2, 2).double()
    model = AnalyticMixture(means, [1.0], ["it"], None, parameterisation, schedule)
    detector = WebsterWhiteBox("white", at="t:1000")
    if parameterisation != Parameterisation.FLOW:
        with pytest.raises(UserError, match="outside the schedule"):
            Engine(model, [detector])
        return
    with pytest.raises(UserError, match="alpha, which is 0 at timestep 1000") as caught:
        Engine(model, [detector])
    assert "\n" not in str(caught.value)


def literal_edges(picture):
    """Sobel by hand, across channels too, on a picture of 256 x 256, which needs no resizing."""
    padded = np.pad(picture / 255, 1, mode="symmetric")
    smooth, slope = (1, 2, 1), (-1, 0, 1)
    first, second = (
        sum(
            rows[i] * columns[j] * smooth[k] * padded[i : i + 256, j : j + 256, k : k + 3]
            for i in range(3)
            for j in range(3)
            for k in range(3)
        )
        for rows, columns in ((slope, smooth), (smooth, slope))
    )
    return np.sqrt(first**2 + second**2).sum(axis=2) > 1.5


def test_edges_are_those_of_a_literal_sobel():
    rng = np.random.default_rng(0)
    coarse = rng.integers(100, 140, (2, 32, 32, 3), dtype=np.uint8)
    pictures = coarse.repeat(8, axis=1).repeat(8, axis=2)
    actual = edges(torch.from_numpy(pictures))
    expected = np.stack([literal_edges(picture) for picture in pictures])
    np.testing.assert_array_equal(actual, expected)
    assert 0.05 < expected.mean() < 0.5


def test_the_filter_smooths_across_channels_so_a_small_step_is_an_edge():
    # A step h in grey has magnitude 4 h in two columns, and smoothing over channels adds 4 to
    # that: with three of them 48 h > 1.5, not 12 h.
    for step, columns in ((7, 0), (8, 2)):
        picture = torch.full((1, 256, 256, 3), 100, dtype=torch.uint8)
        picture[:, :, 128:] += step
        assert edges(picture).sum() == columns * 256


def test_two_of_four_seeds_are_no_majority():
    maps = [torch.zeros(1, 2, 2, dtype=torch.bool) for _ in range(4)]
    for count, row, column in ((1, 0, 0), (2, 0, 1), (3, 1, 0), (4, 1, 1)):
        for one in maps[:count]:
            one[0, row, column] = True
    assert shared_by_most(maps).tolist() == [0.5]
    assert shared_by_most(maps[:3]).tolist() == [0.75]


class Enlarged(AnalyticMixture):
    """Decodes to pictures of 256 x 256."""

    def decode(self, latents):
        return super().decode(latents).repeat(32, axis=1).repeat(32, axis=2)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_black_box_reads_one_guided_step_of_each_seed(make_prompts, n):
    means = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    model = Enlarged(means, [0.05, 1.0], ["copied", "free"])
    detectors = [WebsterBlackBox("b", n=n), WebsterBlackBox("b", n=4)]
    recorded = Engine(model, detectors).evaluate(["copied", "free"], [0, 1], 5)
    votes = np.zeros((2, 256, 256), int)
    for x in model.initial_noise(5, n)[:, None]:
        for row, prompt in enumerate(("copied", "free")):
            c, u = (model.predict(x, 999, model.encode([text])).x0 for text in (prompt, ""))
            votes[row] += literal_edges(model.decode(u + 7.5 * (c - u))[0])
    expected = (votes > n / 2).mean(axis=(1, 2))
    scores = detectors[0].combine(Recorded(recorded, make_prompts(["copied", "free"], [1, 0])))
    np.testing.assert_array_equal(scores, expected)
    assert expected.min() > 0
