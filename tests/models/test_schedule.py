"""Timesteps that a user may ask for, and those outside."""

import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from anisomem.detection.needs import At
from anisomem.errors import UserError
from anisomem.models.schedule import DDIMSchedule, FlowSchedule, stable_diffusion_ddim

INTEGERS = "0 to 999 (integers)"
NUMBERS = "above 0 and up to 1000"


class Model:
    """What a place in a schedule is looked up in."""

    def __init__(self, schedule):
        self.schedule, self.timesteps = schedule, lambda: schedule.timesteps(50)


DDIM = Model(DDIMSchedule(stable_diffusion_ddim()))
FLOW = Model(FlowSchedule(FlowMatchEulerDiscreteScheduler(shift=3.0)))


@pytest.mark.parametrize(
    ("model", "text", "t"),
    [
        (DDIM, "t:0", 0),
        (DDIM, "t:999", 999),
        (DDIM, "step:0", 981),
        (DDIM, "step:-3", 41),
        (FLOW, "t:1000", 1000),
        (FLOW, "t:0.5", 0.5),
        (FLOW, "step:0", 1000),
    ],
)
def test_places_in_the_schedule(model, text, t):
    assert At(text).timestep_in(model) == t


@pytest.mark.parametrize(
    ("model", "text", "said"),
    [
        (DDIM, "t:1000", INTEGERS),
        (DDIM, "t:-1", INTEGERS),
        (DDIM, "t:41.5", INTEGERS),
        (DDIM, "step:50", "which has 0 to 49"),
        (DDIM, "step:-51", "which has 0 to 49"),
        (FLOW, "t:0", NUMBERS),
        (FLOW, "t:1000.5", NUMBERS),
        (FLOW, "t:-3", NUMBERS),
        (FLOW, "step:50", "which has 0 to 49"),
    ],
)
def test_outside_the_schedule_is_one_line(model, text, said):
    with pytest.raises(UserError) as caught:
        At(text).timestep_in(model)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
