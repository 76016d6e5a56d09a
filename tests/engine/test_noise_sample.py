"""Every need of one noise sample against the model evaluated by hand, and what it costs."""

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anisomem.detection.base import AcrossSamples, Component, Detector
from anisomem.detection.needs import (
    GENERATED,
    GUIDED,
    NOISE,
    UNGUIDED,
    After,
    Conditional,
    Curvature,
    Divergence,
    EndAttention,
    EndToken,
    GuidanceDerivative,
    Nearby,
    Noise,
    OneStepPicture,
    Picture,
    TokenAttention,
    Unconditional,
)
from anisomem.detection.of_baseline import OfBaseline
from anisomem.detection.places import At
from anisomem.engine.engine import Engine
from anisomem.engine.noise_sample import NoiseSample
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.conditioning import Conditioning
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.prediction import Parameterisation

PROMPTS = ["a cat", "a red dog", "red", "dog cat"]
SIZE, SEED, FIRST = len(PROMPTS), 7, 981


@dataclass
class Asking(Detector):
    """Records nothing of interest, so that all its needs are evaluated."""

    needs: tuple = ()

    def components(self):
        needs = (Noise(), *self.needs)
        return [Component("asked", needs, lambda noise, *_: torch.zeros(len(noise)))]


at = At.timestep


def evaluated(model, *needs, **settings):
    """The evaluations of the first noise sample."""
    engine = Engine(model, [Asking("asking", needs=needs)], **settings)
    return next(engine.evaluations(PROMPTS, range(SIZE), SEED)), engine


@pytest.fixture
def model(make_pipeline):
    return DiffusersUNet(make_pipeline(prediction_type="v_prediction", dtype=torch.float64))


@torch.no_grad()
def by_hand(model, t):
    """Latents, both predictions and the latents afterwards at a step of the guided trajectory."""
    x = model.initial_noise(SEED, 1).to(model.dtype).expand(SIZE, -1, -1, -1)
    for step in model.trajectory(x, model.encode(PROMPTS)):
        if step.t == t:
            return step.conditional.x, step
    raise AssertionError


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)


@torch.no_grad()
@pytest.mark.parametrize("t", [FIRST, 541, 1])
def test_everything_along_the_guided_trajectory(model, t):
    needs = [kind(at(t), GUIDED) for kind in (Conditional, Unconditional, GuidanceDerivative)]
    needs += [TokenAttention(at(t), GUIDED), EndAttention(at(t), GUIDED), After(at(t))]
    found, engine = evaluated(model, *needs)
    steps = model.timesteps().index(t) + 1
    assert (
        model.nfe
        == (2 * steps - 1) * SIZE + 1
        == (2 * steps - 1) * SIZE + engine.batches.shared_nfe
    )
    assert model.jvps == 2 * SIZE

    x, step = by_hand(model, t)
    close(found[Conditional(at(t), GUIDED)].output, step.conditional.output)
    close(found[Unconditional(at(t), GUIDED)].output, step.unconditional.output)
    close(found[After(at(t))], step.after)
    _, attention = model.attend(x, t, model.encode(PROMPTS))
    close(found[TokenAttention(at(t), GUIDED)], attention.tokens)
    close(found[EndAttention(at(t), GUIDED)], attention.end)
    along = step.conditional.raw - step.unconditional.raw
    _, c = model.jvp(x, t, model.encode(PROMPTS), along)
    _, u = model.jvp(x, t, model.encode([""] * SIZE), along)
    close(found[GuidanceDerivative(at(t), GUIDED)], c - u)


@torch.no_grad()
def test_everything_at_the_end_of_it(model):
    needs = [Conditional(at(261), GENERATED), Unconditional(at(261), GENERATED), Picture()]
    needs += [Divergence(at(261), GENERATED, 2), Nearby(at(261), GENERATED, 0.5, 1)]
    found, _ = evaluated(model, *needs)
    _, step = by_hand(model, 1)
    alpha = float(model.scales(torch.tensor([261]))[0])
    x, encoded = alpha * step.after, model.encode(PROMPTS)
    close(found[Conditional(at(261), GENERATED)].output, model.predict(x, 261, encoded).output)
    without = model.predict(x, 261, model.encode([""] * SIZE))
    close(found[Unconditional(at(261), GENERATED)].output, without.output)
    assert np.array_equal(found[Picture()], model.decode(step.after))

    beside = found[Nearby(at(261), GENERATED, 0.5, 1)]
    distance = beside.x - x
    radius = 0.5 * model.scales(torch.tensor([261]))[1] * 16  # in units of sigma, D = 256
    close(distance.flatten(1).norm(dim=1), radius.expand(SIZE))
    close(beside.output, model.predict(beside.x, 261, encoded).output)
    # Probe 1 is the second of the divergence's directions, there by its signs.
    _, derivative = model.jvp(x, 261, encoded, distance.sign())
    products = found[Divergence(at(261), GENERATED, 2)]
    close(products[:, 1], (distance.sign() * derivative).flatten(1).sum(1))
    assert not torch.allclose(products[:, 0], products[:, 1])


