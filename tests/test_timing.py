"""Costs are measured, not assumed."""

import numpy as np
import pytest

from anisomem.timing import peak_mb, process_peak_mb


def test_peak_is_that_of_the_work_alone(make_pipeline):
    from anisomem.models.diffusers_unet import DiffusersUNet

    model = DiffusersUNet(make_pipeline())
    np.ones(40_000_000)  # 320 MB, freed before anything is measured
    assert process_peak_mb() > 320
    idle = peak_mb(model, lambda: None)
    assert idle < process_peak_mb() + 1
    assert peak_mb(model, lambda: np.ones(40_000_000)) == pytest.approx(idle + 320, abs=30)
