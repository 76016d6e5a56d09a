import math

import pytest
import torch

from anisomem.geometry.closed import Mixture, posterior_covariance
from anisomem.geometry.theorem import terms

ALPHA, SIGMA = 0.8, 0.6


def mixture(components=3, d=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    means = torch.randn(components, d, generator=g, dtype=torch.float64)
    roots = torch.randn(components, d, d, generator=g, dtype=torch.float64)
    weights = torch.rand(components, generator=g, dtype=torch.float64)
    return Mixture(means, roots @ roots.mT / d, weights / weights.sum())


@pytest.fixture
def points():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_log_density_is_that_of_torch(points):
    noised = mixture().noised(ALPHA, SIGMA)
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(noised.weights),
        torch.distributions.MultivariateNormal(noised.means, noised.covariances),
    )
    torch.testing.assert_close(noised.log_density(points), reference.log_prob(points))


def test_score_and_hessian_are_derivatives_of_the_log_density(points):
    noised = mixture().noised(ALPHA, SIGMA)
    for x, score, hessian in zip(
        points, noised.score(points), noised.hessian(points), strict=True
    ):

        def log_density(x):
            return noised.log_density(x[None])[0]

        assert (score - torch.func.grad(log_density)(x)).abs().max() < 1e-6
        assert (hessian - torch.func.hessian(log_density)(x)).abs().max() < 1e-6
        h = 1e-5 * torch.eye(5, dtype=torch.float64)
        ahead, behind = noised.score(x + h), noised.score(x - h)
        assert (hessian - (ahead - behind) / 2e-5).abs().max() < 1e-6


def test_guidance_and_its_curvature_are_differences(points):
    noised, k = mixture().noised(ALPHA, SIGMA), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    v = torch.flip(points, [0])
    guidance, curved = noised.guidance(points, k), noised.curvature_of_guidance(points, k, v)
    for i, c in enumerate(k.tolist()):
        own, x = noised.component(c), points[[i]]
        assert (guidance[i] - own.score(x)[0] + noised.score(x)[0]).abs().max() < 1e-6
        difference = own.hessian(x)[0] - noised.hessian(x)[0]
        assert (curved[i] - difference @ v[i]).abs().max() < 1e-6


def test_guidance_is_exact_where_the_difference_of_scores_would_be_rounding():
    far = Mixture.uniform(torch.tensor([[0.0], [20.0]]), torch.ones(2, 1, 1))
    x = torch.zeros(1, 1, dtype=torch.float64)
    # r_1 = exp(-200), s_0 - s_1 = -20
    expected = -20 * math.exp(-200)
    assert float(far.guidance(x, torch.tensor([0]))) == pytest.approx(expected, rel=1e-9)


def test_samples_have_the_moments_of_the_noised_mixture():
    clean, n = mixture(), 200_000
    g = torch.Generator().manual_seed(3)
    noise = torch.randn(n, 5, generator=g, dtype=torch.float64)
    x = ALPHA * clean.sample(n, g) + SIGMA * noise
    noised = clean.noised(ALPHA, SIGMA)
    mean = noised.weights @ noised.means
    spread = noised.covariances + noised.means[:, :, None] * noised.means[:, None]
    second = torch.einsum("k,kij->ij", noised.weights, spread)
    assert (x.mean(0) - mean).abs().max() < 0.02
    assert (x.T @ x / n - second).abs().max() < 0.05


def test_hessian_gives_the_posterior_covariance(points):
    """Of one Gaussian it is known: (C^-1 + alpha^2 / sigma^2 I)^-1."""
    one = mixture().component(1)
    hessian = one.noised(ALPHA, SIGMA).hessian(points)
    eye = torch.eye(5, dtype=torch.float64)
    expected = torch.linalg.inv(torch.linalg.inv(one.covariances) + (ALPHA / SIGMA) ** 2 * eye)
    found = posterior_covariance(hessian, ALPHA, SIGMA)
    torch.testing.assert_close(found, expected.expand_as(found))


def gaussian(mean, variances):
    covariance = torch.diag(torch.as_tensor(variances, dtype=torch.float64))
    return Mixture.uniform(torch.as_tensor(mean, dtype=torch.float64)[None], covariance[None])


@pytest.mark.parametrize("seed", range(20))
def test_theorem_holds_wherever_it_speaks(seed):
    g = torch.Generator().manual_seed(seed)
    u, c = mixture(1, seed=seed), mixture(1, seed=100 + seed)
    near = Mixture(u.means + 0.05 * c.means, c.covariances * 1e-3, c.weights)
    x = torch.randn(500, 5, generator=g, dtype=torch.float64) * 3
    for conditional in (c, near):
        found = terms(u, conditional, 0.98, 0.2, x)
        speaks = found.r < 1
        assert (found.cosine >= found.sharp - 1e-9)[speaks].all()
        assert (found.sharp >= found.paper - 1e-9)[speaks].all()
        if conditional is near:
            assert speaks.any()


def test_sharp_form_is_attained():
    """Kantorovich: without displacement the worst direction has cosine 2 sqrt(chi) / (chi + 1)."""
    collapsed, chi = gaussian([0, 0], [0, 0]), 9.0
    u = gaussian([0, 0], [chi, 1])
    alpha, sigma = math.sqrt(1 - 1e-8), 1e-4  # then s_u = -C_u^-1 x and M = C_u / sigma^2
    # M's worst direction v has v_1^2 : v_2^2 = 1 : chi; v is the score
    score = torch.tensor([[1.0, math.sqrt(chi)]], dtype=torch.float64)
    x = -score * torch.tensor([chi, 1], dtype=torch.float64)
    found = terms(u, collapsed, alpha, sigma, x)
    expected = 2 * math.sqrt(chi) / (chi + 1)
    assert float(found.cosine) == pytest.approx(expected, abs=1e-6)
    assert float(found.sharp) == pytest.approx(expected, abs=1e-6)
    assert float(found.paper) == pytest.approx(1 / chi, abs=1e-6)


def test_a_broader_conditional_is_anti_aligned():
    found = terms(
        gaussian([0, 0], [1, 1]), gaussian([0, 0], [4, 4]), 0.9, 0.4, torch.ones(1, 2).double()
    )
    assert float(found.cosine) == pytest.approx(-1) and float(found.r) >= 1
