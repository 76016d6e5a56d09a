"""What is declared as a cost is what is counted, with other settings than the usual ones, too."""

import pytest
from anisomem.baselines.brokman import PLaplace
from anisomem.baselines.nemo import NeMoSSIM

from anisomem.detection.anisotropy import Anisotropy
from anisomem.engine.counting import alone


@pytest.mark.parametrize(
    ("detector", "nfe"),
    [
        (Anisotropy("a"), 4),
        (Anisotropy("a", cos_latents="guided"), 96),  # 48 steps, both predictions
        (Anisotropy("a", cos_latents="unguided"), 48 + 1 + 1),
        (Anisotropy("a", cos_latents="guided", cos_at="step:-1", norm_at="step:2"), 100 + 2),
        (Anisotropy("a", 3, cos_latents="unguided", weights=(0, 1)), 3 * 49),
        (PLaplace("p", latents="guided", at="step:3", probes=2), 2 * 4 + 2),
        (PLaplace("p", latents="unguided", at="step:3", probes=2), 4 + 2),
        (PLaplace("p", latents="noise", probes=2), 1 + 2),
        (NeMoSSIM("n", n=2, scheduler_step=True), 2 * 2),
    ],
)
def test_declared_costs_are_counted(detector, nfe):
    assert detector.cost().nfe == alone(detector).nfe == nfe
    assert detector.cost() == alone(detector)
