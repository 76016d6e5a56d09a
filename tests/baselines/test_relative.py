"""A score less that of a second model, evaluated by hand and in closed form."""

import numpy as np
import pytest
import torch
from anisomem.baselines.noise_alignment import NoiseAlignment
from anisomem.baselines.relative import Relative
from anisomem.baselines.wen import WenNorm

from anisomem.conformance.variants import shipped
from anisomem.detection import configured
from anisomem.detection.base import Recorded
from anisomem.detection.needs import (
    Conditional,
    ConditionJacobian,
    Curvature,
    CurvatureDifference,
    Divergence,
    GuidanceDerivative,
    Nearby,
    NormGradient,
    Unconditional,
)
from anisomem.detection.of_baseline import OfBaseline
from anisomem.detection.places import FIRST, LAST
from anisomem.engine import counting
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models.analytic import AnalyticMixture

TEXTS = ["it", "other"]


@pytest.fixture
def two_models(case):
    """Two Gaussians, which a second model has learned wider and somewhat beside."""
    means = torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    model = AnalyticMixture(means, [0.1, 0.9], TEXTS, None, *case)
    model.baseline = AnalyticMixture(means / 2, [0.8, 0.9], TEXTS, None, *case)
    return model


def scores(model, detector, make_prompts):
    rows = range(len(TEXTS))
    recorded = Engine(model, [detector]).evaluate(TEXTS, rows, 7)
    return detector.combine(Recorded(recorded, make_prompts(TEXTS, [1, 0])))


@pytest.mark.parametrize("kind", [WenNorm, NoiseAlignment])
def test_on_noise_it_is_the_score_less_that_of_the_second_model_alone(
    kind, two_models, make_prompts
):
    relative = scores(two_models, Relative("r", 2, of=kind("r.of")), make_prompts)
    own = scores(two_models, kind("d", 2), make_prompts)
    second = scores(two_models.baseline, kind("d", 2), make_prompts)
    np.testing.assert_allclose(relative, own - second, rtol=1e-9, atol=1e-12)
    assert abs(relative[0]) > 1e-4


def test_along_a_trajectory_the_second_model_is_read_where_the_model_leads(
    two_models, make_prompts
):
    detector = Relative("r", of=WenNorm("r.of", steps=2))
    x = two_models.initial_noise(7, 1).double()
    expected = []
    for text in TEXTS:
        both = two_models.encode([text]), two_models.baseline.encode([text])
        away = []
        for step, _ in zip(two_models.trajectory(x, both[0]), range(2), strict=False):
            models = zip((two_models, two_models.baseline), both, strict=True)
            norms = []
            for model, encoded in models:
                c = model.predict(step.conditional.x, step.t, encoded).output
                u = model.predict(step.conditional.x, step.t, model.encode([""])).output
                norms.append((c - u).norm().item())
            away.append(norms[0] - norms[1])
        expected.append(np.mean(away))
    np.testing.assert_allclose(scores(two_models, detector, make_prompts), expected, rtol=1e-6)


def test_a_quantity_that_is_smaller_where_memorized_keeps_its_sign(two_models, make_prompts):
    inner = next(one for one in shipped() if one.name == "p_laplace")
    detector = Relative("r", inner.n, of=inner)
    rng = np.random.default_rng(0)
    recorded = {name: rng.normal(size=(2, inner.n)) for name in detector.component_names}
    prompts = make_prompts(TEXTS, [1, 0])
    second = {name: recorded[f"baseline/{name}"] for name in inner.component_names}
    expected = inner.combine(Recorded(recorded, prompts)) - inner.combine(
        Recorded(second, prompts)
    )
    assert (detector.combine(Recorded(recorded, prompts)) == expected).all()
    assert detector.info.memorized == "smaller"


def test_its_own_half_is_shared_with_the_detector():
    (wen, relative), (alone,) = _named("[wen,relative_wen]"), _named("[relative_wen]")
    assert set(wen.component_names) < set(relative.component_names)
    assert counting.counts([wen, relative], "shared") == counting.counts([alone], "shared")
    assert relative.cost().nfe == 2 * wen.cost().nfe == 4


def _named(chosen):
    from anisomem.config import compose

    config, *_ = compose.cases([f"detector={chosen}"])
    by_name = {}
    for one in configured.detectors(config.detector):
        by_name.setdefault(one.name, one)
    return list(by_name.values())


@pytest.mark.parametrize("latents", ["noise", "guided", "generated"])
def test_every_need_says_what_it_takes_of_a_second_model(latents):
    kinds = [Conditional, Unconditional, GuidanceDerivative, NormGradient, Nearby]
    needs = [kind(LAST, latents) for kind in kinds]
    several = [Divergence, CurvatureDifference, Curvature, ConditionJacobian]
    needs += [kind(LAST, latents, probes=3) for kind in several]
    for need in needs:
        detector = Relative("r", of=_Reads("r.of", need=need))
        counted = counting.counts([detector], "per_prompt")
        own = counting.counts([_Reads("d", need=need)], "per_prompt")
        beside = detector.cost()
        assert (counted.nfe - own.nfe, counted.jvps - own.jvps) == (beside.nfe, beside.jvps), need


class _Reads(WenNorm):
    """Reads one need and declares no cost of its own."""

    def __init__(self, name, n=1, need=None):
        self.need = need
        super().__init__(name, n)

    def components(self):
        from anisomem.detection.base import Component, Cost

        def first(value):
            tensor = getattr(value, "raw", value)
            return tensor.flatten(1)[:, 0]

        self.cost = Cost
        return [Component("reads", [self.need], first)]


def test_of_every_shipped_detector_it_is_made_or_refused_in_a_line():
    made = []
    for inner in shipped():
        try:
            made.append(Relative(f"relative_{inner.name}", inner.n, of=inner))
        except UserError as error:
            line = str(error)
            assert "\n" not in line and "'detector=[relative_wen]'" in line, line
    names = {one.name for one in made}
    assert {"relative_jeon", "relative_last_step", "relative_anisotropy", "relative_nemo"} <= names
    assert not names & {"relative_stack", "relative_ren_ae", "relative_tiled_l2"}
    assert not any(name.startswith("relative_relative") for name in names)
    for one in made:
        assert one.compares_models and one.cost().nfe > one.of.cost().nfe
        assert one.of.n == one.n


def test_settings_are_those_of_the_detector_it_is_made_of():
    assert configured.named("relative_wen", ["of.steps=3"]).of.steps == 3
    assert configured.named("relative_wen_5", []).of.steps == 5
    with pytest.raises(UserError, match="got 'jeon'; 'detector=\\[relative_NAME\\]' has those"):
        configured.named("relative_wen", ["of=jeon"])
    with pytest.raises(UserError, match="did you mean 'relative_wen'"):
        configured.named("relative_wem", [])
    with pytest.raises(UserError, match=r"detector\.relative_anisotropy\.of\.weights=equal"):
        configured.named("relative_anisotropy", []).require(None)


def test_a_second_model_that_lacks_what_is_read_is_said():
    model = counting._stand_in((4, 8, 8), torch.float32)
    model.baseline = None
    with pytest.raises(UserError, match=r"^r: .*give baseline_model\.path=FOLDER"):
        Engine(model, [Relative("r", of=WenNorm("r.of"))])
    assert OfBaseline(Conditional(FIRST)) in {
        need for part in Relative("r", of=WenNorm("o")).components() for need in part.needs
    }
