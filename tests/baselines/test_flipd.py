"""The local intrinsic dimension in closed form."""

import pytest
import torch
from anisomem.baselines.flipd import FLIPD

from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.prediction import Parameterisation


@pytest.mark.parametrize("at", ["step:40", "t:300"])
def test_it_is_the_growth_of_the_density_with_the_noise(two_gaussians, at):
    # D + d log q / d log scale, q = N(+-m, (9 + scale^2) I) at the generated latent, where
    # scale = sigma / alpha; the derivative is taken of log q itself.
    model, m = two_gaussians
    detector = FLIPD("f", at=at, probes=1)  # v . J v is exact where J is a multiple of I
    recorded = Engine(model, [detector]).evaluate(["+", "-"], [0, 1], 7)
    t = model.timesteps()[40] if at == "step:40" else 300
    alpha, sigma = model.scales(torch.tensor(t))
    for row, sign in enumerate((1, -1)):
        x = model.sample(model.initial_noise(7, 1).double(), model.encode(["+-"[row]]))
        log_scale = (sigma / alpha).log().requires_grad_()
        spread = (9 + (2 * log_scale).exp()).sqrt()
        density = torch.distributions.Normal(sign * m, spread).log_prob(x).sum()
        (growth,) = torch.autograd.grad(density, log_scale)
        actual = recorded[detector.component_names[0]][row, 0]
        assert actual == pytest.approx(16 + float(growth), rel=1e-9)


class Correlated(AnalyticMixture):
    """Data N(0, covariance) for every prompt, predicted as noise."""

    def __init__(self, covariance):
        super().__init__(torch.zeros(1, 4, 2, 4).double(), [1.0], ["it"])
        self.covariance = covariance

    def precision(self, t):
        alpha, sigma = (float(scale) for scale in self.scales(torch.tensor(int(t))))
        identity = torch.eye(len(self.covariance)).double()
        return (alpha**2 * self.covariance + sigma**2 * identity).inverse(), alpha, sigma

    def _network(self, x, t, conditioning):
        precision, _, sigma = self.precision(t[0])
        return sigma * (x.flatten(1) @ precision).view_as(x)


def test_the_trace_is_within_its_standard_error():
    half = torch.randn(32, 32, generator=torch.Generator().manual_seed(3)).double() / 6
    model, probes = Correlated(half @ half.T), 400
    detector = FLIPD("f", probes=probes)
    (recorded,) = Engine(model, [detector]).evaluate(["it"], [0], 1).values()
    precision, alpha, sigma = model.precision(181)
    x = alpha * model.sample(model.initial_noise(1, 1).double(), model.encode(["it"])).flatten()
    expected = 32 + sigma**2 * (-precision.trace() + (precision @ x).square().sum())
    off_diagonal = precision - precision.diag().diag()
    error = sigma**2 * (2 * off_diagonal.square().sum() / probes).sqrt()
    assert abs(recorded[0, 0] - float(expected)) < 4 * float(error)
    assert 0.01 < float(error) < 0.5  # that says something


def test_it_is_the_dimension_of_the_data_at_low_noise():
    # Low against the data, but not against what a trajectory leaves of the noise, 0.029: at t = 1
    # the latent is as far from the data as the noise there is, in every other dimension.
    basis, _ = torch.linalg.qr(
        torch.randn(32, 5, generator=torch.Generator().manual_seed(4)).double()
    )
    model = Correlated(100 * basis @ basis.T)
    detectors = [FLIPD("f", probes=400), FLIPD("f", at="t:1", probes=400)]
    low, lower = Engine(model, detectors).evaluate(["it"], [0], 1).values()
    assert low[0, 0] == pytest.approx(5, abs=0.6)  # four standard errors
    assert lower[0, 0] > 10


@pytest.mark.parametrize("parameterisation", Parameterisation)
def test_memorized_is_of_low_dimension(make_prompts, parameterisation):
    from anisomem.detection.base import Recorded

    prompts = ["copied", "free"]
    means = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    model = AnalyticMixture(means, [0.01, 1.0], prompts, None, parameterisation)
    detector = FLIPD("f")
    recorded = Engine(model, [detector]).evaluate(prompts, [0, 1], 2)
    scores = detector.combine(Recorded(recorded, make_prompts(prompts, [1, 0])))
    assert -2 < scores[0] <= 0
    assert scores[1] < -30


def test_probes_are_a_positive_integer():
    with pytest.raises(UserError, match="probes must be a positive integer, got 0"):
        FLIPD("f", probes=0)
