"""A detector that cannot be scored is named and costs its own row only."""

import numpy as np
import pytest
from anisomem.baselines.controls import PromptLength, TextOnly

from anisomem.benchmark.scoring import score
from anisomem.detection.base import Detector, Recorded
from anisomem.errors import UserError


class Broken(Detector):
    component_names = ()

    def components(self, model):
        return []

    def combine(self, recorded):
        if recorded.seed == 1:
            return np.where(np.arange(len(recorded.prompts)) == 0, np.nan, 1.0)
        return np.ones(len(recorded.prompts))


@pytest.fixture
def recorded(make_prompts):
    texts = ["a b", "a", "a b c", "b c", "a c", "c"] * 2
    prompts = make_prompts(texts, [1, 0] * 6)
    return [Recorded({}, prompts, seed=seed) for seed in (0, 1)]


def test_the_others_keep_their_scores(recorded):
    detectors = [Broken("broken"), PromptLength("length", 0), TextOnly("text", 0)]
    found = score(detectors, recorded)
    assert list(found.detectors) == detectors[1:2]
    expected = [len(text) for text in recorded[0].prompts.texts]
    np.testing.assert_array_equal(found.scores, [[expected, expected]])
    assert list(found.refused) == ["broken, n=1", "text"]
    assert "1 NaN" in found.refused["broken, n=1"]  # at the second noise seed
    assert "empty vocabulary" in found.refused["text"]


def test_without_any_the_reasons_are_given(recorded):
    with pytest.raises(UserError, match=r"no detector can be scored .*text: empty vocabulary"):
        score([TextOnly("text", 0)], recorded)
