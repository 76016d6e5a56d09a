import numpy as np
import pytest
import torch

from anisomem.geometry import dials, tightness


def test_dials_leave_the_data_alone():
    """Unit variance, and within-component covariances of the condition number asked for."""
    for chi, shrinkage in ((1.0, 1.0), (100.0, 0.1), (1e4, 0.03)):
        generator = torch.Generator().manual_seed(0)
        mixture, memorized = dials.family(dials.Dials(chi, shrinkage), generator)
        within = np.linalg.eigvalsh(mixture.covariances.numpy())
        np.testing.assert_allclose(within[:, -1] / within[:, 0], chi, rtol=1e-6)
        ratio = within.mean(axis=1) / np.where(memorized, shrinkage**2, 1)
        np.testing.assert_allclose(ratio, 0.5, rtol=1e-9)
        for part in (memorized == 1, memorized == 0):
            total = mixture.means[part].square().mean() + within[part].mean()
            # the largest eigenvalue has all the weight at 1e4, so the mean square is of few draws
            assert float(total) == pytest.approx(1, abs=0.2)


def test_without_memorization_nothing_separates():
    for summary in dials.summaries(dials.Dials(10.0, 1.0)).values():
        assert summary.auc.interval.low < 0.5 < summary.auc.interval.high


def test_what_fails_in_closed_form():
    """At low noise norm and HVP separate on noise and are reversed on noised samples; a cosine
    that may only turn is reversed on noise."""
    found = {k: v.auc.value for k, v in dials.summaries(dials.Dials(10.0, 0.1)).items()}
    for measure in ("norm", "HVP"):
        assert found[measure, dials.LOW, "noise"] > 0.95
        assert found[measure, dials.LOW, "noised"] < 0.05
        assert found[measure, dials.HIGH, "noise"] > 0.95
    assert found["cosine", dials.LOW, "noise"] > 0.95
    assert found["cosine at equal length", dials.LOW, "noise"] < 0.05


def test_theorem_map():
    cells = tightness.grid()
    assert sum(cell.violations for cell in cells) == 0
    at = {(c.displacement, c.shrinkage, c.chi): c for c in cells}
    near = at[0.0, 0.01, 1.0]  # no displacement, isotropic: the bound is attained
    assert near.r == pytest.approx(0, abs=1e-9) and near.cosine == pytest.approx(1)
    # A typical picture at unit variance is as far from the noise as the noise is long:
    # cos = |x| / sqrt(|x|^2 + |m|^2) = 1 / sqrt(2) on average, and the theorem is silent.
    typical = at[1.0, 0.01, 1.0]
    assert typical.cosine == pytest.approx(0.7, abs=0.06) and typical.r > 0.9
