"""The metric against a literal reading of the released code and against a closed form."""

import itertools

import numpy as np
import pytest
import torch

from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Recorded
from anisomem.detection.weighted import PUBLISHED, Gamma
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.evaluation import fit_in_folds
from anisomem.models.analytic import AnalyticMixture
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.prediction import Parameterisation

PROMPTS = ["a cat", "a red dog", "red"]
MODES = ("x,c|x", "x,x|c", "x|c,c|x")
NORMALISATIONS = ("none", "L1", "L2")


def guidance_batch(pipeline, prompt, n, seed, t):
    """u and c of one prompt as a script around the pipeline gets them."""
    torch.manual_seed(seed)
    size = pipeline.unet.config.sample_size
    latents = torch.randn(n, pipeline.unet.config.in_channels, size, size)
    embeddings, negative = pipeline.encode_prompt(prompt, "cpu", n, True)
    output = pipeline.unet(
        torch.cat([latents] * 2), t, encoder_hidden_states=torch.cat([negative, embeddings])
    ).sample
    return output.chunk(2)


def literal_normalise(output, kind):
    output = output.clone()
    for sample in output:
        if kind == "L1":
            sample /= sum(abs(float(value)) for value in sample.flatten())
        if kind == "L2":
            for channel in sample:
                channel /= float((channel * channel).sum()) ** 0.5 + 1e-6
    return output


def literal_norms(pipeline, u, c, t, kind):
    """One number per noise sample; the released code averages them."""
    u, c = literal_normalise(u, kind), literal_normalise(c, kind)
    abar = float(pipeline.scheduler.alphas_cumprod[t])
    if pipeline.scheduler.config.prediction_type == "v_prediction":
        difference = abar**0.5 * (c - u) / (1 - abar)
    else:
        difference = c - u
    return [torch.linalg.vector_norm(sample).item() for sample in difference]


def literal_cosines(u, c, mode, kind):
    """cos over channels at every position, then the mean over positions."""
    u, c = literal_normalise(u, kind), literal_normalise(c, kind)
    a, b = {"x,c|x": (u, c - u), "x,x|c": (u, c), "x|c,c|x": (c, c - u)}[mode]
    means = []
    for i in range(len(u)):
        cosines = [
            float(a[i, :, y, x] @ b[i, :, y, x] / (a[i, :, y, x].norm() * b[i, :, y, x].norm()))
            for y in range(u.shape[2])
            for x in range(u.shape[3])
        ]
        means.append(sum(cosines) / len(cosines))
    return means


# (norm_at, cos_at) and the timesteps they stand for
PLACES = [
    ("step:0", "step:-3", 981, 41),
    ("t:850", "step:5", 850, 881),
]


@torch.no_grad()
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("n", "seed"), [(1, 42), (1, 51), (4, 42), (4, 51)])
def test_components_equal_a_literal_reading_of_the_released_code(
    make_pipeline, prediction_type, n, seed
):
    pipeline = make_pipeline(prediction_type=prediction_type)
    detectors = {
        (place, mode, kind): Anisotropy(
            "a", n, "released", mode, kind, *PLACES[place][:2], weights=(1.0, 1.0)
        )
        for place, mode, kind in itertools.product(range(len(PLACES)), MODES, NORMALISATIONS)
    }
    model = DiffusersUNet(pipeline)
    recorded = Engine(model, list(detectors.values())).evaluate(PROMPTS, range(3), seed)
    # norms: 2 places x 3 normalisations; cosines: these times 3 modes
    assert len(recorded) == 6 + 18

    steps = {t for *_, t_norm, t_cos in PLACES for t in (t_norm, t_cos)}
    for row, prompt in enumerate(PROMPTS):
        outputs = {t: guidance_batch(pipeline, prompt, n, seed, t) for t in steps}
        for (place, mode, kind), detector in detectors.items():
            t_norm, t_cos = PLACES[place][2:]
            norms = literal_norms(pipeline, *outputs[t_norm], t_norm, kind)
            np.testing.assert_allclose(recorded[detector.norm_name][row], norms, rtol=1e-5)
            cosines = literal_cosines(*outputs[t_cos], mode, kind)
            np.testing.assert_allclose(recorded[detector.cos_name][row], cosines, atol=1e-5)


