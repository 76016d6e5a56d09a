"""Timesteps that a user may ask for, and those outside."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from anisomem.detection.places import At
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


@pytest.mark.parametrize(
    ("model", "gamma", "expected"),
    [
        (DDIM, 0.9, [899, 809, 719, 629, 539, 450, 360, 270, 180, 90]),  # 899.1 is 899
        (DDIM, 0.01, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (FLOW, 0.9, [900, 810, 720, 630, 540, 450, 360, 270, 180, 90]),
    ],
)
def test_steps_from_a_share_of_the_schedule(model, gamma, expected):
    steps, targets = model.schedule.partial(gamma, 10)
    assert steps == pytest.approx(expected)
    arrived = [*(model.schedule.scales(torch.tensor([t])) for t in steps[1:])]
    assert targets == [*arrived, model.schedule.final_scales]


def test_fewer_timesteps_than_steps_is_one_line():
    with pytest.raises(UserError, match=r"gamma=0.005 noises to timestep 5, .* 10 timesteps"):
        DDIM.schedule.partial(0.005, 10)
    steps, _ = FLOW.schedule.partial(0.005, 10)  # timesteps are real numbers
    assert steps[0] == pytest.approx(5) and steps[-1] == pytest.approx(0.5)
