"""Attention detectors on hand-built maps and against a literal trajectory."""

import numpy as np
import pytest
import torch
from anisomem.baselines.bright_ending import BrightEnding, BrightMask, masked_norm
from anisomem.baselines.ren import AttentionEntropy, LayerEntropy
from scipy.stats import entropy

from anisomem.detection.base import Recorded
from anisomem.detection.needs import GUIDED, EndToken, Evaluations, TokenAttention
from anisomem.detection.places import FIRST, At
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.prediction import Parameterisation, Prediction

PROMPTS = ["a cat", "a red dog", "red"]
LAST = 1  # timestep


def maps(rows, layers, tokens, seed):
    """Attention that sums to one over tokens, float64 ``[rows, layers, tokens]``."""
    drawn = np.random.default_rng(seed).dirichlet(np.full(tokens, 0.3), size=(rows, layers))
    return torch.from_numpy(drawn)


def test_le_is_the_entropy_of_the_fourth_layer():
    attention = maps(3, 16, 77, seed=0)
    attention[0, 3] = 0
    attention[0, 3, 5] = 1  # all on one token: 0 log 0 counts nothing
    (component,) = LayerEntropy("le").components()
    found = component.compute(attention)
    np.testing.assert_allclose(found, entropy(attention[:, 3].numpy(), axis=1), rtol=1e-12)
    assert found[0] == 0
    uniform = torch.full((1, 16, 77), 1 / 77).double()
    value = component.compute(uniform)
    assert value.item() == pytest.approx(np.log(77))


@pytest.mark.parametrize("change", ["signed", "absolute"])
def test_ae_is_the_last_ten_steps_and_the_change_from_the_end_token_on(make_prompts, change):
    steps = [At(f"step:{i}") for i in range(50)]
    ends = torch.tensor([2, 5, 1])
    attention = {t: maps(3, 4, 9, seed=i) for i, t in enumerate(steps)}
    values = {TokenAttention(t, GUIDED): a for t, a in attention.items()}
    values[TokenAttention(FIRST)] = values.pop(TokenAttention(FIRST, GUIDED))
    evaluations = Evaluations(torch.zeros(3, 4, 2, 2), values | {EndToken(): ends})
    detector = AttentionEntropy("ae", change=change)
    recorded = {
        component.name: component.read(evaluations)[:, None].numpy()
        for component in detector.components()
    }
    scores = detector.combine(Recorded(recorded, make_prompts(PROMPTS, [1, 0, 0])))

    def terms(t, row, begin):
        mean = attention[t][row].mean(0).numpy()[begin:]
        return -sum(a * np.log(a) for a in mean)

    for row, end in enumerate(ends.tolist()):
        every = np.mean([terms(t, row, 0) for t in steps[-10:]])
        last = np.mean([terms(t, row, end) for t in steps[-10:]])
        difference = last - terms(FIRST, row, end)
        if change == "absolute":
            difference = abs(difference)
        assert scores[row] == pytest.approx(every + difference, rel=1e-10)


def test_be_divides_by_the_mean_of_the_mask():
    x = torch.zeros(2, 4, 2, 2).double()
    d = torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    scales = (torch.ones(2).double(),) * 2

    def prediction(raw):
        return Prediction(raw, x, *scales, Parameterisation.EPSILON)

    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.2, 0.2], [0.2, 0.2]]]).double()
    found = masked_norm(prediction(d), prediction(x), mask)
    # One position of four: its norm over a mean of 1/4; a constant mask cancels.
    expected = [4 * d[0, :, 0, 0].norm().item(), d[1].norm().item()]
    np.testing.assert_allclose(found, expected, rtol=1e-12)

    coarse = torch.tensor([[[0.6]], [[0.3]]]).double()  # one position for all four: constant
    found = masked_norm(prediction(d), prediction(x), coarse)
    np.testing.assert_allclose(found, d.flatten(1).norm(dim=1), rtol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("v2", [False, True])
def test_be_along_one_trajectory_is_what_two_generations_give(make_pipeline, make_prompts, v2):
    model = DiffusersUNet(make_pipeline(v2=v2, dtype=torch.float64))
    two, mask = BrightEnding("be", 2, steps=2), BrightMask("mask", 2)
    recorded = Engine(model, [two, mask]).evaluate(PROMPTS, range(3), 5)
    assert model.nfe - 2 == 2 * 99 * 3  # a trajectory for each sample, the last step's mask
    encoded = model.encode(PROMPTS)
    norms = []
    for x in model.initial_noise(5, 2).double()[:, None].expand(-1, 3, -1, -1, -1):
        steps = list(model.trajectory(x, encoded))
        end = model.attend(steps[-1].conditional.x, LAST, encoded)[1].end
        norms.append(
            [
                ((s.conditional.raw - s.unconditional.raw) * end[:, None]).flatten(1).norm(dim=1)
                / end.mean(dim=(1, 2))
                for s in steps[:2]
            ]
        )
        sample = len(norms) - 1
        np.testing.assert_allclose(
            recorded["bright_ending/mask"][:, sample], end.mean(dim=(1, 2)), rtol=1e-8
        )
    scores = two.combine(Recorded(recorded, make_prompts(PROMPTS, [1, 0, 0])))
    expected = torch.stack([step for sample in norms for step in sample]).mean(0)
    np.testing.assert_allclose(scores, expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: AttentionEntropy("ae", change="abs"), "did you mean 'absolute'"),
        (lambda: LayerEntropy("le", layer=-1), "layer must be an integer from 0, got -1"),
        (lambda: BrightEnding("be", steps=51), "steps must be an integer from 1 to 50, got 51"),
    ],
)
def test_mistakes_are_one_line(wrong, message):
    with pytest.raises(UserError, match=message):
        wrong()


def test_a_layer_that_the_model_lacks_is_one_line(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    with pytest.raises(UserError, match=r"layer 9 of le: the model has .* layers 0 to 6"):
        Engine(model, [LayerEntropy("le", layer=9)]).evaluate(PROMPTS, range(3), 5)