def two_gaussians(parameterisation, s=3.0, seed=0):
    """N(+m, s^2 I) and N(-m, s^2 I) with equal weights, and m."""
    m = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(seed)).double()
    m *= 6 / m.norm()
    model = AnalyticMixture(torch.cat([m, -m]), [s, s], ["+", "-"], None, parameterisation)
    return model, m.flatten().numpy()


@pytest.mark.parametrize("parameterisation", Parameterisation)
def test_papers_convention_in_closed_form(parameterisation):
    # With v = alpha^2 s^2 + sigma^2 the posterior of +m at x is 1 / (1 + exp(-2 alpha m.x / v)),
    # so with tau = tanh(alpha m.x / v) the scores are
    #   s_u = (alpha tau m - x) / v,   s_c(+-) = (+-alpha m - x) / v,
    #   s_delta(+-) = alpha (+-1 - tau) m / v.
    # Hence |s_delta(+-)| = alpha |m| (1 -+ tau) / v, and s_delta points along +-m, so that
    #   cos(s_delta(+-), s_u) = +-(alpha tau |m|^2 - m.x) / (|m| |alpha tau m - x|).
    model, m = two_gaussians(parameterisation)
    detector = Anisotropy("a", n=4, convention="paper", cos_at="t:1")
    recorded = Engine(model, [detector]).evaluate(["+", "-"], [0, 1], seed=51)
    torch.manual_seed(51)
    samples = torch.randn(4, 4, 2, 2).flatten(1).double().numpy()
    for i, x in enumerate(samples):
        for t, name in ((981, detector.norm_name), (1, detector.cos_name)):
            alpha, sigma = (float(scale) for scale in model.scales(torch.tensor(t)))
            v = 9 * alpha**2 + sigma**2
            tau = np.tanh(alpha * m @ x / v)
            length = np.linalg.norm(m)
            for row, sign in enumerate((1, -1)):
                if t == 981:
                    expected = alpha * length * (1 - sign * tau) / v
                else:
                    u = alpha * tau * m - x
                    expected = sign * (m @ u) / (length * np.linalg.norm(u))
                assert recorded[name][row, i] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_paper_and_released_norms_differ_by_the_documented_factors(make_pipeline):
    # epsilon: scores are outputs / sigma; velocity: alpha / sigma in truth, alpha / sigma^2 as
    # released. The cosine of the paper is over the whole latent.
    for prediction_type in ("epsilon", "v_prediction"):
        pipeline = make_pipeline(prediction_type=prediction_type)
        sigma = (1 - float(pipeline.scheduler.alphas_cumprod[981])) ** 0.5
        released, paper = Anisotropy("r"), Anisotropy("p", convention="paper", mode="x|c,c|x")
        recorded = Engine(DiffusersUNet(pipeline), [released, paper]).evaluate(PROMPTS, [0], 3)
        factor = 1 / sigma if prediction_type == "epsilon" else sigma
        np.testing.assert_allclose(
            recorded[paper.norm_name], factor * recorded[released.norm_name], rtol=1e-5
        )
        with torch.no_grad():
            u, c = guidance_batch(pipeline, PROMPTS[1], 1, 3, 41)
        if prediction_type == "v_prediction":
            abar = float(pipeline.scheduler.alphas_cumprod[41])
            torch.manual_seed(3)
            x = torch.randn(1, 4, 8, 8)
            u, c = (-x - (abar / (1 - abar)) ** 0.5 * output for output in (u, c))
        sign = -1 if prediction_type == "epsilon" else 1  # s = -eps / sigma
        a, b = sign * c.flatten(), sign * (c - u).flatten()
        expected = float(a @ b / (a.norm() * b.norm()))
        assert recorded[paper.cos_name][1, 0] == pytest.approx(expected, abs=1e-5)


LABELS = [1, 1, 1, 1, 0, 0, 0, 0] * 5
SIZE = len(LABELS)


def recorded_components(make_prompts, detector, stands_for=None):
    rng = np.random.default_rng(0)
    norm, cosine = rng.normal(size=(2, SIZE, 4)) + np.array(LABELS)[:, None]
    components = {detector.norm_name: 50 + 10 * norm, detector.cos_name: cosine / 10}
    prompts = make_prompts([f"prompt {i}" for i in range(SIZE)], LABELS)
    return Recorded(components, prompts, stands_for), 50 + 10 * norm, cosine / 10


