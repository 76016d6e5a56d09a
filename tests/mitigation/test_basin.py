"""Delayed guidance against a loop of its own, and where it begins."""

import numpy as np
import pytest
import torch

from anisomem.errors import UserError
from anisomem.mitigation.base import Mitigated
from anisomem.mitigation.basin import AttractionBasin, Delayed
from anisomem.mitigation.none import NoMitigation
from anisomem.models.analytic import AnalyticMixture


@pytest.fixture
def mixture():
    m = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    return AnalyticMixture(torch.cat([3 * m, -3 * m]), [1.0, 1.0], ["+", "-"])


@torch.no_grad()
def by_hand(model, prompt, x, scale):
    """DDIM with a scale for each step, from its number, timestep and norm of the guidance."""
    steps = model.timesteps()
    ends = [*steps[1:], None]
    for i, (t, end) in enumerate(zip(steps, ends, strict=True)):
        c, u = (model.predict(x, t, model.encode([p])) for p in (prompt, ""))
        guidance = c.epsilon - u.epsilon
        noise = u.epsilon + scale(i, t, float(guidance.norm())) * guidance
        alpha, sigma = (float(s) for s in model.scales(torch.tensor([t])))
        next_alpha, next_sigma = (
            map(float, model.schedule.final_scales)
            if end is None
            else (float(s) for s in model.scales(torch.tensor([end])))
        )
        x = next_alpha * (x - sigma * noise) / alpha + next_sigma * noise
    return x


@pytest.mark.parametrize(("until", "before"), [(500, 0), (650, -2), (1000, 3)])
def test_the_prompt_guides_from_a_timestep_on(mixture, until, before):
    x = mixture.initial_noise(5, 1)
    found = AttractionBasin("b", until=until, before=before)(mixture, ["+"], x, [5])
    expected = by_hand(mixture, "+", x, lambda i, t, norm: 7.5 if t <= until else before)
    torch.testing.assert_close(found.sample(mixture), expected)
    assert found.efforts[0].nfe == 0
    if until == 1000:
        ordinary = NoMitigation("none")(mixture, ["+"], x, [5])
        torch.testing.assert_close(found.sample(mixture), ordinary.sample(mixture))


def test_or_from_where_the_norm_first_rises(mixture):
    x = mixture.initial_noise(5, 1)
    norms = []

    def scale(i, t, norm):
        norms.append(norm)
        rises = [k for k in range(2, i + 1) if norms[k - 2] > norms[k - 1] < norms[k]]
        return 7.5 if rises else 0.0

    found = AttractionBasin("b", until="rise")(mixture, ["+"], x, [5])
    torch.testing.assert_close(found.sample(mixture), by_hand(mixture, "+", x, scale))


def test_where_a_norm_rises():
    scale = Delayed(None, -1.0).start(7.5)
    curve = [5, 6, 4, 3, 3, 2, 4, 1, 0]  # a plateau is no minimum
    assert [scale(0, norm) for norm in curve] == [-1] * 6 + [7.5] * 3


def test_rows_keep_their_guides_alone_and_beside_others(mixture):
    prompts, seeds = ["+", "-", "+"], [1, 2, 3]
    x = torch.cat([mixture.initial_noise(seed, 1) for seed in seeds])
    late = AttractionBasin("b")(mixture, prompts, x, seeds)
    plain = NoMitigation("none")(mixture, prompts, x, seeds)
    mixed = Mitigated.cat([late[[0]], plain[[1, 2]], late[[2]]])
    alone = [late[[0]], plain[[1]], plain[[2]], late[[2]]]
    expected = torch.cat([one.sample(mixture) for one in alone])
    torch.testing.assert_close(mixed.sample(mixture), expected)
    assert not np.allclose(expected[2], expected[3])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"until": "never"}, "until must be a timestep or 'rise', got 'never'"),
        ({"until": -1}, "until must be a number from 0, got -1"),
        ({"before": "x"}, "before must be a number, got 'x'"),
        ({"before": float("nan")}, "before must be a number"),
    ],
)
def test_mistakes_are_one_line(settings, said):
    with pytest.raises(UserError, match=said):
        AttractionBasin("b", **settings)