@torch.no_grad()
def test_pictures_of_one_step_are_the_guided_guess_at_the_data(model):
    found, engine = evaluated(model, OneStepPicture(at(999)))
    assert model.nfe - engine.batches.shared_nfe == SIZE
    x = model.initial_noise(SEED, 1).double().expand(SIZE, -1, -1, -1)
    c = model.predict(x, 999, model.encode(PROMPTS)).x0
    u = model.predict(x, 999, model.encode([""] * SIZE)).x0
    assert np.array_equal(found[OneStepPicture(at(999))], model.decode(u + 7.5 * (c - u)))


def test_attention_and_derivatives_on_noise_come_with_the_predictions(model):
    x = model.initial_noise(SEED, 1).double().expand(SIZE, -1, -1, -1)
    needs = [
        TokenAttention(at(FIRST)),
        EndToken(),
        EndAttention(at(41)),
        Divergence(at(41), NOISE, 1),
        Conditional(at(1)),
    ]
    found, _ = evaluated(model, *needs)
    assert model.nfe == 3 * SIZE
    assert model.jvps == SIZE
    with torch.no_grad():
        close(
            found[TokenAttention(at(FIRST))],
            model.attend(x, FIRST, model.encode(PROMPTS))[1].tokens,
        )
        close(found[EndAttention(at(41))], model.attend(x, 41, model.encode(PROMPTS))[1].end)
    lengths = [len(ids) for ids in model.pipeline.tokenizer(PROMPTS).input_ids]
    assert (found[EndToken()] + 1).tolist() == lengths


def test_trajectories_begin_with_what_is_known_on_noise(model):
    # 49 guided steps and 49 unguided ones more, two predictions on noise, one without prompt.
    both = [
        Conditional(at(t), latents) for t in (FIRST, 1) for latents in (NOISE, GUIDED, UNGUIDED)
    ]
    found, engine = evaluated(model, *both, Unconditional(at(FIRST), UNGUIDED))
    assert model.nfe == (2 * 49 + 49 + 2) * SIZE + engine.batches.shared_nfe
    assert engine.batches.shared_nfe == 1
    assert found[Conditional(at(FIRST), GUIDED)] is found[Conditional(at(FIRST))]


@pytest.mark.parametrize("policy", ["shared", "per_prompt"])
def test_batches_change_nothing(model, policy):
    needs = [
        *(
            GuidanceDerivative(at(941), GUIDED),
            TokenAttention(at(941), GUIDED),
            After(at(901)),
            Picture(),
        ),
        *(
            Conditional(at(941), UNGUIDED),
            Divergence(at(41), GENERATED, 2),
            Nearby(at(41), GENERATED, 0.1, 0),
        ),
        *(EndAttention(at(981)), Unconditional(at(41))),
    ]
    all_, _ = evaluated(model, *needs, noise_policy=policy)
    for batch_size in (1, 3):
        some, _ = evaluated(model, *needs, noise_policy=policy, batch_size=batch_size)
        for need in needs:
            values = [getattr(e[need], "raw", e[need]) for e in (some, all_)]
            torch.testing.assert_close(*values, rtol=1e-9, atol=1e-9)


