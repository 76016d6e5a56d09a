"""Places in a schedule."""

import pytest
import torch

from anisomem.config import catalog
from anisomem.detection.places import FIRST, LAST, At
from anisomem.errors import UserError
from anisomem.models import families
from anisomem.models.analytic import AnalyticMixture


def test_noise_that_is_the_latent_itself_is_not_read():
    flow = families.load(catalog.testbed("flow"), device="cpu")
    x, prompts = flow.initial_noise(0, 1).repeat(2, 1, 1, 1), flow.encode(["a fox", "a cup"])
    first = flow.predict(x, FIRST.timestep_in(flow), prompts)
    assert torch.equal(first.epsilon, x.to(first.epsilon))  # so nothing of the prompts is in it
    assert not torch.allclose(first.output[0], first.output[1])
    with pytest.raises(UserError, match="at step:0 the latent is the noise, whatever the prompt"):
        FIRST.require_noise(flow)
    for place in (At("step:1"), LAST):
        place.require_noise(flow)


def test_a_timestep_is_of_the_schedules_kind_however_it_is_written():
    model = AnalyticMixture(torch.zeros(1, 1, 2, 2), [0.5], ["it"])
    for text in ("t:999", "t:999.0", "t:9.99e2", "t:981.0"):
        found = At(text).timestep_in(model)
        assert type(found) is int and found == At(text).t
    flow = families.load(catalog.testbed("flow"), device="cpu")
    assert all(type(At(text).timestep_in(flow)) is float for text in ("t:500", "t:500.0"))


@pytest.mark.parametrize("variant", ["epsilon", "velocity"])
def test_of_schedules_that_leave_some_of_the_picture_it_is(variant):
    FIRST.require_noise(families.load(catalog.testbed(variant), device="cpu"))
