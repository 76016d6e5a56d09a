"""The condition Jacobian against a whole one, differentiated entry by entry."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from anisomem.baselines.condition_jacobian import ConditionNorm

from anisomem.engine.engine import Engine
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.models.prediction import Prediction


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_probes_estimate_the_frobenius_norm(make_pipeline, prediction_type):
    pipeline = make_pipeline(dtype=torch.float64, prediction_type=prediction_type)
    model = DiffusersUNet(pipeline)
    encoded, t = model.encode(["a cat"]), model.timesteps()[0]
    x = model.initial_noise(3, 1)

    def noise(embeddings):
        prediction = model.predict(x, t, replace(encoded, embeddings=embeddings))
        assert isinstance(prediction, Prediction)
        return prediction.epsilon.flatten()

    whole = torch.autograd.functional.jacobian(noise, encoded.embeddings)
    expected = float(whole.norm())
    one, many = ConditionNorm("one"), ConditionNorm("many", probes=400)
    recorded = Engine(model, [one, many]).evaluate(["a cat"], [0], 3)
    found = recorded[many.component_names[0]][0, 0]
    assert found == pytest.approx(expected, rel=0.1)
    # 400 probes, each with its spread, are off by a twentieth of one's.
    spread = recorded[many.component_names[1]][0, 0]
    assert found**2 == pytest.approx(expected**2, rel=4 * spread / 20)
    rough = recorded[one.component_names[0]][0, 0]
    assert rough != found and 0.2 * expected < rough < 5 * expected


def test_the_first_probes_are_the_same_and_the_score_is_the_norm(make_pipeline, make_prompts):
    from anisomem.detection.base import Recorded

    model = DiffusersUNet(make_pipeline(dtype=torch.float64))
    two, four = ConditionNorm("two", probes=2), ConditionNorm("four", probes=4)
    recorded = Engine(model, [two, four]).evaluate(["a cat", "a dog"], [0, 1], 3)
    assert model.jvps == 2 * (2 + 4)
    for detector in (two, four):
        norm = recorded[detector.component_names[0]]
        scores = detector.combine(Recorded(recorded, make_prompts(["a", "b"], [1, 0])))
        np.testing.assert_array_equal(scores, norm[:, 0])