@pytest.mark.parametrize("n", [1, 3, 4])
def test_weighted_sums_average_the_first_n_samples(make_prompts, n):
    published = Anisotropy("a", n)
    for model, norm_weight, cos_weight in (
        ("sd14", 1.0, 2.0),
        ("sd20", 1.0, 0.1),
        ("realvis51", 2.0 * 0.07643818009268735, 1.0),  # sqrt(abar) / (1 - abar), t = 981
    ):
        recorded, norm, cosine = recorded_components(make_prompts, published, model)
        norm, cosine = norm[:, :n].mean(axis=1), cosine[:, :n].mean(axis=1)
        expected = norm_weight * norm + cos_weight * cosine
        np.testing.assert_allclose(published.combine(recorded), expected, rtol=1e-12)
        own = Anisotropy("a", n, weights=[norm_weight, cos_weight])
        np.testing.assert_allclose(own.combine(recorded), expected, rtol=1e-12)
    only_cosine = Anisotropy("a", n, weights=(0, -3)).combine(recorded)
    np.testing.assert_allclose(only_cosine, -3 * cosine, rtol=1e-12)

    negatives = np.array(LABELS) == 0
    expected = (norm - norm[negatives].mean()) / norm[negatives].std()
    expected += (cosine - cosine[negatives].mean()) / cosine[negatives].std()
    equal = Anisotropy("a", n, weights="equal")
    np.testing.assert_allclose(equal.combine(recorded), expected, rtol=1e-12)


def test_fitted_weights_ignore_units_and_keep_clusters_whole(make_prompts):
    detector = Anisotropy("a", 4, weights="fitted")
    recorded, norm, cosine = recorded_components(make_prompts, detector)
    scores = detector.combine(recorded)
    assert np.corrcoef(scores, LABELS)[0, 1] > 0.7

    rescaled = {detector.norm_name: norm / 1e3 - 7, detector.cos_name: cosine * 1e3 + 5}
    again = detector.combine(Recorded(rescaled, recorded.prompts))
    np.testing.assert_allclose(again, scores, rtol=1e-6)

    # Clusters stay in one fold: a class that is one cluster can not be fitted without itself.
    one_cluster = [-1 if label else i for i, label in enumerate(LABELS)]
    prompts = make_prompts(recorded.prompts.texts, LABELS, one_cluster)
    with pytest.raises((UserError, ValueError), match="two clusters"):
        detector.combine(Recorded(recorded.components, prompts))


def test_a_component_of_weight_zero_costs_nothing(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    for weights, name in (((1, 0), "norm_name"), ((0.0, 2.0), "cos_name")):
        detector = Anisotropy("a", weights=weights)
        before = model.nfe
        recorded = Engine(model, [detector]).evaluate(PROMPTS, range(3), 0)
        assert list(recorded) == [getattr(detector, name)]
        assert model.nfe - before == 3 + 1


def test_components_of_equal_choices_are_recorded_once(make_pipeline):
    model = DiffusersUNet(make_pipeline())
    detectors = [
        Anisotropy("published"),
        Anisotropy("fitted", weights="fitted"),
        Anisotropy("norm", weights=(1, 0)),
        Anisotropy("other mode", mode="x,x|c"),  # shares the norm
    ]
    assert len(Engine(model, detectors).components) == 3


NO_WEIGHTS = (
    "weights must be published, equal, fitted or two numbers (gamma_norm, gamma_cos) that are "
    "finite and not both 0"
)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"convention": "papr"}, "no convention named 'papr'; did you mean 'paper'?"),
        ({"mode": "x,x|d"}, "no mode named 'x,x|d'; did you mean 'x,x|c'?"),
        ({"normalisation": "l2"}, "no normalisation named 'l2'; did you mean 'L2'?"),
        ({"weights": "publshed"}, "no weights named 'publshed'; did you mean 'published'?"),
        ({"weights": [1.0]}, f"{NO_WEIGHTS}, got [1.0]"),
        ({"weights": (0, 0.0)}, f"{NO_WEIGHTS}, got (0, 0.0)"),
        ({"weights": 1.0}, f"{NO_WEIGHTS}, got 1.0"),
        ({"weights": ["a", 1]}, f"{NO_WEIGHTS}, got ['a', 1]"),
    ],
)
def test_unknown_choices_are_one_line(choices, message):
    with pytest.raises(UserError) as caught:
        Anisotropy("a", **choices)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("t:1000", "timestep 1000 is outside the schedule, which has 0 to 999"),
        ("step:50", "step 50 is outside the schedule, which has 0 to 49"),
        ("step:-51", "step -51 is outside the schedule, which has 0 to 49"),
        ("t:-1", "timestep -1 is outside the schedule, which has 0 to 999"),
        ("stp=1", "a timestep reads step:INDEX or t:VALUE, got 'stp=1'"),
        ("step:1.5", "a timestep reads step:INDEX or t:VALUE, got 'step:1.5'"),
    ],
)
def test_timesteps_outside_the_schedule_are_one_line(place, message):
    model, _ = two_gaussians(Parameterisation.EPSILON)
    for choices in ({"norm_at": place}, {"cos_at": place}):
        with pytest.raises(UserError, match=message) as caught:
            Engine(model, [Anisotropy("a", **choices)])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stands_for", [None, "sdxl"])
