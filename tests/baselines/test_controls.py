"""Scores that never look at the model."""

import re
from dataclasses import replace

import numpy as np
import pytest
from anisomem.baselines.controls import PromptLength, Random, TextOnly
from anisomem.baselines.wen import WenNorm
from sklearn.metrics import roc_auc_score

from anisomem.detection.base import Recorded
from anisomem.engine.engine import Engine
from anisomem.models.analytic import AnalyticMixture


def words(rng, vocabulary, count, length=6):
    return [" ".join(rng.choice(vocabulary, length)) for _ in range(count)]


def test_text_only_finds_what_the_text_separates(make_prompts):
    rng = np.random.default_rng(0)
    shared = ["red", "blue", "small", "large", "old"]
    memorized = words(rng, [*shared, "cat", "dog", "cow"], 30)
    other = words(rng, [*shared, "car", "bus", "van"], 30)
    labels = [1] * 30 + [0] * 30
    scores = TextOnly("text").combine(Recorded({}, make_prompts(memorized + other, labels)))
    assert roc_auc_score(labels, scores) > 0.97

    # The same words for both classes
    texts = words(rng, shared, 200)
    labels = rng.permutation([0, 1] * 100)
    scores = TextOnly("text").combine(Recorded({}, make_prompts(texts, labels)))
    assert 0.35 < roc_auc_score(labels, scores) < 0.65


def test_text_only_keeps_near_duplicates_in_one_fold(make_prompts):
    # Every cluster has a word of its own and a label at random. A fold that splits a cluster
    # tells the label of the word; one that keeps it has nothing to go by.
    rng = np.random.default_rng(1)
    labels = np.repeat(rng.permutation([0, 1] * 20), 5)
    clusters = np.repeat(np.arange(40), 5)
    texts = [f"a picture of name{c} {i % 3}" for i, c in enumerate(clusters)]
    apart = TextOnly("text").combine(Recorded({}, make_prompts(texts, labels, clusters)))
    split = TextOnly("text").combine(Recorded({}, make_prompts(texts, labels)))
    assert roc_auc_score(labels, split) > 0.97
    assert roc_auc_score(labels, apart) < 0.65


def test_length_and_random(make_prompts):
    texts, labels = ["a cat", "red", "a red dog", "é"], [1, 0, 1, 0]
    recorded = Recorded({}, make_prompts(texts, labels))
    assert PromptLength("length").combine(recorded).tolist() == [5, 3, 9, 1]

    scores = Random("random", seed=3).combine(recorded)
    np.testing.assert_array_equal(scores, np.random.default_rng([3, 0]).uniform(size=4))
    assert not np.array_equal(scores, Random("random", seed=4).combine(recorded))
    elsewhere = Random("random", seed=3).combine(replace(recorded, seed=1))
    assert not np.array_equal(scores, elsewhere)  # so noise seeds are draws of their own


@pytest.mark.parametrize("seeds", [1, 4])
def test_random_says_between_which_areas_chance_lies(make_prompts, seeds):
    prompts = make_prompts(["a"] * 50, [1] * 20 + [0] * 30)
    remark = Random("random").remark(prompts, seeds)
    low, high = map(float, re.search(r"\[(.*), (.*)\]", remark).groups())
    areas = [
        np.mean(
            [
                roc_auc_score(prompts.labels, Random("r", seed=i).combine(one))
                for one in (Recorded({}, prompts, seed=s) for s in range(seeds))
            ]
        )
        for i in range(400)
    ]
    assert np.mean([low <= area <= high for area in areas]) == pytest.approx(0.95, abs=0.03)
    assert low + high == pytest.approx(1)


@pytest.mark.parametrize("control", [TextOnly("t"), PromptLength("l"), Random("r")])
def test_controls_cost_nothing_and_have_no_noise(control):
    import torch

    model = AnalyticMixture(torch.zeros(1, 4, 2, 2), [1.0], ["it"])
    assert control.n == 0
    assert control.key == control.name
    assert Engine(model, [control]).evaluate(["it"], [0], 0) == {}
    assert model.nfe == model.jvps == 0
    assert list(Engine(model, [control, WenNorm("wen")]).evaluate(["it"], [0], 0)) == [
        "wen/norm[step:0]"
    ]
