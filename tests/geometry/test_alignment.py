import numpy as np
import pytest

from anisomem.geometry.alignment import Alignment, InputAlignment


def test_identity_of_the_sign():
    """cos = q (E - 1) / 2, from vectors themselves."""
    u, c = np.random.default_rng(0).standard_normal((2, 50, 9)) * [[[1.0]], [[1.7]]]
    found = Alignment((u * u).sum(1), (c * c).sum(1), (u * c).sum(1))
    d = c - u
    cosine = (u * d).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(d, axis=1)
    np.testing.assert_allclose(found.cosine, cosine, rtol=1e-12)
    np.testing.assert_allclose(found.relative_norm / 2 * (found.excess - 1), cosine, rtol=1e-9)
    assert ((found.excess > 1) == (cosine > 0)).all()


@pytest.mark.filterwarnings("error")
def test_without_guidance_there_is_no_angle_and_no_complaint():
    one = np.ones((1, 2))
    found = InputAlignment(one, one, one, one, 0.5 * one, 0.5 * one)
    for value in (found.cosine, found.excess, found.along_input, found.along_rest):
        assert np.isnan(value).all()
    assert (found.norm == 0).all()


def test_equal_length_is_minus_half_the_relative_norm():
    rng = np.random.default_rng(1)
    u, c = rng.standard_normal((2, 50, 9))
    turned = c * (np.linalg.norm(u, axis=1) / np.linalg.norm(c, axis=1))[:, None]
    as_is = Alignment((u * u).sum(1), (c * c).sum(1), (u * c).sum(1))
    made_equal = Alignment((u * u).sum(1), (turned**2).sum(1), (u * turned).sum(1))
    np.testing.assert_allclose(made_equal.cosine, -made_equal.relative_norm / 2, rtol=1e-9)
    np.testing.assert_allclose(as_is.equal_length, made_equal.cosine, rtol=1e-9)


def test_alignment_is_that_along_the_input_and_that_beside_it():
    """cos(u, d) = cos(u, x) cos(x, d) + sin(u, x) cos(u⊥, d), from vectors themselves."""
    u, c, x = np.random.default_rng(2).standard_normal((3, 50, 9))
    products = ((a * b).sum(1) for a, b in ((u, u), (c, c), (u, c), (x, x), (x, u), (x, c)))
    found, d = InputAlignment(*products), c - u
    g = (u * x).sum(1) / (x * x).sum(1)
    rest = u - g[:, None] * x
    np.testing.assert_allclose((rest * x).sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(found.gain, g, rtol=1e-12)
    np.testing.assert_allclose(found.rest, np.linalg.norm(rest, axis=1), rtol=1e-9)
    np.testing.assert_allclose(found.rest_product, (rest * d).sum(1), rtol=1e-9, atol=1e-12)

    def cos(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    np.testing.assert_allclose(found.input_cosine, cos(u, x), rtol=1e-9)
    np.testing.assert_allclose(found.along_input, cos(x, d), rtol=1e-9)
    np.testing.assert_allclose(found.along_rest, cos(rest, d), rtol=1e-9)
    sine = np.sqrt(1 - found.input_cosine**2)
    split = found.input_cosine * found.along_input + sine * found.along_rest
    np.testing.assert_allclose(found.cosine, split, rtol=1e-9, atol=1e-12)


def test_prompts_average_to_none_where_latents_are_in_distribution():
    """E <u, c - u> = 0 over prompts and their noised samples: u is c's posterior mean."""
    import torch

    from tests.geometry.test_closed import mixture

    clean, alpha, sigma = mixture(components=4, d=3), 0.7, 0.7
    noised, g = clean.noised(alpha, sigma), torch.Generator().manual_seed(0)
    total, n = torch.zeros(()).double(), 40_000
    for k in range(4):
        x = noised.component(k).sample(n, g)
        guidance = noised.guidance(x, torch.full((n,), k))
        total = total + noised.weights[k] * (noised.score(x) * guidance).sum(1).mean()
    assert float(total) == pytest.approx(0, abs=0.02)