def test_published_weights_need_a_published_model(make_prompts, stands_for):
    detector = Anisotropy("a")
    recorded, *_ = recorded_components(make_prompts, detector, stands_for)
    with pytest.raises(UserError) as caught:
        detector.combine(recorded)
    message = str(caught.value)
    assert "\n" not in message
    assert f"no weights are published for {stands_for or 'this model'}" in message
    for way_out in ("weights=[1.0,0.5]", "weights=equal", "stands_for=sd14", "stands_for=sd20"):
        assert way_out in message
    Anisotropy("a", weights="equal").combine(recorded)


def test_published_weights_are_numbers_with_their_source():
    gamma = Anisotropy("a").fixed_gamma("sd14")
    assert (gamma.norm, gamma.cos, gamma.source) == (1.0, 2.0, "published for sd14")
    # Published as 2.0, of a norm that the code multiplies by sqrt(abar) / (1 - abar) at t = 981.
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.prod(1 - betas[:982])
    factor = kept**0.5 / (1 - kept)
    assert PUBLISHED["realvis51"].norm == pytest.approx(2 * factor, rel=1e-6)
    assert Anisotropy("a", weights=[3.0, 0.0]).fixed_gamma(None) == Gamma(3.0, 0.0, "given")


def test_equal_and_fitted_weights_have_their_spread(make_prompts):
    random = np.random.default_rng(0)
    n = 60
    prompts = make_prompts([f"p{i}" for i in range(n)], [i % 2 for i in range(n)], list(range(n)))
    equal, fitted = (Anisotropy("a", 2, weights=kind) for kind in ("equal", "fitted"))
    recorded = [
        Recorded(
            {
                equal.norm_name: random.normal(size=(n, 2)) + prompts.labels[:, None],
                equal.cos_name: random.normal(size=(n, 2)),
            },
            prompts,
            seed=seed,
        )
        for seed in (0, 1)
    ]
    others = prompts.labels == 0
    spreads = [
        [
            one.components[name].mean(axis=1)[others].std()
            for name in (equal.norm_name, equal.cos_name)
        ]
        for one in recorded
    ]
    gamma = equal.gamma(recorded)
    expected = 1 / np.array(spreads)
    assert [gamma.norm, gamma.cos] == pytest.approx(expected.mean(axis=0).tolist())
    assert [gamma.norm_std, gamma.cos_std] == pytest.approx(expected.std(axis=0, ddof=1).tolist())

    columns = [fitted.features(one) for one in recorded]
    weights = np.concatenate(
        [fit_in_folds(c, prompts.labels, prompts.clusters).weights for c in columns]
    )
    gamma = fitted.gamma(recorded)
    assert len(weights) == 10
    assert [gamma.norm, gamma.cos] == pytest.approx(weights.mean(axis=0).tolist())
    assert gamma.norm_std == pytest.approx(weights[:, 0].std(ddof=1))
    assert equal.gamma(recorded[:1]).norm_std is None
