"""What is answered: the same numbers as elsewhere, and what a user can get wrong."""

from dataclasses import replace

import numpy as np
import pytest

import anisomem
from anisomem.benchmark.gallery import MAP, CosineMap
from anisomem.config import compose
from anisomem.demo.answer import LONGEST, PICTURES, readable
from anisomem.demo.command import configured
from anisomem.demo.known import KnownPictures, Source
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.measures.nearest import nearest
from anisomem.measures.pixels import TrainingRank
from anisomem.tradeoff import one_prompt

PROMPT = "a red cat 7"


@pytest.fixture(scope="module")
def answer(tiny):
    return tiny.answer(PROMPT)


@pytest.mark.parametrize("detector", ["wen", "anisotropy", "noise_alignment"])
def test_scores_are_those_of_the_package(tiny, answer, detector):
    """But for rounding: here one pass serves all detectors."""
    expected = anisomem.score(tiny.model, [PROMPT], detector=detector, n=1, seed=3)["score"]
    assert answer.scored.scores[f"{detector}, n=1"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_map_is_of_the_noise_that_the_first_picture_begins_with(tiny, answer):
    # In the same passes: others round otherwise, by how much depends on the processor.
    engine = Engine(tiny.model, [*tiny.scorer.detectors, CosineMap("map", n=1)])
    expected = engine.evaluate([PROMPT], [0], 3)[MAP][0, 0]
    np.testing.assert_allclose(answer.scored.cosines, expected, atol=1e-6)
    first = tiny.model.initial_noise(3, 1)[0]
    np.testing.assert_array_equal(answer.generated.sampled.x[0], first)


def test_pictures_are_those_that_generate_makes(tiny, tiny_words, answer):
    sampled = answer.generated.sampled
    assert sampled.pictures.shape == (PICTURES, 16, 16, 3) and sampled.seeds == [3, 4, 5, 6]
    again = one_prompt.sampled(
        tiny.model, tiny.mitigations["wen"], PROMPT, [3], tiny.batches, tiny.steps
    )
    result = tiny.mitigate(PROMPT, answer.generated, "wen")
    np.testing.assert_allclose(
        result.after[0].picture.astype(int), again.pictures[0].astype(int), atol=1
    )
    for one, picture in zip(result.before, sampled.pictures, strict=True):
        assert np.array_equal(one.picture, picture) and one.label == "none"

    # As anisomem generate, which takes its steps as they are.
    words = [word for word in tiny_words if not word.startswith(("trial", "calibration"))]
    (composed, *_) = compose.cases(["mitigation=[none,wen]", *words])
    plain, moved = one_prompt.sample(PROMPT, composed, None)
    whole = replace(tiny, steps=50).answer(PROMPT)
    np.testing.assert_allclose(
        whole.generated.sampled.pictures[0].astype(int), plain.picture.astype(int), atol=1
    )
    assert result.after[0].effort.nfe == moved.effort.nfe == 12
    assert result.after[0].effort.backward == moved.effort.backward == 10
    np.testing.assert_allclose(result.after[0].scores.wen, moved.scores.wen, rtol=1e-3)
    assert result.after[0].scores.wen < result.before[0].scores.wen


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_the_threshold_has_the_rate_that_is_stated(tiny, rate):
    """Of n ordinary prompts, each compared with the others, floor(rate * n) are flagged."""
    texts, n = tiny.ordinary.texts, len(tiny.ordinary.texts)
    for key, scores in tiny.ordinary.scores.items():
        verdicts = [
            tiny.ordinary.verdict(key, text, float(score), rate)
            for text, score in zip(texts, scores, strict=True)
        ]
        assert len(set(scores.tolist())) == n == 40
        assert sum(one.flagged for one in verdicts) == int(rate * n + 1e-9)
        assert all(one.flagged == (one.p <= rate + 1e-12) for one in verdicts)
        assert {one.of for one in verdicts} == {n - 1}


def test_a_verdict_counts_the_ordinary_prompts_above(tiny, answer):
    for one in tiny.verdicts(answer.scored, 0.1):
        scores = tiny.ordinary.scores[one.detector]
        assert one.score == answer.scored.scores[one.detector]
        assert one.above == (scores > one.score).sum() and one.of == 40
        assert one.p == (1 + one.above) / 41
        assert (scores > one.threshold.value).sum() == 3  # the fourth is not above itself


def test_words_are_the_prompts_and_each_is_left_out_once(tiny):
    words = tiny.words(PROMPT, "wen, n=1")
    assert [one.text for one in words] == PROMPT.split()
    whole = tiny.score(PROMPT).scores["wen, n=1"]
    for one, rest in zip(words, ["red cat 7", "a cat 7", "a red 7", "a red cat"], strict=True):
        assert one.without == pytest.approx(tiny.score(rest).scores["wen, n=1"], rel=1e-4)
        assert one.change == pytest.approx(whole - one.without, rel=1e-3, abs=1e-6)
    twice = tiny.words("cat cat", "wen, n=1")
    assert twice[0].without == twice[1].without
    (alone,) = tiny.words("cat", "wen, n=1")
    assert alone.text == "cat" and np.isnan(alone.without) and np.isnan(alone.change)


def test_the_nearest_training_picture_is_the_exact_one(tiny, answer):
    rng = np.random.default_rng(0)
    made = answer.generated.sampled.pictures
    some = [rng.integers(0, 256, (20, 24, 3), np.uint8) for _ in range(70)] + [made[2]]
    sources = [Source(f"picture {i}", lambda one=one: one) for i, one in enumerate(some)]
    measure = TrainingRank("training_rank", side=16)
    known = KnownPictures(sources, measure)
    found = replace(tiny, known=known).generate(PROMPT).nearest
    exact = nearest(made[:, None], [some], len(some), measure, 1)
    assert [one.caption for one in found] == [f"picture {i}" for i in exact.places[:, 0]]
    np.testing.assert_allclose([one.distance for one in found], exact.distances[:, 0], atol=1e-3)
    assert found[2].caption == "picture 70" and found[2].distance == pytest.approx(0, abs=1e-3)
    assert np.array_equal(found[2].picture, made[2])


def test_mistakes_are_told(tiny, answer):
    with pytest.raises(UserError, match=r"has 501 characters; the demo takes 500 at most"):
        tiny.score("x" * (LONGEST + 1))
    assert readable("  " + "x" * LONGEST + "\n") == "x" * LONGEST
    for ask in (tiny.score, tiny.generate, lambda text: tiny.words(text, "wen, n=1")):
        with pytest.raises(UserError, match="the prompt is empty"):
            ask("  ")
    with pytest.raises(UserError, match="the prompt has half a character"):
        tiny.score("caf\udce9")
    with pytest.raises(UserError, match="did you mean 'wen, n=1'"):
        tiny.verdict(answer.scored, "wen", 0.1)
    with pytest.raises(UserError, match=r"must be one of 0\.1, 0\.05; got 0\.2"):
        tiny.verdict(answer.scored, "wen, n=1", 0.2)
    with pytest.raises(UserError, match="no mitigation named 'wne'; did you mean 'wen'"):
        tiny.mitigate(PROMPT, answer.generated, "wne")
    with pytest.raises(UserError, match="no detector named"):
        tiny.words(PROMPT, "jeon")
    broken = replace(answer.scored, scores={"wen, n=1": float("nan")})
    with pytest.raises(UserError, match="NaN or infinity for this prompt"):
        tiny.verdict(broken, "wen, n=1", 0.1)
    assert tiny.verdicts(broken, 0.1) == []


def test_settings_reach_the_pictures(tiny_words):
    config, _ = configured([*tiny_words, "trial.guidance=2", "fpr_targets=[0.05]"])
    assert config.trial.guidance == 2 and config.trial.steps == 3
    assert config.fpr_targets == [0.05]
