"""Closed forms that several baselines are tested on."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from anisomem.models.analytic import AnalyticMixture
from anisomem.models.prediction import Parameterisation
from anisomem.models.schedule import FlowSchedule

CASES = [
    (Parameterisation.EPSILON, None),
    (Parameterisation.VELOCITY, None),
    (Parameterisation.FLOW, FlowSchedule(FlowMatchEulerDiscreteScheduler(shift=3.0))),
]


@pytest.fixture(params=CASES, ids=lambda case: str(case[0]))
def case(request):
    """Parameterisation and schedule: both variance-preserving ones, and flow matching."""
    return request.param


@pytest.fixture
def two_gaussians(case):
    """Prompts + and - of N(+-m, 9 I), |m| = 3, on latents of 4 x 2 x 2, and m; float64."""
    m = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    m *= 3 / m.norm()
    means = torch.cat([m, -m])
    return AnalyticMixture(means, [3.0, 3.0], ["+", "-"], None, *case), m
