import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from anisomem.geometry.closed import Mixture
from anisomem.geometry.spectrum import ScoreJacobian, Spectrum, ends, hutchinson
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.prediction import Parameterisation
from tests.conftest import pipeline


class Matrix:
    def __init__(self, matrix):
        self.matrix, self.size = matrix, len(matrix)

    def apply(self, vectors):
        return vectors @ self.matrix.T

    def transposed(self, vectors):
        return vectors @ self.matrix


def random_matrix(d=60, seed=0, skewed=0.3):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, d, d))
    return -np.eye(d) * 3 + (a + a.T) / np.sqrt(d) + skewed * (b - b.T) / np.sqrt(d)


def test_spectrum_of_a_known_matrix():
    skew = np.array([[0, 2.0], [-2.0, 0]])
    found = Spectrum.of_matrix(np.diag([-1.0, -3.0]) + skew)
    assert found.eigenvalues.tolist() == [-3, -1]
    assert found.variance == 1 and found.condition_number == 3
    assert found.participation_ratio == pytest.approx(16 / 10)
    assert found.anisotropy_index == pytest.approx(0.2)  # var / mean square = 1 / 5
    assert found.asymmetry == pytest.approx(np.sqrt(8 / 18))
    assert Spectrum.of_matrix(-2 * np.eye(4)).anisotropy_index == 0


def test_lanczos_agrees_with_the_full_decomposition():
    matrix = random_matrix()
    values = Spectrum.of_matrix(matrix).eigenvalues
    found = ends(Matrix(matrix), 4)
    np.testing.assert_allclose(found, [*values[:4], *values[-4:]], rtol=1e-5)


def test_hutchinson_is_inside_its_error_bars_in_95_percent_of_runs():
    matrix = random_matrix(d=40)
    truth = Spectrum.of_matrix(matrix)
    expected = {
        "trace": truth.eigenvalues.sum(),
        "symmetric": (truth.eigenvalues**2).sum(),
        "antisymmetric": truth.antisymmetric**2,
        "anisotropy_index": truth.anisotropy_index,
    }
    runs = 1000
    inside = dict.fromkeys(expected, 0)
    for seed in range(runs):
        found = hutchinson(Matrix(matrix), 48, np.random.default_rng(seed))
        for name, value in expected.items():
            estimate = getattr(found, name)
            inside[name] += abs(estimate.value - value) <= estimate.error
    for name, count in inside.items():  # 0.95 +- 3 binomial standard deviations, and skewness
        assert 0.925 <= count / runs <= 0.972, (name, count)


@pytest.mark.parametrize("parameterisation", list(Parameterisation))
def test_of_a_closed_form_model_is_its_hessian(parameterisation):
    g = torch.Generator().manual_seed(0)
    means = torch.randn(3, 1, 2, 3, generator=g, dtype=torch.float64)
    stds = [0.5, 0.2, 0.9]
    model = AnalyticMixture(means, stds, ["a", "b", "c"], parameterisation=parameterisation)
    x = torch.randn(1, 1, 2, 3, generator=g, dtype=torch.float64)
    covariances = torch.stack([s**2 * torch.eye(6) for s in stds])
    clean = Mixture.uniform(means.flatten(1), covariances)
    for t in (981, 501, 41):
        alpha, sigma = (float(s) for s in model.scales(torch.tensor([t])))
        for prompt, known in (("", clean), ("b", clean.component(1))):
            jacobian = ScoreJacobian(model, x, t, model.encode([prompt])).dense()
            expected = known.noised(alpha, sigma).hessian(x.flatten(1))[0].numpy()
            assert np.abs(jacobian - expected).max() < 1e-6 * max(1, np.abs(expected).max())


@pytest.fixture(scope="module")
def network():
    model = DiffusersUNet(pipeline(dtype=torch.float64))
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, model.encode(["a red cat"])


def test_forward_mode_is_double_backward_and_finite_differences(network):
    model, x, conditioning = network
    v = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    forward = model.jvp(x, 501, conditioning, v)[1]

    latents = x.clone().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):  # the only one that can be differentiated twice
        raw = model._network(latents, torch.tensor([501]), conditioning)
        dual = torch.zeros_like(raw, requires_grad=True)
        (pulled,) = torch.autograd.grad(raw, latents, dual, create_graph=True)
        (double,) = torch.autograd.grad(pulled, dual, v)
    torch.testing.assert_close(forward, double, rtol=1e-6, atol=1e-9)

    h = 1e-6
    ahead, behind = (model.predict(x + s * v, 501, conditioning).raw for s in (h, -h))
    torch.testing.assert_close(forward, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-7)


def test_reverse_mode_is_the_transpose(network):
    model, x, conditioning = network
    jacobian = ScoreJacobian(model, x, 41, conditioning)
    v, w = np.random.default_rng(0).standard_normal((2, 1, jacobian.size))
    assert w @ jacobian.apply(v).T == pytest.approx(jacobian.transposed(w) @ v.T, rel=1e-9)


def test_lanczos_and_hutchinson_of_a_network(network):
    model, x, conditioning = network
    jacobian = ScoreJacobian(model, x, 501, conditioning)
    truth = Spectrum.of_matrix(jacobian.dense())
    found = ends(jacobian, 2)
    values = truth.eigenvalues
    np.testing.assert_allclose(found, [*values[:2], *values[-2:]], rtol=1e-5)
    moments = hutchinson(jacobian, 64, np.random.default_rng(0))
    assert moments.trace.value == pytest.approx(values.sum(), abs=2 * moments.trace.error + 1e-9)