def test_divergence_of_an_isotropic_gaussian_is_exact_for_every_probe():
    # c = sigma (x - alpha mu) / v, so v . J v = D sigma / v for any signs.
    mean = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    gaussian = AnalyticMixture(mean, [0.5], ["it"])
    engine = Engine(gaussian, [Asking("a", needs=(Divergence(at(41), NOISE, 3),))])
    found = next(engine.evaluations(["it", "it"], [0, 1], SEED))
    alpha, sigma = (float(scale) for scale in gaussian.scales(torch.tensor(41)))
    expected = 16 * sigma / (0.25 * alpha**2 + sigma**2)
    close(
        found[Divergence(at(41), NOISE, 3)],
        torch.full((2, 3), expected, dtype=torch.float64),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_divergence_beyond_half_precision_is_summed_in_float32(dtype):
    size = (4, 96, 96)  # of 2 sigma / v on the diagonal, 73,728 in all
    model = SimpleNamespace(jvp=lambda x, t, encoded, v: (x, 2 * v))
    signs = torch.where(torch.arange(4 * 96 * 96).reshape(size) % 3 > 0, 1.0, -1.0).to(dtype)
    sample = SimpleNamespace(model=model, encoded=[None, None], _direction=lambda i: signs)
    x = torch.zeros(2, *size, dtype=dtype)
    found = NoiseSample._quadratic(sample, x, 41, slice(0, 2), 0)
    assert found.tolist() == [2 * 4 * 96 * 96] * 2


@dataclass
class Spread(Detector):
    """The largest difference between two noise samples' first numbers."""

    def components(self):
        def compute(kept):
            return torch.stack(kept).amax(0) - torch.stack(kept).amin(0)

        return [AcrossSamples("spread", [Noise()], lambda noise: noise[:, 0, 0, 0], compute)]


def test_what_compares_samples_is_known_for_every_smaller_n(model, make_prompts):
    from anisomem.detection.base import Recorded

    few, many = Spread("few", 2), Spread("many", 5)
    components = Engine(model, [few, many]).evaluate(PROMPTS, range(SIZE), SEED)
    first = model.initial_noise(SEED, 5)[:, 0, 0, 0].numpy()
    expected = [np.ptp(first[: n + 1]) for n in range(5)]
    np.testing.assert_allclose(components["spread"], [expected] * SIZE, rtol=1e-6)
    assert all(a <= b for a, b in pairwise(expected))
    recorded = Recorded(components, make_prompts(PROMPTS, [1, 0, 0, 0]))
    assert few.combine(recorded) == pytest.approx([expected[1]] * SIZE)
    assert many.combine(recorded) == pytest.approx([expected[4]] * SIZE)


def test_probes_depend_on_seed_and_sample_alone(model):
    need = Nearby(at(41), NOISE, 1.0, 0)
    engine = Engine(model, [Asking("a", 2, needs=(need,))])
    shifts = [
        [e[need].x - e.noise for e in engine.evaluations(PROMPTS[:rows], range(rows), seed)]
        for rows, seed in ((2, SEED), (1, SEED), (1, SEED + 1))
    ]
    close(shifts[0][0][0], shifts[0][0][1])
    close(shifts[0][0][:1], shifts[1][0])
    assert not torch.allclose(shifts[1][0], shifts[1][1])
    assert not torch.allclose(shifts[1][0], shifts[2][0])


def test_conditionings_keep_their_rows():
    parts = [Conditioning(end=torch.tensor(ends)) for ends in ([1, 2], [3])]
    assert Conditioning.cat(parts)[[2, 0]].tensors["end"].tolist() == [3, 1]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_serve_every_need(make_pipeline, dtype):
    model = DiffusersUNet(make_pipeline(dtype=dtype))
    needs = [
        *(
            GuidanceDerivative(at(961), GUIDED),
            TokenAttention(at(961), GUIDED),
            Conditional(at(41), UNGUIDED),
        ),
        *(
            Divergence(at(41), GENERATED, 1),
            Nearby(at(41), GENERATED, 0.5, 0),
            Picture(),
            OneStepPicture(at(999)),
        ),
        GuidanceDerivative(at(FIRST)),
    ]
    found, _ = evaluated(model, *needs)
    for need, value in found.values.items():
        assert getattr(value, "output", value).isfinite().all(), need
    assert found[TokenAttention(at(961), GUIDED)].dtype == torch.float32


@torch.no_grad()
def test_everything_of_a_baseline_is_at_the_latents_of_the_model(model, make_pipeline):
    other = DiffusersUNet(make_pipeline("v_prediction", dtype=torch.float64, seed=1))
    model.baseline = other
    places = [(541, NOISE), (541, GUIDED), (541, UNGUIDED), (261, GENERATED)]
    kinds = (Conditional, Unconditional, Curvature, GuidanceDerivative)
    needs = [OfBaseline(kind(at(t), latents)) for kind in kinds for t, latents in places]
    needs += [Conditional(at(t), latents) for t, latents in places]
    found, engine = evaluated(model, *needs)
    prompts, empty = other.encode(PROMPTS), other.encode([""] * SIZE)
    for t, latents in places:
        x = found[Conditional(at(t), latents)].x
        c, u = other.predict(x, t, prompts), other.predict(x, t, empty)
        close(found[OfBaseline(Conditional(at(t), latents))].output, c.output)
        close(found[OfBaseline(Unconditional(at(t), latents))].output, u.output)
        along = c.raw - u.raw
        expected = other.jvp(x, t, prompts, along)[1] - other.jvp(x, t, empty, along)[1]
        close(found[OfBaseline(GuidanceDerivative(at(t), latents))], expected)
        assert found[OfBaseline(Curvature(at(t), latents))].shape == (SIZE, 8, 8)
    # On shared noise once for all: the baseline at t = 541, the model where its trajectory begins.
    assert (engine.batches.shared_nfe, engine.shared_nfe) == (1, 2)


def test_a_baseline_is_evaluated_for_what_asks_for_it_alone(model, make_pipeline):
    model.baseline = DiffusersUNet(make_pipeline("v_prediction", dtype=torch.float64, seed=1))
    evaluated(model, Conditional(at(1), GUIDED))
    assert model.baseline.nfe == 0
    with pytest.raises(TypeError, match="EndAttention"):
        OfBaseline(EndAttention(at(1)))


@pytest.mark.parametrize("parameterisation", Parameterisation)
def test_curvature_is_the_diagonal_of_the_jacobian_of_noise(parameterisation):
    # eps = sigma (x - alpha mu) / v whatever the network predicts, so every diagonal is sigma / v.
    mean = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    gaussian = AnalyticMixture(mean, [0.5], ["it"], None, parameterisation)
    need = Curvature(at(541), NOISE, 2)
    engine = Engine(gaussian, [Asking("a", needs=(need,))])
    found = next(engine.evaluations(["it", "it"], [0, 1], SEED))
    alpha, sigma = (float(scale) for scale in gaussian.scales(torch.tensor(541)))
    expected = 4 * sigma / (0.25 * alpha**2 + sigma**2)
    close(found[need], torch.full((2, 2, 2), expected, dtype=torch.float64))
