"""What is recorded learns as torch's own optimiser does; the recording itself needs a GPU."""

import pytest
import torch

from anisomem.testbed.recorded import WARM_UP, AdamW, Recorded


def trained(make, rates):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimiser, set_rate = make(layer)
    for step, rate in enumerate(rates):
        set_rate(rate)
        layer(torch.full((4, 3), 1.0 + step)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return layer.weight.detach()


def test_the_rate_is_followed_as_torchs_own():
    def ours(layer):
        optimiser = AdamW(layer.parameters(), weight_decay=0.1)
        return optimiser, optimiser.rate.fill_

    def theirs(layer):
        optimiser = torch.optim.AdamW(layer.parameters(), weight_decay=0.1)
        return optimiser, lambda rate: optimiser.param_groups[0].update(lr=rate)

    rates = (0.01, 0.02, 0.005)
    torch.testing.assert_close(trained(ours, rates), trained(theirs, rates))


def test_a_loaded_state_leaves_the_rate_to_the_loop():
    layer = torch.nn.Linear(3, 2)
    first, second = (AdamW(layer.parameters(), weight_decay=0.1) for _ in range(2))
    first.rate.fill_(0.5)
    second.load_state_dict(first.state_dict())
    second.rate.fill_(0.25)
    assert [float(group["lr"]) for group in second.param_groups] == [0.25]
    assert float(first.rate) == 0.5


def test_a_state_of_another_device_does_not_say_what_this_one_asks_for():
    layer = torch.nn.Linear(3, 2)
    first, second = (AdamW(layer.parameters(), weight_decay=0.1) for _ in range(2))
    state = first.state_dict()
    state["param_groups"][0] |= {"fused": True, "capturable": True}  # as a GPU's says
    second.load_state_dict(state)
    assert [second.param_groups[0][key] for key in ("fused", "capturable")] == [False, False]
    assert state["param_groups"][0]["fused"] is True  # the caller's own is left as it is


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the recording itself needs a GPU")
def test_a_replayed_step_learns_as_one_that_is_called():
    weights = []
    for wrap in (Recorded, lambda function: function):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2).cuda()
        optimiser = AdamW(layer.parameters(), weight_decay=0.1)

        def learn(x, layer=layer, optimiser=optimiser):
            loss = layer(x).square().mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            return loss.detach()

        step = wrap(learn)
        for i in range(2 * WARM_UP):
            optimiser.rate.fill_(0.01 * (1 + i))
            step(torch.full((4, 3), 1.0 + i, device="cuda"))
        weights.append(layer.weight.detach())
    torch.testing.assert_close(*weights)


def test_without_a_gpu_a_step_is_called_as_it_is():
    calls = []

    def double(x):
        calls.append(x)
        return 2 * x

    step, x = Recorded(double), torch.ones(2)
    assert torch.equal(step(x), 2 * x) and torch.equal(step(3 * x), 6 * x)
    assert calls[0] is x and step.graph is None
