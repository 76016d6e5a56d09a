import numpy as np
import pytest
from scipy.stats import norm

from anisomem.evaluation import resample
from anisomem.geometry.overlap import (
    densities,
    kullback_leibler,
    least_kl,
    total_variation,
)


def samples(shift, n=2000, seed=0):
    rng = np.random.default_rng(seed)
    return np.append(rng.standard_normal(n) + shift, rng.standard_normal(n)), np.arange(2 * n) < n


@pytest.mark.parametrize("shift", [0.5, 1, 3])
def test_total_variation_of_two_normals(shift):
    values, labels = samples(shift)
    resampling = resample(labels.astype(int), np.arange(len(labels)), 200)
    found, draws = total_variation(values, labels, resampling)
    expected = 2 * norm.cdf(shift / 2) - 1
    assert found == pytest.approx(expected, abs=0.03)
    assert np.quantile(draws, 0.025) <= found <= np.quantile(draws, 0.975)


def test_densities_integrate_to_one():
    found = densities(*samples(2))
    for density in (found.memorized, found.others):
        assert np.trapezoid(density, found.grid) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shift", [0, 0.5, 1])
def test_kullback_leibler_of_two_normals(shift):
    """Known: shift^2 / 2."""
    estimates = []
    for seed in range(20):
        values, labels = samples(shift, 1000, seed)
        estimates.append(kullback_leibler(values[labels], values[~labels])[0])
    assert np.mean(estimates) == pytest.approx(shift**2 / 2, abs=0.06)


def test_kullback_leibler_of_two_scales():
    """log(s) + 1 / (2 s^2) - 1 / 2 of N(0, 1) to N(0, s^2); its error is that of repetition."""
    estimates = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        estimates.append(kullback_leibler(rng.standard_normal(500), 2 * rng.standard_normal(800)))
    values, errors = np.array(estimates).T
    assert values.mean() == pytest.approx(np.log(2) + 1 / 8 - 1 / 2, abs=0.04)
    assert 0.5 < errors.mean() / values.std() < 2


def test_pinsker_of_two_normals_and_of_the_printed_numbers():
    for shift in (0.1, 1, 3):
        assert shift**2 / 2 >= least_kl(2 * norm.cdf(shift / 2) - 1)
    assert least_kl(0.82) == pytest.approx(1.34, abs=0.01)
    assert least_kl(0.59) == pytest.approx(0.70, abs=0.01)
