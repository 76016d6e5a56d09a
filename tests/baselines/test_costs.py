"""What detectors declare to cost is what one prompt costs."""

import pytest
import torch
from anisomem.baselines.brokman import PLaplace
from anisomem.baselines.carlini import TiledL2
from anisomem.baselines.cyclic import CyclicDenoising
from anisomem.baselines.flipd import FLIPD
from anisomem.baselines.last_step import ScoreDifference
from anisomem.baselines.nemo import NeMoSSIM
from anisomem.baselines.seed_agreement import SeedAgreement
from anisomem.baselines.webster import WebsterBlackBox, WebsterWhiteBox

from anisomem.detection.base import Cost
from anisomem.engine.engine import Engine
from anisomem.models.analytic import AnalyticMixture


@pytest.mark.parametrize(
    "detector",
    [
        ScoreDifference("d"),
        ScoreDifference("d", n=2),
        WebsterWhiteBox("w", n=3),
        WebsterBlackBox("b"),
        NeMoSSIM("n", betas=[0.5, 0.5], kernel=7),
        TiledL2("t", n=2),
        TiledL2("t", n=3, pairs="min"),
        FLIPD("f", n=2),
        PLaplace("p", n=2),
        CyclicDenoising("c", n=2, cycles=3),
        SeedAgreement("s", n=2, similarity="l2"),
    ],
    ids=lambda detector: detector.key,
)
def test_declared_costs_are_those_of_one_prompt(detector):
    model = AnalyticMixture(torch.zeros(1, 4, 8, 8), [1.0], ["it"])
    engine = Engine(model, [detector])
    engine.evaluate(["it"], [0], 0)
    assert Cost(model.nfe, model.jvps) == detector.cost()
