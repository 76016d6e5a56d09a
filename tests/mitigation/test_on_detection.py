"""Acting where a detector fires: the threshold, what stays, and what it costs end to end."""

import numpy as np
import pytest
import torch
from anisomem.baselines.controls import TextOnly
from anisomem.baselines.wen import WenNorm

from anisomem.detection.anisotropy import Anisotropy
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.mitigation.base import Ordinary
from anisomem.mitigation.on_detection import OnDetection, detection, scores, threshold
from anisomem.mitigation.ren import RenAttention
from anisomem.mitigation.stability import StabilityClamp
from anisomem.mitigation.wen import WenDescent

ORDINARY = [f"{a} {b}" for a in ("red", "a", "the") for b in ("dog", "cat", "fox", "owl")]


def test_threshold_is_the_smallest_that_few_enough_exceed():
    rng = np.random.default_rng(0)
    for n in (20, 50, 101):
        ordinary = rng.normal(size=n).round(1)  # with ties
        for fpr in (0.05, 0.1, 0.3):
            found = threshold(ordinary, fpr)
            assert (ordinary > found).mean() <= fpr
            lower = ordinary[ordinary < found]
            assert (ordinary > lower.max()).mean() > fpr
    with pytest.raises(
        UserError,
        match=r"20 ordinary prompts cannot tell .* of 0.01; give at least"
        " 100",
    ):
        threshold(np.arange(20.0), 0.01)
    for fpr in (0, 1, float("nan")):
        with pytest.raises(UserError, match="fpr must be a fraction between 0 and 1"):
            threshold(np.arange(20.0), fpr)


@pytest.mark.parametrize("detector", [WenNorm("wen"), Anisotropy("a", 2)], ids=["wen", "a"])
def test_scores_are_those_of_a_run(model, detector):
    found = scores(model, detector, ORDINARY, [5] * 12)
    components = Engine(model, [detector]).evaluate(ORDINARY, range(12), 5)
    if isinstance(detector, WenNorm):
        expected = components["wen/norm[step:0]"].mean(1)
    else:
        expected = (components[detector.norm_name] + 2 * components[detector.cos_name]).mean(1)
    np.testing.assert_allclose(found, expected)
    mixed = scores(model, detector, ORDINARY[:4], [5, 6, 5, 6])
    np.testing.assert_allclose(mixed[[0, 2]], expected[[0, 2]])
    np.testing.assert_allclose(
        mixed[[1, 3]], scores(model, detector, ORDINARY[:4], [6] * 4)[[1, 3]]
    )


def test_what_it_costs_is_what_is_evaluated_with_its_settings(model):
    for detector in (WenNorm("w"), Anisotropy("a", cos_latents="guided"), Anisotropy("a", 2)):
        before = model.nfe
        scores(model, detector, ["a red cat"], [5])
        assert detection(detector).nfe == model.nfe - before, detector


def test_it_needs_the_ordinary_prompts_of_what_it_gates():
    gated = OnDetection("o", StabilityClamp("s"), threshold=1.0)
    assert gated.uses_ordinary
    assert not OnDetection("o", WenDescent("w"), threshold=1.0).uses_ordinary


@pytest.mark.parametrize(
    "mitigation", [WenDescent("w", steps=2), RenAttention("ren")], ids=["wen", "ren"]
)
def test_only_what_fires_is_changed_and_costs_more(model, mitigation):
    detector = WenNorm("wen")
    gated = OnDetection("o", mitigation, detector, fpr=0.25)
    with pytest.raises(UserError, match=r"no threshold yet; give ready\(\) ordinary prompts"):
        gated.apply(model, ["a cat"], model.initial_noise(5, 1), [5])
    gated = gated.ready(model, Ordinary(ORDINARY, [5] * 12))
    fired = scores(model, detector, ORDINARY, [5] * 12) > gated.threshold
    assert fired.sum() == 3
    x = model.initial_noise(5, 1).double().repeat(12, 1, 1, 1)
    found = gated(model, ORDINARY, x, [5] * 12)
    everywhere = mitigation(model, ORDINARY, x, [5] * 12)
    plain = model.encode(ORDINARY)
    with torch.no_grad():
        sampled, all_sampled = found.sample(model, 2), everywhere.sample(model, 2)
        unchanged = model.sample(x, plain, 2)
    for i in range(12):
        expected = (all_sampled if fired[i] else unchanged)[i]
        torch.testing.assert_close(sampled[i], expected)
        detection, effort = 2, everywhere.efforts[i].nfe if fired[i] else 0
        assert found.efforts[i].nfe == detection + effort
        assert ("not above" in found.efforts[i].note) == (not fired[i])

    begin = model.nfe  # a prompt on its own costs what is said
    alone = gated(model, ORDINARY[:1], x[:1], [5])
    assert model.nfe - begin == alone.efforts[0].nfe


def test_what_cannot_gate_is_refused(model):
    with pytest.raises(UserError, match="does not score a prompt on its own"):
        scores(model, TextOnly("text"), ["a cat"], [0])
    with pytest.raises(UserError, match="does not score a prompt on its own"):
        scores(model, Anisotropy("a", weights="fitted"), ["a cat"], [0])
    with pytest.raises(UserError, match="threshold must be a finite score, got nan"):
        OnDetection("o", RenAttention("ren"), WenNorm("w"), threshold=float("nan"))
    with pytest.raises(UserError, match="o needs either fpr or threshold"):
        OnDetection("o", RenAttention("ren"))
